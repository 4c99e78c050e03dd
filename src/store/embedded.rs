//! The embedded Store: everything in memory for reading, one redb file for durability, one writer thread that commits in groups.
//!
//! Guarantees: those of [`Store`]; a second agent on the same file is refused; a full disk refuses commits and loses nothing, and the
//! first commit after space is there again succeeds. Which objects to keep, and `metadata.generation`, are the callers' business.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::disk::Disk;
use super::writer::{self, QUEUE, Request, Shared};
use super::{Change, Op, Store, StoreError};
use crate::api::{Key, Kind, Object};

/// A Store in one file. Dropping it waits for the commits under way and frees the file.
pub struct EmbeddedStore {
    path: PathBuf,
    shared: Arc<Shared>,
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the state file, makes it (and its directory, for root alone) if there is none, and reads it into memory.
    ///
    /// Errors: [`StoreError::Locked`] by another agent, [`StoreError::Newer`] format, [`StoreError::Full`], or
    /// [`StoreError::Engine`] with what to do about a file that is damaged or out of reach.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<Self>, StoreError> {
        let path = path.as_ref().to_owned();
        let (disk, mirror) = Disk::open(&path)?;
        let shared = Arc::new(Shared::new(mirror));
        let (sender, requests) = mpsc::channel(QUEUE);
        let for_writer = shared.clone();
        let spawned = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer::run(disk, &for_writer, requests))
            .map_err(|cause| StoreError::Engine { path: path.display().to_string(), action: "opened", source: cause.into() })?;
        Ok(Arc::new(EmbeddedStore { path, shared, requests: Some(sender), writer: Some(spawned) }))
    }

    /// Whether the state file can be read, without changing it. Errors: as [`EmbeddedStore::open`]'s.
    pub fn examine(path: &Path) -> Result<(), StoreError> {
        super::disk::examine(path)
    }

    /// The revision of the last transaction.
    pub fn revision(&self) -> u64 {
        self.shared.read().revision
    }

    fn stopped(&self) -> StoreError {
        let source = "its writer has stopped after an internal fault; restart the agent".into();
        StoreError::Engine { path: self.path.display().to_string(), action: "written", source }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.shared.read().get(key).cloned()
    }

    fn list(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.shared.read().list(kind)
    }

    fn owned(&self, controller_uid: &str) -> Vec<Arc<Object>> {
        self.shared.read().owned(controller_uid)
    }

    fn record(&self, name: &str) -> Option<Vec<u8>> {
        self.shared.read().record(name).map(|value| value.to_vec())
    }

    fn records(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        self.shared.read().records(prefix)
    }

    /// A caller that is cancelled while it waits does not stop its transaction.
    async fn commit(&self, ops: Vec<Op>) -> Result<Vec<Arc<Object>>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(|| self.stopped())?;
        requests.send(Request { ops, reply }).await.map_err(|_| self.stopped())?;
        answer.await.map_err(|_| self.stopped())?
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.shared.watch()
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was already told to every caller.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
#[path = "embedded_tests.rs"]
mod tests;
