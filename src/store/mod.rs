//! Where objects live: durable, versioned, watchable. Small enough for an embedded file and, later, for etcd.
//!
//! # Guarantees
//! * `commit` is atomic: all its operations or none; when it returns `Ok` they are on disk (fsync) and visible to `get`.
//! * Every put gives the object a new `metadata.resourceVersion`; an update whose object carries another one is a `Conflict`.
//! * Watchers see every change once, in order of revision; a watcher that lags is told (`RecvError::Lagged`) and must list again.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::api::{Key, Kind, Object};

mod disk;
pub mod embedded;
pub mod mirror;
mod writer;

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Adds an object. `Exists` if its key is taken.
    Create(Object),
    /// Replaces an object; its `resourceVersion` must be the stored one. `Conflict` otherwise, `Missing` if it is gone.
    Update(Object),
    /// Replaces or adds, whatever is stored.
    Put(Object),
    /// Removes an object if its uid is this one (or whatever uid, if `None`). Removing what is not there is no error.
    Delete {
        /// What to remove.
        key: Key,
        /// Only this incarnation.
        uid: Option<String>,
    },
    /// Changes nothing: `Conflict` unless what is stored judges pods as this does ([`Object::judges_alike`]), `Missing` if it is gone. For a decision
    /// that rests on an object which it does not change.
    Expect(Arc<Object>),
    /// Sets or removes a record: small internal facts that are no Kubernetes objects (`job-tombstone/<ns>/<name>`, `seed`).
    Record {
        /// The record's name.
        name: String,
        /// Its bytes; `None` removes it.
        value: Option<Vec<u8>>,
    },
}

impl Op {
    /// The object it changes, if it changes one.
    pub fn key(&self) -> Option<Key> {
        match self {
            Op::Create(object) | Op::Update(object) | Op::Put(object) => Some(object.key()),
            Op::Delete { key, .. } => Some(key.clone()),
            Op::Expect(_) | Op::Record { .. } => None,
        }
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It was there before.
    Modified,
    /// It is gone; the change carries its last state.
    Deleted,
}

/// One committed change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The store-wide revision of the transaction.
    pub revision: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// The object as it is now, or last was.
    pub object: Arc<Object>,
}

/// Why the Store could not do what was asked. Nothing of a failed transaction is kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The object changed since it was read.
    #[error("{0} changed since it was read")]
    Conflict(Key),
    /// The key is taken.
    #[error("{0} already exists")]
    Exists(Key),
    /// The object to update is gone.
    #[error("{0} does not exist")]
    Missing(Key),
    /// The disk is full: free space and it goes on by itself.
    #[error("no space left on the disk that holds {path}; free some and minik8s goes on by itself")]
    Full {
        /// The state file.
        path: String,
    },
    /// Another agent holds the state file.
    #[error("the state file {path} is in use by another minik8s agent; stop that one, or give this one its own --state-dir")]
    Locked {
        /// The state file.
        path: String,
    },
    /// The state file was written by a newer minik8s.
    #[error(
        "the state file {path} has format {found}; this minik8s knows up to {known}; run the newer version, or move the file away to start afresh"
    )]
    Newer {
        /// The state file.
        path: String,
        /// The format it has.
        found: u64,
        /// The newest format known here.
        known: u64,
    },
    /// Anything else from the disk or the engine.
    #[error("the state file {path} cannot be {action}")]
    Engine {
        /// The state file.
        path: String,
        /// `opened`, `written`, …
        action: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The Store. Reads are answered from memory; only `commit` waits for the disk.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The object with this key.
    fn get(&self, key: &Key) -> Option<Arc<Object>>;
    /// All objects of a kind, in order of namespace and name.
    fn list(&self, kind: Kind) -> Vec<Arc<Object>>;
    /// All objects whose controller owner has this uid, in order of key. Costs what it returns, not what the Store holds.
    fn owned(&self, controller_uid: &str) -> Vec<Arc<Object>>;
    /// The record with this name.
    fn record(&self, name: &str) -> Option<Vec<u8>>;
    /// All records whose name starts with `prefix`.
    fn records(&self, prefix: &str) -> Vec<(String, Vec<u8>)>;
    /// Applies all of `ops` or none, durably. Returns the objects put, in order, with their new resourceVersion.
    async fn commit(&self, ops: Vec<Op>) -> Result<Vec<Arc<Object>>, StoreError>;
    /// Changes from now on. Subscribe first, then list.
    fn watch(&self) -> broadcast::Receiver<Change>;
}
