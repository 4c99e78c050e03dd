//! The one thread that writes: commits that arrive while a transaction is synced are put together into the next (group commit).
//!
//! Guarantees: callers are served in order of arrival; a caller's operations are all applied or none; memory and watchers change only
//! after the sync.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::{broadcast, mpsc, oneshot};

use super::disk::{Disk, again};
use super::mirror::{Batch, Mirror};
use super::{Change, Op, StoreError};
use crate::api::Object;

/// Commits that wait for the writer before callers wait to be let in.
pub(super) const QUEUE: usize = 1024;
/// Commits in one transaction at most.
const MAX_BATCH: usize = 1000;
/// Changes a watcher may lag behind before it must list again.
pub(super) const WATCH_CAPACITY: usize = 4096;

/// What a caller waits for.
pub(super) type Reply = oneshot::Sender<Result<Vec<Arc<Object>>, StoreError>>;

/// One caller's transaction.
pub(super) struct Request {
    /// Its operations, in order.
    pub ops: Vec<Op>,
    /// Where the result goes; a caller that has gone does not stop its transaction.
    pub reply: Reply,
}

/// What readers and the writer share.
pub(super) struct Shared {
    mirror: RwLock<Mirror>,
    watchers: broadcast::Sender<Change>,
}

impl Shared {
    pub fn new(mirror: Mirror) -> Shared {
        Shared { mirror: RwLock::new(mirror), watchers: broadcast::channel(WATCH_CAPACITY).0 }
    }

    /// The committed state. A panic elsewhere cannot leave it half changed: it is only written with finished values.
    pub fn read(&self) -> RwLockReadGuard<'_, Mirror> {
        self.mirror.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn watch(&self) -> broadcast::Receiver<Change> {
        self.watchers.subscribe()
    }

    fn publish(&self, change: impl FnOnce(&mut Mirror), changes: Vec<Change>) {
        change(&mut self.mirror.write().unwrap_or_else(PoisonError::into_inner));
        for change in changes {
            // An error means that nobody watches.
            let _ = self.watchers.send(change);
        }
    }
}

/// A caller whose transaction is in the batch, and what it puts.
type Accepted = (Reply, Vec<Arc<Object>>);

/// Serves requests until every sender is gone.
pub(super) fn run(mut disk: Disk, shared: &Shared, mut requests: mpsc::Receiver<Request>) {
    while let Some(first) = requests.blocking_recv() {
        let mut waiting = vec![first];
        while waiting.len() < MAX_BATCH
            && let Ok(next) = requests.try_recv()
        {
            waiting.push(next);
        }
        serve(&mut disk, shared, waiting);
    }
}

fn serve(disk: &mut Disk, shared: &Shared, waiting: Vec<Request>) {
    let revision = shared.read().revision;
    match disk.ready(revision) {
        Err(error) => return refuse(waiting.into_iter().map(|request| request.reply), &error),
        Ok(None) => {}
        Ok(Some(newer)) => {
            let changes = shared.read().difference(&newer);
            shared.publish(|mirror| *mirror = newer, changes);
        }
    }
    let (batch, accepted) = plan(shared, waiting);
    if !batch.is_empty() {
        if let Err(error) = disk.write(&batch) {
            return refuse(accepted.into_iter().map(|(reply, _)| reply), &error);
        }
        shared.publish(|mirror| mirror.apply(&batch), batch.changes.clone());
    }
    for (reply, put) in accepted {
        // A caller that has gone does not want to know.
        let _ = reply.send(Ok(put));
    }
}

/// Judges each request; those that fail are answered at once, the others share the batch.
fn plan(shared: &Shared, waiting: Vec<Request>) -> (Batch, Vec<Accepted>) {
    let mirror = shared.read();
    let mut batch = Batch::after(mirror.revision);
    let mut accepted = Vec::with_capacity(waiting.len());
    for Request { ops, reply } in waiting {
        match batch.add(&mirror, ops) {
            Ok(put) => accepted.push((reply, put)),
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }
    (batch, accepted)
}

fn refuse(replies: impl Iterator<Item = Reply>, error: &StoreError) {
    for reply in replies {
        let _ = reply.send(Err(again(error)));
    }
}
