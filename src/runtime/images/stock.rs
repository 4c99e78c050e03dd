//! The images that are here: listed, removed, and how full their disk is. Decides nothing but not to remove what was just asked for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use containerd_client::services::v1::{DeleteImageRequest, Image as ImageRecord};
use jiff::Timestamp;
use tonic::{Code, Status};

use super::gc::StoredImage;
use super::store::{self, StoreError};
use super::{Images, is_pinned, lock};
use crate::runtime::RuntimeError;
use crate::runtime::containerd::connection::{SLOW, answer};
use crate::runtime::containerd::{is_away, unavailable};

/// An image that a container was promised this recently stays: the container may be about to be made.
const PROMISED: Duration = Duration::from_secs(120);

impl Images {
    /// See [`crate::runtime::Runtime::images`].
    pub(crate) async fn list(&self) -> Result<Vec<StoredImage>, RuntimeError> {
        let records = self.records().await.map_err(|status| self.stock_error("list", "images", &status))?;
        let mut images: BTreeMap<String, StoredImage> = BTreeMap::new();
        for record in records {
            let Some(target) = &record.target else { continue };
            let created = record.created_at.as_ref().and_then(|at| Timestamp::new(at.seconds, at.nanos).ok()).unwrap_or_default();
            let size = match images.get(&target.digest) {
                Some(known) => known.size,
                None => self.size_of(&target.digest).await?,
            };
            let new = || StoredImage { id: target.digest.clone(), names: Vec::new(), size, pinned: false, created };
            let image = images.entry(target.digest.clone()).or_insert_with(new);
            image.pinned |= is_pinned(&record);
            image.created = image.created.min(created);
            image.names.push(record.name);
        }
        Ok(images.into_values().collect())
    }

    /// 0 where it is incomplete: it can be removed all the same.
    async fn size_of(&self, digest: &str) -> Result<u64, RuntimeError> {
        match self.manifest(digest).await {
            Ok(manifest) => {
                let parts = manifest.layers().iter().chain([manifest.config()]);
                Ok(parts.map(oci_spec::image::Descriptor::size).sum())
            }
            Err(StoreError::Containerd(status)) if is_away(&status) => Err(unavailable(&self.connection, &status)),
            Err(_) => Ok(0),
        }
    }

    /// See [`crate::runtime::Runtime::remove_image`].
    pub(crate) async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let failed = |status: Status| self.stock_error("remove the image", id, &status);
        let promised = || lock(&self.promised).get(id).is_some_and(|at| at.elapsed() < PROMISED);
        let records = self.records().await.map_err(failed)?;
        let mut names: Vec<&ImageRecord> = records.iter().filter(|r| r.target.as_ref().is_some_and(|t| t.digest == id)).collect();
        if promised() || names.iter().any(|record| is_pinned(record)) {
            let cause = "it is pinned, or a container was just promised it".to_owned();
            return Err(RuntimeError::Images { action: "remove the image", subject: id.to_owned(), cause });
        }
        lock(&self.ready).remove(id);
        let last = names.pop();
        for record in names {
            self.delete_record(record, false).await.map_err(failed)?;
        }
        if let Some(record) = last {
            // The last one waits for the content and the snapshots to go.
            self.delete_record(record, true).await.map_err(failed)?;
        }
        lock(&self.users).clear();
        Ok(())
    }

    async fn delete_record(&self, record: &ImageRecord, sync: bool) -> Result<(), Status> {
        let request = self.connection.request(DeleteImageRequest { name: record.name.clone(), sync, ..Default::default() });
        match answer(SLOW, self.connection.images().delete(request)).await {
            Err(status) if status.code() == Code::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    async fn records(&self) -> Result<Vec<ImageRecord>, Status> {
        store::images(&self.connection).await
    }

    /// Somebody is told that this image is here.
    pub(super) fn promise(&self, digest: &str) {
        super::remember(&self.promised, digest.to_owned(), Instant::now());
    }

    fn stock_error(&self, action: &'static str, subject: &str, status: &Status) -> RuntimeError {
        match is_away(status) {
            true => unavailable(&self.connection, status),
            false => RuntimeError::Images { action, subject: subject.to_owned(), cause: status.message().to_owned() },
        }
    }
}
