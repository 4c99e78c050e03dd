//! The one loop that reconciles: takes a snapshot, asks a pure controller for a plan, commits it in one transaction, and waits.
//!
//! ```text
//! ManifestSet ──▶ sync ──┐
//! Store changes ─▶ queue ─┼─▶ controller(object, owned, Node, now) ─▶ Plan ─▶ commit ─▶ (Store changes …)
//! wall clock ────▶ queue ─┘                unbound pods ─▶ binding ─▶ commit ─▶ pod workers
//! ```
//!
//! # Guarantees
//! * A plan is computed from one snapshot and committed by compare-and-swap: if anything it rests on changed, it is computed again.
//! * A failed commit (disk full) changes nothing and is tried again after [`RETRY`]; what runs keeps running.
//! * Work is proportional to what changed: a change of one object queues its owner, nothing else.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use tokio::sync::{broadcast, watch};

use super::manifests::ManifestSet;
use super::queue::Queue;
use super::{Drivers, commit, node, wishes};
use crate::api::names::Names;
use crate::api::{Key, Kind, Object, well_known};
use crate::controllers::{self, Context, Plan, binding};
use crate::store::{Change, ChangeKind, Op, StoreError};

/// How long after a failed commit the same thing is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(1);

/// A clock that goes back by more than this was set.
const CLOCK_SET_BACK: SignedDuration = SignedDuration::from_secs(1);

/// Hands a changed pod that is bound here (or its last state, when it was removed) to its worker.
pub type PodSink = Arc<dyn Fn(ChangeKind, Arc<Object>) + Send + Sync>;

/// The loop's inputs beside the drivers.
pub struct Inputs {
    /// The manifests.
    pub sets: watch::Receiver<Option<Arc<ManifestSet>>>,
    /// Where bound pods go.
    pub pods: PodSink,
    /// The runtime's name and version for the Node (`containerd://1.6.20`).
    pub runtime: watch::Receiver<String>,
    /// Beats once per turn of the loop, for the watchdog.
    pub beat: Arc<dyn Fn() + Send + Sync>,
}

/// The reconcile loop. One per agent.
pub struct Reconciler {
    drivers: Drivers,
    inputs: Inputs,
    changes: broadcast::Receiver<Change>,
    seed: u64,
    zone: jiff::tz::TimeZone,
    queue: Queue,
    /// uid → key of every workload, to find an object's owner.
    owners: HashMap<String, Key>,
    /// Pods without a node, in order of creation.
    unbound: BTreeSet<(Timestamp, Key)>,
    manifests_dirty: bool,
    taints_dirty: bool,
    unbound_dirty: bool,
    /// The latest the wall clock has shown: less than that means that it was set back.
    latest: Timestamp,
}

impl Reconciler {
    /// Reads the Store and queues everything once. Errors: the seed cannot be stored.
    pub async fn new(drivers: Drivers, inputs: Inputs) -> anyhow::Result<Reconciler> {
        let changes = drivers.store.watch();
        let seed = seed(&drivers).await?;
        let mut reconciler = Reconciler {
            drivers,
            inputs,
            changes,
            seed,
            zone: jiff::tz::TimeZone::system(),
            queue: Queue::default(),
            owners: HashMap::new(),
            unbound: BTreeSet::new(),
            manifests_dirty: true,
            taints_dirty: true,
            unbound_dirty: true,
            latest: Timestamp::MIN,
        };
        reconciler.relist();
        Ok(reconciler)
    }

