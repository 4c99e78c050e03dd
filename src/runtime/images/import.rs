//! Archives into containerd: content, records that are pinned, snapshots. What came from which file is on the records, so that an import is
//! neither repeated nor forgotten.
//!
//! ```text
//! content (under a lease) ─▶ records, pinned, with the file's name ─▶ unpacked ─▶ the file's state on the records: done
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use containerd_client::services::v1::Image as ImageRecord;

use super::archive::Archive;
use super::progress::Progress;
use super::pull::{Fault, Origin, Pull, PullError};
use super::store::{self, Lease};
use super::{Images, PINNED, SHORT_LEASE};
use crate::runtime::RuntimeError;
use crate::runtime::containerd::{is_away, unavailable};

/// The name of the file that a record came from.
const FROM: &str = "minik8s.io/preloaded-from";
/// The state of that file once all of it was here.
const STATE: &str = "minik8s.io/preloaded-state";

impl Images {
    /// See [`crate::runtime::Containerd::import_archive`].
    pub(crate) async fn import(&self, path: &Path, file: &str, state: &str) -> Result<Vec<String>, RuntimeError> {
        let failed = |cause: String| RuntimeError::Images { action: "import", subject: file.to_owned(), cause };
        let opened = path.to_path_buf();
        let archive =
            tokio::task::spawn_blocking(move || Archive::open(&opened)).await.map_err(|e| failed(e.to_string()))?.map_err(failed)?;
        let import_error = |error: PullError| match error.fault {
            Fault::RuntimeAway => RuntimeError::Unavailable { socket: self.connection.socket(), cause: error.cause },
            _ => failed(error.cause),
        };
        let names = self.import_all(&archive, file).await.map_err(import_error)?;
        // Only now: an import that was broken off is begun again.
        for (name, target) in &names {
            let labels = HashMap::from([(STATE.to_owned(), state.to_owned())]);
            let done = store::record_image(&self.connection, name, target.clone(), labels).await;
            done.map_err(|status| import_error(status.into()))?;
        }
        Ok(names.into_iter().map(|(name, _)| name).collect())
    }

    async fn import_all(&self, archive: &Archive, file: &str) -> Result<Vec<(String, containerd_client::types::Descriptor)>, PullError> {
        let mut imported = Vec::new();
        for image in &archive.images {
            let Some(reference) = image.names.first() else { continue };
            let lease = Lease::new(&self.connection, self.limits.total + SHORT_LEASE).await?;
            let (stall, progress) = (self.limits.stall, Progress::default());
            let origin = Origin::Archive(archive, &image.digest);
            let pull = Pull { connection: &self.connection, origin, lease: &lease, reference, stall, progress: &progress };
            let target = pull.fetch().await?;
            for name in image.names.iter().map(ToString::to_string) {
                let labels = HashMap::from([(PINNED.0.to_owned(), PINNED.1.to_owned()), (FROM.to_owned(), file.to_owned())]);
                store::record_image(&self.connection, &name, target.clone(), labels).await?;
                let record = ImageRecord { name: name.clone(), target: Some(target.clone()), ..Default::default() };
                self.open_under(&record, Some(&lease)).await?;
                imported.push((name, target.clone()));
            }
            lease.end().await;
        }
        Ok(imported)
    }

    /// The files that images came from, each with its state at the end of its import ("" if that was not reached).
    pub(crate) async fn preloaded(&self) -> Result<BTreeMap<String, String>, RuntimeError> {
        let records = store::images(&self.connection).await.map_err(|status| unavailable(&self.connection, &status))?;
        let mut files = BTreeMap::new();
        for record in records.iter().filter(|record| super::is_pinned(record)) {
            let Some(file) = record.labels.get(FROM) else { continue };
            let state = record.labels.get(STATE).cloned().unwrap_or_default();
            let known = files.entry(file.clone()).or_insert_with(|| state.clone());
            // One record of several that is not done: none is.
            if *known != state {
                known.clear();
            }
        }
        Ok(files)
    }

    /// A file is gone: its images stay as long as they are of use, and may then be collected.
    pub(crate) async fn unpin(&self, file: &str) -> Result<(), RuntimeError> {
        let failed = |status: tonic::Status| match is_away(&status) {
            true => unavailable(&self.connection, &status),
            false => RuntimeError::Images { action: "unpin the images of", subject: file.to_owned(), cause: status.message().to_owned() },
        };
        for record in store::images(&self.connection).await.map_err(failed)? {
            let Some(target) = record.target.clone().filter(|_| record.labels.get(FROM).is_some_and(|from| from == file)) else { continue };
            // containerd takes an empty value for none.
            let labels = [PINNED.0, FROM, STATE].map(|key| (key.to_owned(), String::new())).into();
            store::record_image(&self.connection, &record.name, target, labels).await.map_err(failed)?;
        }
        Ok(())
    }
}
