//! Watch: what is there, a bookmark, then each change. A reader that is too slow is dropped and told to watch again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tonic::Status;

use super::filter::{Filter, item};
use super::pb::WatchEvent;
use super::pb::watch_event::Type;
use crate::api::{Key, Object};
use crate::store::{Change, ChangeKind, Store};

/// Events made ahead of the reader.
const AHEAD: usize = 64;
/// How long a reader may take none before it is dropped.
const PATIENCE: Duration = Duration::from_secs(30);

type Sender = mpsc::Sender<Result<WatchEvent, Status>>;

/// Starts a watch. It ends when the reader goes, is too slow, or the Store is closed.
pub fn watch(store: &Arc<dyn Store>, filter: Filter) -> mpsc::Receiver<Result<WatchEvent, Status>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    // Subscribed before listing: nothing falls between.
    let changes = store.watch();
    let now = store.list(filter.kind);
    tokio::spawn(async move {
        let mut watcher = Watcher { filter, known: HashMap::new(), sender };
        if watcher.begin(now).await.is_some() {
            watcher.follow(changes).await;
        }
    });
    receiver
}

struct Watcher {
    filter: Filter,
    /// What the reader has been told of, with the resourceVersion it was told with.
    known: HashMap<Key, String>,
    sender: Sender,
}

impl Watcher {
    /// `None`: the reader is gone.
    async fn begin(&mut self, now: Vec<Arc<Object>>) -> Option<()> {
        for object in now {
            if self.filter.matches(&object) {
                self.known.insert(object.key(), version(&object));
                self.send(Type::Added, Some(&object)).await?;
            }
        }
        self.send(Type::Bookmark, None).await
    }

    async fn follow(&mut self, mut changes: broadcast::Receiver<Change>) {
        loop {
            // Both branches are cancel-safe: a change is taken only when it is returned, and `closed` holds nothing.
            let change = tokio::select! {
                change = changes.recv() => change,
                () = self.sender.closed() => return,
            };
            let sent = match change {
                Ok(change) => self.tell(&change).await,
                Err(RecvError::Closed) => return,
                Err(RecvError::Lagged(_)) => {
                    // A reader whose queue is full sees the stream end instead.
                    let _ = self.sender.try_send(Err(Status::aborted("too old resource version: changes were missed, watch again")));
                    return;
                }
            };
            if sent.is_none() {
                return;
            }
        }
    }

    async fn tell(&mut self, change: &Change) -> Option<()> {
        if change.object.kind() != self.filter.kind {
            return Some(());
        }
        let key = change.object.key();
        let wanted = change.kind != ChangeKind::Deleted && self.filter.matches(&change.object);
        if !wanted {
            return match self.known.remove(&key) {
                Some(_) => self.send(Type::Deleted, Some(&change.object)).await,
                None => Some(()),
            };
        }
        let version = version(&change.object);
        let earlier = self.known.insert(key, version.clone());
        match earlier {
            Some(earlier) if newer_or_same(&earlier, &version) => Some(()),
            Some(_) => self.send(Type::Modified, Some(&change.object)).await,
            None => self.send(Type::Added, Some(&change.object)).await,
        }
    }

    async fn send(&self, kind: Type, object: Option<&Object>) -> Option<()> {
        let event = WatchEvent { r#type: kind.into(), item: object.map(item) };
        match self.sender.send_timeout(Ok(event), PATIENCE).await {
            Ok(()) => Some(()),
            Err(_) => None,
        }
    }
}

fn version(object: &Object) -> String {
    object.meta().resource_version.clone().unwrap_or_default()
}

/// Whether what was told is at least as new: the change happened between subscribing and listing.
fn newer_or_same(told: &str, version: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    number(told) >= number(version)
}
