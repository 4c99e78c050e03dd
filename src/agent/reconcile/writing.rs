//! What is being written: transactions that the Store has been handed and that are not answered yet, so that the loop may plan meanwhile.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::{BoxFuture, JoinAll, MaybeDone, join_all, maybe_done};

use crate::api::{Key, Kind, Object};
use crate::store::{Op, Store, StoreError};

type Commit = BoxFuture<'static, Result<Vec<Arc<Object>>, StoreError>>;

/// Transactions that share one sync of the disk if they can. Dropping it stops none that the Store has been handed.
pub(super) struct Writing {
    keys: Vec<Key>,
    makes_pods: bool,
    results: Pin<Box<MaybeDone<JoinAll<Commit>>>>,
}

impl Writing {
    /// Hands each key's transaction to the Store, in order; empty ones are left out.
    pub(super) async fn begin(store: &Arc<dyn Store>, transactions: Vec<(Key, Vec<Op>)>) -> Writing {
        let (keys, ops): (Vec<Key>, Vec<Vec<Op>>) = transactions.into_iter().filter(|(_, ops)| !ops.is_empty()).unzip();
        let makes_pods = ops.iter().flatten().any(|op| matches!(op, Op::Create(object) if object.key().kind == Kind::Pod));
        let commit = |ops| -> Commit {
            let store = Arc::clone(store);
            Box::pin(async move { store.commit(ops).await })
        };
        let mut results = Box::pin(maybe_done(join_all(ops.into_iter().map(commit))));
        // A future does nothing before it is polled; the answers are taken in `end`.
        let _ = futures::poll!(&mut results);
        Writing { keys, makes_pods, results }
    }

    /// Whether plans of these workloads may rest on what is being written: it is theirs, or it is pods, which share the node with any other's.
    pub(super) fn concerns(&self, due: &[Key]) -> bool {
        let mine: HashSet<&Key> = self.keys.iter().collect();
        self.makes_pods || due.iter().any(|key| mine.contains(key))
    }

    /// Waits for the answers; the failures.
    pub(super) async fn end(mut self) -> Vec<(Key, StoreError)> {
        (&mut self.results).await;
        let results = self.results.as_mut().take_output().unwrap_or_default();
        self.keys.into_iter().zip(results).filter_map(|(key, result)| Some((key, result.err()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::store::embedded::EmbeddedStore;

    fn key(name: &str) -> Key {
        Key::new(Kind::Job, "default", name)
    }

    fn meta() -> ObjectMeta {
        ObjectMeta { name: Some("a".into()), namespace: Some("default".into()), uid: Some("u".into()), ..Default::default() }
    }

    fn creates(object: Object) -> Vec<(Key, Vec<Op>)> {
        vec![(key("idle"), Vec::new()), (key("busy"), vec![Op::Create(object)])]
    }

    #[tokio::test]
    async fn it_is_handed_over_before_anybody_waits_and_fails_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
        let object = Object::from(ConfigMap { metadata: meta(), ..Default::default() });
        let writing = Writing::begin(&store, creates(object.clone())).await;
        let begun = std::time::Instant::now();
        while store.get(&object.key()).is_none() {
            assert!(begun.elapsed() < Duration::from_secs(10), "nothing is written while nobody waits");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(writing.end().await.is_empty());
        let again = Writing::begin(&store, creates(object)).await.end().await;
        assert!(matches!(&again[..], [(failed, StoreError::Exists(_))] if *failed == key("busy")), "{again:?}");
    }

    #[tokio::test]
    async fn no_plan_rests_on_what_is_being_written() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
        let data = Writing::begin(&store, creates(ConfigMap { metadata: meta(), ..Default::default() }.into())).await;
        assert!(data.concerns(&[key("other"), key("busy")]));
        assert!(!data.concerns(&[key("other"), key("idle")]));
        let pods = Writing::begin(&store, creates(Pod { metadata: meta(), ..Default::default() }.into())).await;
        assert!(pods.concerns(&[key("other")]), "where a pod is being bound, another plan could give its place away");
    }
}
