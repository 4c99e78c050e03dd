//! Pods are given to this node: by the Node as it is stored when they are, which every such transaction expects.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use super::{Reconciler, bound_pods, node_key};
use crate::admission::devices;
use crate::agent::events;
use crate::api::Object;
use crate::api::devices::Numbers;
use crate::controllers::binding::{self, Outcome};
use crate::store::Op;

impl Reconciler {
    /// Gives waiting pods to this node, oldest first. Each is judged as if those before it were bound: one whose commit fails is queued again, and
    /// what waits for its place with it.
    pub(super) async fn bind(&mut self) {
        let Some(stored) = self.stored_node() else { return };
        let Some(node) = stored.as_node() else { return };
        let (mut others, numbers) = self.bound(node);
        let mut transactions = Vec::new();
        for (_, key) in &self.unbound {
            let Some(waits) = self.drivers.store.get(key) else { continue };
            let Some(waits) = waits.as_pod() else { continue };
            let now = self.drivers.clock.now();
            let Outcome { pod, bound, events } = binding::bind(waits, &others, node, Some(self.host(&numbers)), now);
            let Some(pod) = pod.map(Object::from) else { continue };
            if bound {
                others.push(Arc::new(pod.clone()));
                self.taints_dirty = true;
            }
            transactions
                .push((node_key(&self.drivers), behind_its_judge(&stored, pod, events::record(&*self.drivers.store, &events, now))));
        }
        self.commit_all(transactions).await;
    }

    pub(super) fn host<'a>(&'a self, numbers: &'a Numbers) -> binding::Host<'a> {
        binding::Host { facts: &self.drivers.host, devices: numbers }
    }

    /// The pods that are bound here, and what the device nodes are now that are handed out here. Asks the host only where the Node declares devices.
    pub(super) fn bound(&self, node: &Node) -> (Vec<Arc<Object>>, Numbers) {
        let others = bound_pods(&*self.drivers.store);
        let numbers = self.drivers.devices.numbers(devices::paths(node, &others));
        (others, numbers)
    }
}

/// What became of a pod that waits, and what is told of it, by the Node that judged it.
fn behind_its_judge(node: &Arc<Object>, pod: Object, told: Vec<Op>) -> Vec<Op> {
    [Op::Expect(Arc::clone(node)), Op::Update(pod)].into_iter().chain(told).collect()
}

/// `ops` of a workload's plan, behind what they expect: the Node that judged the pods which they make, where one of those is this node's already.
pub(super) fn judged_by(node: Option<&Arc<Object>>, mut ops: Vec<Op>) -> Vec<Op> {
    let judge = node.filter(|_| ops.iter().any(makes_a_bound_pod));
    ops.splice(0..0, judge.cloned().map(Op::Expect));
    ops
}

