//! What workloads need now: each one's plan is a function of the Store, the Node, an instant and an ordinal of its own, so that many are computed on
//! all cores and come to the same as one after the other.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::core::v1::Node;

use crate::api::names::Names;
use crate::api::{Key, Object};
use crate::controllers::{self, Context, Plan};
use crate::cores::on_all_cores;
use crate::store::Store;

/// Fewer workloads than this for each thread are not worth one.
const WORTH_A_THREAD: usize = 64;

/// See the module.
pub(super) struct Planner<'a> {
    pub store: &'a dyn Store,
    pub node: &'a Node,
    pub now: Timestamp,
    pub seed: u64,
    pub zone: &'a TimeZone,
}

impl<'a> Planner<'a> {
    /// The plan of each workload, in their order; `None`: it is gone, or is no workload. Their ordinals begin with `first`.
    pub(super) fn plans(&self, due: &[Key], first: u64) -> Vec<Option<Plan>> {
        on_all_cores(due, WORTH_A_THREAD, |n, key| self.plan(key, first.wrapping_add(n as u64)))
    }

    fn plan(&self, key: &Key, ordinal: u64) -> Option<Plan> {
        let object = self.store.get(key)?;
        let owned = self.store.owned(object.uid());
        let mut cx = self.context(object.uid(), ordinal);
        Some(match &*object {
            Object::DaemonSet(o) => controllers::daemonset::reconcile(o, &owned, &mut cx),
            Object::Job(o) => controllers::job::reconcile(o, &owned, &mut cx),
            Object::CronJob(o) => controllers::cronjob::reconcile(o, &owned, &mut cx),
            Object::StaticPod(o) => controllers::static_pod::reconcile(o, &owned, &mut cx),
            _ => return None,
        })
    }

    /// What a controller decides by. Two plans of one instant, on a coarse clock, must not make two pods of one uid: their ordinals differ.
    pub(super) fn context(&self, owner: &str, ordinal: u64) -> Context<'a> {
        Context { node: self.node, now: self.now, names: Names::new(self.seed, owner, instant(self.now, ordinal)), zone: self.zone.clone() }
    }
}

/// The instant a plan's names derive from, moved on for each plan of this agent.
fn instant(now: Timestamp, ordinal: u64) -> Timestamp {
    now.checked_add(Duration::from_nanos(ordinal)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::Job;
    use serde_json::json;

    use super::*;
    use crate::api::Kind;
    use crate::store::Op;
    use crate::store::embedded::EmbeddedStore;

    #[test]
    fn two_plans_of_one_instant_name_different_pods() {
        let uid = |ordinal| Names::new(7, "job-uid", instant(Timestamp::UNIX_EPOCH, ordinal)).uid();
        assert_ne!(uid(0), uid(1));
        assert_eq!(instant(Timestamp::MAX, 1), Timestamp::MAX);
    }

    #[tokio::test]
    async fn many_plans_are_those_of_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
        let job = |n: usize| -> Job {
            let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
            let meta = json!({"name": format!("j{n:03}"), "namespace": "default", "uid": format!("u{n}")});
            serde_json::from_value(json!({"metadata": meta, "spec": {"completions": 1, "parallelism": 1, "template": template}})).unwrap()
        };
        store.commit((0..300).map(|n| Op::Create(job(n).into())).collect()).await.unwrap();
        let mut due: Vec<Key> = (0..300).map(|n| Key::new(Kind::Job, "default", format!("j{n:03}"))).collect();
        due.insert(100, Key::new(Kind::Job, "default", "gone"));
        let node = Node::default();
        let planner = Planner { store: &*store, node: &node, now: Timestamp::UNIX_EPOCH, seed: 7, zone: &TimeZone::UTC };
        let plans = planner.plans(&due, 5);
        assert!(plans[100].is_none() && plans.iter().flatten().all(|plan| plan.create.len() == 1));
        let alone: Vec<Option<Plan>> = due.iter().zip(5..).map(|(key, ordinal)| planner.plan(key, ordinal)).collect();
        assert!(plans == alone);
    }
}