    /// Runs until dropped or `stop` says so.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            (self.inputs.beat)();
            self.mind_the_clock();
            self.drain_changes();
            self.work().await;
            let wake = self.queue.next_wake();
            let clock = Arc::clone(&self.drivers.clock);
            let sleep = async {
                match wake {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // Cancel-safe: `recv`, `changed` and `sleep_until` lose nothing when dropped; the heartbeat only shortens the wait. A branch whose
            // sender is gone is left out of the wait: it would be ready for ever.
            tokio::select! {
                change = self.changes.recv() => self.received(change),
                Ok(()) = self.inputs.sets.changed() => self.manifests_dirty = true,
                Ok(()) = self.inputs.runtime.changed() => self.manifests_dirty = true,
                () = sleep => {}
                () = tokio::time::sleep(super::HEARTBEAT) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// What waits for an instant must be computed again when the clock was set back: the instants are far off then. Forward, they are due.
    fn mind_the_clock(&mut self) {
        let now = self.drivers.clock.now();
        if now.saturating_add(CLOCK_SET_BACK).is_ok_and(|later| later < self.latest) {
            tracing::warn!("the clock was set back; looking at every workload again");
            self.owners.values().cloned().for_each(|key| self.queue.add(key));
            self.taints_dirty = true;
            self.latest = now;
        }
        self.latest = self.latest.max(now);
    }

    fn received(&mut self, change: Result<Change, broadcast::error::RecvError>) {
        match change {
            Ok(change) => self.note(change.kind, &change.object),
            Err(broadcast::error::RecvError::Lagged(_)) => self.relist(),
            // The Store lives as long as the agent.
            Err(broadcast::error::RecvError::Closed) => {}
        }
    }

    fn drain_changes(&mut self) {
        loop {
            match self.changes.try_recv() {
                Ok(change) => self.note(change.kind, &change.object),
                Err(broadcast::error::TryRecvError::Lagged(_)) => self.relist(),
                Err(_) => return,
            }
        }
    }

    /// Everything anew: at start, and when changes were missed.
    fn relist(&mut self) {
        let store = Arc::clone(&self.drivers.store);
        self.owners.clear();
        self.unbound.clear();
        for kind in [Kind::DaemonSet, Kind::Job, Kind::CronJob, Kind::StaticPod, Kind::Pod] {
            for object in store.list(kind) {
                self.note(ChangeKind::Added, &object);
            }
        }
        self.manifests_dirty = true;
        self.taints_dirty = true;
        self.unbound_dirty = true;
    }

    /// What one change of one object makes necessary.
    fn note(&mut self, change: ChangeKind, object: &Arc<Object>) {
        let key = object.key();
        if let Some(owner) = object.controller_uid().and_then(|uid| self.owners.get(uid)) {
            self.queue.add(owner.clone());
        }
        match key.kind {
            Kind::DaemonSet | Kind::Job | Kind::CronJob | Kind::StaticPod => self.note_workload(change, key, object),
            Kind::Pod => self.note_pod(change, key, object),
            Kind::Node => {
                self.taints_dirty = true;
                self.unbound_dirty = true;
                self.owners.values().cloned().for_each(|key| self.queue.add(key));
            }
            _ => {}
        }
    }

    fn note_workload(&mut self, change: ChangeKind, key: Key, object: &Object) {
        if change == ChangeKind::Deleted {
            self.owners.remove(object.uid());
            self.queue.set_wake(&key, None);
            // A replacement may have waited for this one to go.
            self.manifests_dirty = true;
            return;
        }
        if self.owners.insert(object.uid().to_owned(), key.clone()).is_none() {
            // Children that were noted before their owner was known.
            self.queue.add(key.clone());
        }
        self.queue.add(key);
    }

    fn note_pod(&mut self, change: ChangeKind, key: Key, object: &Arc<Object>) {
        let Some(pod) = object.as_pod() else { return };
        let created = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0);
        let bound = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
        if change == ChangeKind::Deleted || bound {
            self.unbound.remove(&(created, key.clone()));
        } else {
            self.unbound_dirty |= self.unbound.insert((created, key));
        }
        if bound {
            let ended = matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
            self.unbound_dirty |= ended || change == ChangeKind::Deleted;
            self.taints_dirty |= change == ChangeKind::Added;
            (self.inputs.pods)(change, Arc::clone(object));
        }
    }

    /// Does everything there is to do now. Nothing before the manifests were read once: this host's labels and taints may stand in them.
    async fn work(&mut self) {
        if self.inputs.sets.borrow().is_none() {
            return;
        }
        if std::mem::take(&mut self.manifests_dirty) && self.sync().await.is_err() {
            self.manifests_dirty = true;
        }
        while let Some(key) = self.queue.pop(self.drivers.clock.now()) {
            match key.kind {
                // The Node's alarm stands for what is asked of all pods: evictions, waiting pods, and what failed.
                Kind::Node => (self.taints_dirty, self.unbound_dirty) = (true, true),
                _ => self.reconcile(&key).await,
            }
            self.drain_changes();
        }
        if std::mem::take(&mut self.unbound_dirty) && !self.unbound.is_empty() {
            self.bind().await;
        }
        if std::mem::take(&mut self.taints_dirty) {
            self.evict().await;
        }
    }

    /// Brings Node and workloads in line with the manifests.
    async fn sync(&mut self) -> Result<(), StoreError> {
        let Some(set) = self.inputs.sets.borrow_and_update().clone() else { return Ok(()) };
        if let Err(error) = self.sync_node(&set).await {
            self.failed(&error, &node_key(&self.drivers));
            return Err(error);
        }
        let node = self.node();
        let mut cx = self.context(&node, "manifests");
        let plan = wishes::plan(&set, &*self.drivers.store, &mut cx);
        self.apply(plan, None).await
    }

    async fn sync_node(&mut self, set: &ManifestSet) -> Result<(), StoreError> {
        let key = node_key(&self.drivers);
        let manifest = set.objects.iter().filter_map(|o| o.as_node()).find(|n| n.metadata.name.as_deref() == Some(key.name.as_str()));
        let previous = self.drivers.store.get(&key);
        let runtime = self.inputs.runtime.borrow_and_update().clone();
        let built = node::build(&node::Inputs {
            settings: &self.drivers.settings,
            host: &self.drivers.host,
            manifest,
            previous: previous.as_deref().and_then(Object::as_node),
            addresses: &self.drivers.network.host_ips(),
            runtime: &runtime,
            now: self.drivers.clock.now(),
        });
        let others = self.drivers.store.list(Kind::Node).into_iter().map(|o| o.key()).filter(|k| *k != key);
        let mut ops: Vec<Op> = others.map(|key| Op::Delete { key, uid: None }).collect();
        if previous.as_deref().and_then(Object::as_node) != Some(&built) {
            ops.push(Op::Put(built.into()));
        }
        if ops.is_empty() {
            return Ok(());
        }
        self.drivers.store.commit(ops).await?;
        self.drain_changes();
        Ok(())
    }

    /// One workload.
    async fn reconcile(&mut self, key: &Key) {
        let Some(object) = self.drivers.store.get(key) else { return };
        let owned = self.drivers.store.owned(object.uid());
        let node = self.node();
        let mut cx = self.context(&node, object.uid());
        let plan = match &*object {
            Object::DaemonSet(o) => controllers::daemonset::reconcile(o, &owned, &mut cx),
            Object::Job(o) => controllers::job::reconcile(o, &owned, &mut cx),
            Object::CronJob(o) => controllers::cronjob::reconcile(o, &owned, &mut cx),
            Object::StaticPod(o) => controllers::static_pod::reconcile(o, &owned, &mut cx),
            _ => return,
        };
        // A failure is logged and queued again by `apply`.
        let _ = self.apply(plan, Some(key)).await;
    }

    /// NoExecute taints.
    async fn evict(&mut self) {
        let (node, pods) = (self.node(), bound_pods(&self.drivers));
        let mut cx = self.context(&node, "taints");
        let plan = controllers::taints::reconcile(&pods, &mut cx);
        if self.apply(plan, Some(&node_key(&self.drivers))).await.is_err() {
            self.taints_dirty = true;
        }
    }

    /// Gives waiting pods to this node, oldest first.
    async fn bind(&mut self) {
        let node = self.node();
        let mut others = bound_pods(&self.drivers);
        for (_, key) in self.unbound.clone() {
            let Some(object) = self.drivers.store.get(&key) else { continue };
            let Some(pod) = object.as_pod() else { continue };
            let now = self.drivers.clock.now();
            let outcome = binding::bind(pod, &others, &node, now);
            let Some(pod) = outcome.pod else { continue };
            let event = outcome.event.map(|draft| super::events::record(&*self.drivers.store, &draft, now));
            match self.drivers.store.commit([Op::Update(pod.into())].into_iter().chain(event).collect()).await {
                Ok(put) if outcome.bound => {
                    others.extend(put.first().cloned());
                    self.taints_dirty = true;
                }
                Ok(_) => {}
                Err(error) => self.failed(&error, &node_key(&self.drivers)),
            }
        }
        self.drain_changes();
    }

    async fn apply(&mut self, plan: Plan, key: Option<&Key>) -> Result<(), StoreError> {
        let now = self.drivers.clock.now();
        if let Some(key) = key {
            self.queue.set_wake(key, plan.wake_at);
        }
        let ops = commit::operations(&*self.drivers.store, plan, now);
        if ops.is_empty() {
            return Ok(());
        }
        let result = self.drivers.store.commit(ops).await;
        if let Err(error) = &result {
            self.failed(error, key.unwrap_or(&node_key(&self.drivers)));
        }
        self.drain_changes();
        result.map(|_| ())
    }

    /// A conflict is computed again at once, anything else after a while.
    fn failed(&mut self, error: &StoreError, key: &Key) {
        match error {
            StoreError::Conflict(_) | StoreError::Exists(_) | StoreError::Missing(_) => {
                tracing::debug!(%key, %error, "computed from an old snapshot; again");
                self.queue.set_wake(key, Some(self.drivers.clock.now() + SignedDuration::from_millis(5)));
            }
            _ => {
                tracing::error!(%key, %error, "cannot store; nothing is changed, what runs keeps running");
                self.queue.set_wake(key, Some(self.drivers.clock.now() + RETRY));
            }
        }
    }

    fn node(&self) -> Node {
        self.drivers.store.get(&node_key(&self.drivers)).and_then(|o| o.as_node().cloned()).unwrap_or_default()
    }

    fn context<'a>(&self, node: &'a Node, owner: &str) -> Context<'a> {
        let now = self.drivers.clock.now();
        Context { node, now, names: Names::new(self.seed, owner, now), zone: self.zone.clone() }
    }
}

/// This node's key.
pub fn node_key(drivers: &Drivers) -> Key {
    Key::new(Kind::Node, "", drivers.settings.node_name.clone())
}

async fn seed(drivers: &Drivers) -> anyhow::Result<u64> {
    if let Some(bytes) = drivers.store.record(well_known::SEED).and_then(|b| <[u8; 8]>::try_from(b).ok()) {
        return Ok(u64::from_be_bytes(bytes));
    }
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no random bytes from the kernel: {e}"))?;
    drivers.store.commit(vec![Op::Record { name: well_known::SEED.to_owned(), value: Some(bytes.to_vec()) }]).await?;
    Ok(u64::from_be_bytes(bytes))
}

fn bound_pods(drivers: &Drivers) -> Vec<Arc<Object>> {
    let held = |o: &Arc<Object>| {
        o.as_pod().is_some_and(|p| {
            let ended = matches!(p.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
            !ended && p.spec.as_ref().is_some_and(|s| s.node_name.is_some())
        })
    };
    drivers.store.list(Kind::Pod).into_iter().filter(held).collect()
}
