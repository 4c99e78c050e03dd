//! What is being written: transactions that the Store has been handed and that are not answered yet, so that the loop may plan meanwhile.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::{BoxFuture, JoinAll, MaybeDone, join_all, maybe_done};
use tokio::task::{Unconstrained, unconstrained};

use crate::api::{Key, Kind, Object};
use crate::store::{Op, Store, StoreError};

type Commit = BoxFuture<'static, Result<Vec<Arc<Object>>, StoreError>>;

/// Transactions that share one sync of the disk if they can. Dropping it stops none that the Store has been handed.
pub(super) struct Writing {
    keys: Vec<Key>,
    /// What the transactions touch: a CronJob's may mark its Jobs.
    touched: HashSet<Key>,
    makes_pods: bool,
    results: Pin<Box<MaybeDone<Unconstrained<JoinAll<Commit>>>>>,
}

impl Writing {
    /// Hands each key's transaction to the Store, in order; empty ones are left out.
    pub(super) async fn begin(store: &Arc<dyn Store>, transactions: Vec<(Key, Vec<Op>)>) -> Writing {
        let (keys, ops): (Vec<Key>, Vec<Vec<Op>>) = transactions.into_iter().filter(|(_, ops)| !ops.is_empty()).unzip();
        let touched = keys.iter().cloned().chain(ops.iter().flatten().filter_map(Op::key)).collect();
        let makes_pods = ops.iter().flatten().any(|op| matches!(op, Op::Create(object) if object.key().kind == Kind::Pod));
        let commit = |ops| -> Commit {
            let store = Arc::clone(store);
            Box::pin(async move { store.commit(ops).await })
        };
        // A future does nothing before it is polled; the answers are taken in `end`. Constrained, a poll would hand over the first 128 only.
        let mut results = Box::pin(maybe_done(unconstrained(join_all(ops.into_iter().map(commit)))));
        let _ = futures::poll!(&mut results);
        Writing { keys, touched, makes_pods, results }
    }

    /// Whether plans of these workloads may rest on what is being written: it is theirs, or it is pods, which share the node with any other's.
    pub(super) fn concerns(&self, due: &[Key]) -> bool {
        self.makes_pods || due.iter().any(|key| self.touched.contains(key))
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

    /// tokio lets a task that polls much wait for its next turn; there is none before the answers are asked for.
    #[tokio::test]
    async fn all_of_many_are_handed_over_before_anybody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
        let name = |n: usize| ObjectMeta { name: Some(n.to_string()), ..meta() };
        let object = |n| Object::from(ConfigMap { metadata: name(n), ..Default::default() });
        let many = (0..500).map(|n| (key(&n.to_string()), vec![Op::Create(object(n))])).collect();
        let writing = Writing::begin(&store, many).await;
        let begun = std::time::Instant::now();
        while store.list(Kind::ConfigMap).len() < 500 {
            assert!(begun.elapsed() < Duration::from_secs(20), "{} of 500", store.list(Kind::ConfigMap).len());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(writing.end().await.is_empty());
    }

    #[tokio::test]
    async fn a_job_that_a_cron_job_s_plan_marks_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
        let deletes = vec![Op::Delete { key: key("its"), uid: None }];
        let writing = Writing::begin(&store, vec![(Key::new(Kind::CronJob, "default", "c"), deletes)]).await;
        assert!(writing.concerns(&[key("its")]) && !writing.concerns(&[key("another")]));
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
