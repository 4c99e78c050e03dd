//! The clock and the Store: virtual time, and commits that are seen by whoever watches.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::{Double, Host};
use crate::api::{Key, Kind, Object};
use crate::clock::Clock;
use crate::store::{Change, ChangeKind, Op, Store, StoreError};

#[async_trait]
impl Clock for Double {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let left = at.duration_since(self.0.now());
        tokio::time::sleep(left.try_into().unwrap_or_default()).await;
    }
}

#[async_trait]
impl Store for Double {
    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.0.host().objects.get(key).cloned()
    }
    fn list(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.0.host().objects.values().filter(|o| o.kind() == kind).cloned().collect()
    }
    fn owned(&self, _: &str) -> Vec<Arc<Object>> {
        vec![]
    }
    fn record(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn records(&self, _: &str) -> Vec<(String, Vec<u8>)> {
        vec![]
    }
    async fn commit(&self, ops: Vec<Op>) -> Result<Vec<Arc<Object>>, StoreError> {
        let changes = self.0.changes.clone();
        let commit = |host: &mut Host| {
            if host.store_full {
                return Err(StoreError::Full { path: "p".into() });
            }
            let mut put = vec![];
            for op in ops {
                match op {
                    Op::Update(object) => {
                        let key = object.key();
                        let stored = host.objects.get(&key).ok_or_else(|| StoreError::Missing(key.clone()))?;
                        if stored.meta().resource_version != object.meta().resource_version {
                            return Err(StoreError::Conflict(key));
                        }
                        put.push(host.put(object, &changes));
                    }
                    Op::Put(object) | Op::Create(object) => put.push(host.put(object, &changes)),
                    Op::Delete { key, .. } => {
                        if let Some(object) = host.objects.remove(&key) {
                            let _ = changes.send(Change { revision: 0, kind: ChangeKind::Deleted, object });
                        }
                    }
                    Op::Expect(_) | Op::Record { .. } => {}
                }
            }
            Ok(put)
        };
        let takes = self.0.host().commit_takes;
        tokio::time::sleep(takes).await;
        self.0.call("commit", commit).await
    }
    fn watch(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }
}