fn makes_a_bound_pod(op: &Op) -> bool {
    let Op::Create(object) = op else { return false };
    object.as_pod().and_then(|pod| pod.spec.as_ref()).is_some_and(|spec| spec.node_name.is_some())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use k8s_openapi::api::core::v1::NodeCondition;
    use serde_json::{Value, json};

    use super::super::planner::Planner;
    use super::*;
    use crate::agent::commit;
    use crate::agent::node::with;
    use crate::agent::node_edits::{Memory, Wish};
    use crate::api::{Key, Kind};
    use crate::store::embedded::EmbeddedStore;
    use crate::store::{Store, StoreError};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    struct World {
        store: Arc<EmbeddedStore>,
        _dir: tempfile::TempDir,
    }

    impl World {
        /// An open node, a Job and a DaemonSet of one pod each, and a static pod.
        async fn new() -> World {
            let dir = tempfile::tempdir().unwrap();
            let store = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
            let meta = |name: &str| json!({"name": name, "namespace": "default", "uid": name});
            let spec = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
            let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
            let object = |kind, value: Value| Object::from_json(kind, value.to_string().as_bytes()).unwrap();
            let allocatable = json!({"cpu": "1", "memory": "1Gi", "pods": "10"});
            let ops = [
                object(Kind::Node, json!({"metadata": {"name": "n"}, "status": {"allocatable": allocatable}})),
                object(Kind::Job, json!({"metadata": meta("job"), "spec": {"completions": 1, "parallelism": 1, "template": template}})),
                object(
                    Kind::DaemonSet,
                    json!({"metadata": meta("ds"), "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}),
                ),
                object(Kind::StaticPod, json!({"metadata": meta("static"), "spec": spec})),
            ];
            store.commit(ops.into_iter().map(Op::Create).collect()).await.unwrap();
            World { store, _dir: dir }
        }

        fn node(&self) -> Arc<Object> {
            self.store.get(&Key::new(Kind::Node, "", "n")).unwrap()
        }

        /// What the loop would commit of this workload, by the Node as it is now.
        fn planned(&self, kind: Kind, name: &str) -> Vec<Op> {
            let stored = self.node();
            let node = stored.as_node().unwrap();
            let planner = Planner { store: &*self.store, node, now: NOW, seed: 7, zone: &TimeZone::UTC };
            let mut plan = planner.plans(&[Key::new(kind, "default", name)], 0).remove(0).unwrap();
            binding::place(&mut plan, &mut Vec::new(), node, None, NOW);
            judged_by(Some(&stored), commit::operations(&*self.store, plan, NOW))
        }

        /// As `minik8s cordon` (and `taint`) does it.
        async fn edit(&self, wish: Wish) {
            let stored = self.node();
            let memory = Memory::of(None, stored.as_node()).unwrap().with(&wish, "n").unwrap();
            let after = with(stored.as_node().unwrap().clone(), &memory.effective(), NOW);
            self.store.commit(vec![Op::Update(after.into())]).await.unwrap();
        }

        fn bound(&self) -> usize {
            bound_pods(&*self.store).len()
        }
    }

    fn cordon() -> Wish {
        Wish { unschedulable: Some(true), ..Wish::default() }
    }

    #[tokio::test]
    async fn nothing_planned_before_a_cordon_is_bound_after_it() {
        let world = World::new().await;
        let planned = [world.planned(Kind::Job, "job"), world.planned(Kind::DaemonSet, "ds"), world.planned(Kind::StaticPod, "static")];
        world.edit(cordon()).await;
        for ops in planned {
            let refused = world.store.commit(ops).await;
            assert!(matches!(&refused, Err(StoreError::Conflict(key)) if key.kind == Kind::Node), "{refused:?}");
        }
        assert_eq!(world.bound(), 0);
        // Again, by the Node as it is: a daemon pod tolerates it, a Job and a static pod's file make none.
        for (kind, name) in [(Kind::Job, "job"), (Kind::DaemonSet, "ds"), (Kind::StaticPod, "static")] {
            world.store.commit(world.planned(kind, name)).await.unwrap();
        }
        let bound = bound_pods(&*world.store);
        assert_eq!(bound.iter().map(|pod| pod.controller_uid()).collect::<Vec<_>>(), [Some("ds")]);
        assert_eq!(world.store.list(Kind::Pod).len(), 1);
    }

    #[tokio::test]
    async fn a_pod_that_waits_is_not_bound_by_what_the_node_said_before_a_cordon() {
        let world = World::new().await;
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        let waits = json!({"metadata": {"name": "p", "namespace": "default", "uid": "p"}, "spec": spec, "status": {"phase": "Pending"}});
        let waits = Object::from_json(Kind::Pod, waits.to_string().as_bytes()).unwrap();
        world.store.commit(vec![Op::Create(waits.clone())]).await.unwrap();
        let judged = |stored: &Arc<Object>| {
            let stays = world.store.get(&waits.key()).unwrap();
            let outcome = binding::bind(stays.as_pod().unwrap(), &[], stored.as_node().unwrap(), None, NOW);
            (outcome.bound, behind_its_judge(stored, outcome.pod.unwrap().into(), Vec::new()))
        };
        let (bound, ops) = judged(&world.node());
        assert!(bound);
        world.edit(cordon()).await;
        let refused = world.store.commit(ops).await;
        assert!(matches!(&refused, Err(StoreError::Conflict(key)) if key.kind == Kind::Node), "{refused:?}");
        let (bound, ops) = judged(&world.node());
        assert!(!bound);
        world.store.commit(ops).await.unwrap();
        assert_eq!(world.bound(), 0);
    }

    #[tokio::test]
    async fn what_a_cordon_follows_has_been_bound() {
        let world = World::new().await;
        world.store.commit(world.planned(Kind::Job, "job")).await.unwrap();
        world.edit(cordon()).await;
        assert_eq!(world.bound(), 1, "a drain that lists now finds it");
    }

    #[tokio::test]
    async fn what_the_node_only_tells_is_in_nobody_s_way() {
        let world = World::new().await;
        let planned = world.planned(Kind::Job, "job");
        let mut node = world.node().as_node().unwrap().clone();
        let condition = NodeCondition { type_: "Ready".into(), status: "True".into(), ..NodeCondition::default() };
        node.status.get_or_insert_default().conditions = Some(vec![condition]);
        world.store.commit(vec![Op::Update(node.into())]).await.unwrap();
        world.store.commit(planned).await.unwrap();
        assert_eq!(world.bound(), 1);
    }

    #[tokio::test]
    async fn what_is_made_to_wait_expects_nothing() {
        let world = World::new().await;
        let unbind = |op: Op| match op {
            Op::Create(object) => {
                let mut pod = object.as_pod().unwrap().clone();
                pod.spec.as_mut().unwrap().node_name = None;
                Some(Op::Create(pod.into()))
            }
            _ => None,
        };
        let waiting: Vec<Op> = world.planned(Kind::Job, "job").into_iter().filter_map(unbind).collect();
        assert_eq!((waiting.len(), judged_by(Some(&world.node()), waiting.clone())), (1, waiting));
    }
}
