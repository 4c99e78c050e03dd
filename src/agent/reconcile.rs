//! The one loop that reconciles: takes a snapshot, asks a pure controller for a plan, commits it in one transaction, and waits.
//!
//! ```text
//! ManifestSet ──▶ sync ──┐
//! Store changes ─▶ queue ─┼─▶ controller(object, owned, Node, now) ─▶ Plan ─▶ commit ─▶ (Store changes …)
//! wall clock ────▶ queue ─┘                unbound pods ─▶ binding ─▶ commit ─▶ pod workers
//! ```
//!
//! # Guarantees
//! * A plan is computed from one snapshot and committed by compare-and-swap: if an object that it changes was changed, it is computed again. What it
//!   only reads (the Node, owned pods) queues the workload again when it changes.
//! * No pod is given to this node by what the Node said before: that transaction expects the Node it was judged by ([`Op::Expect`]), so that
//!   nothing follows a cordon that is durable.
//! * A failed commit (disk full) changes nothing and is tried again after [`RETRY`]; what runs keeps running.
//! * Work is proportional to what changed: a change of one object queues its owner, nothing else.

mod intake;
mod placing;
mod planner;
mod sync;
mod writing;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use tokio::sync::{broadcast, watch};

use super::manifests::ManifestSet;
use super::queue::Queue;
use super::wishes::Wishes;
use super::{Drivers, commit};
use crate::api::{Key, Kind, Object, well_known};
use crate::controllers::pressure::Conditions;
use crate::controllers::{self, Context, binding, pods};
use crate::runtime::presence::Presence;
use crate::store::{Change, ChangeKind, Op, Store, StoreError};
use planner::Planner;
use writing::Writing;

/// How long after a failed commit the same thing is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(1);

/// Of how many objects the plans are computed before they are committed.
const MOST_AT_ONCE: usize = 500;

/// So many times that may be under way to the disk before the next plans wait.
const MOST_UNDER_WAY: usize = 2;

/// A clock that goes back by more than this was set.
const CLOCK_SET_BACK: SignedDuration = SignedDuration::from_secs(1);

/// Hands a changed pod that is bound here, ConfigMap, Secret or claim (or its last state, when it was removed) to the workers it concerns.
pub type PodSink = Arc<dyn Fn(ChangeKind, Arc<Object>) + Send + Sync>;

/// The loop's inputs beside the drivers.
pub struct Inputs {
    /// The manifests.
    pub sets: watch::Receiver<Option<Arc<ManifestSet>>>,
    /// Where bound pods go.
    pub pods: PodSink,
    /// What the Node tells of the runtime.
    pub runtime: watch::Receiver<Presence>,
    /// The pressure the node is under; `None`: not measured yet.
    pub pressure: watch::Receiver<Option<Conditions>>,
    /// Beats once per turn of the loop, for the watchdog.
    pub beat: Arc<dyn Fn() + Send + Sync>,
}

/// The reconcile loop. One per agent.
pub struct Reconciler {
    drivers: Drivers,
    inputs: Inputs,
    changes: broadcast::Receiver<Change>,
    seed: u64,
    /// How many plans were asked for.
    plans: AtomicU64,
    zone: jiff::tz::TimeZone,
    queue: Queue,
    /// uid → key of every workload, to find an object's owner.
    owners: HashMap<String, Key>,
    /// Pods without a node, in order of creation.
    unbound: BTreeSet<(Timestamp, Key)>,
    manifests_dirty: bool,
    wishes: Wishes,
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
            plans: AtomicU64::new(0),
            zone: jiff::tz::TimeZone::system(),
            queue: Queue::default(),
            owners: HashMap::new(),
            unbound: BTreeSet::new(),
            manifests_dirty: true,
            wishes: Wishes::default(),
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
            // sender is gone is left out of the wait: it would be ready for ever. In order, so that a run can be replayed: each turn takes all.
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                change = self.changes.recv() => self.received(change),
                Ok(()) = self.inputs.sets.changed() => self.manifests_dirty = true,
                Ok(()) = self.inputs.runtime.changed() => self.manifests_dirty = true,
                Ok(()) = self.inputs.pressure.changed() => self.manifests_dirty = true,
                () = sleep => {}
                () = tokio::time::sleep(super::HEARTBEAT) => {}
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

    /// Does everything there is to do now. Nothing before the manifests were read once: this host's labels and taints may stand in them.
    async fn work(&mut self) {
        if self.inputs.sets.borrow().is_none() {
            return;
        }
        if std::mem::take(&mut self.manifests_dirty) {
            self.manifests_dirty |= !self.sync().await;
        }
        self.reconcile_due().await;
        if std::mem::take(&mut self.unbound_dirty) && !self.unbound.is_empty() {
            self.bind().await;
        }
        if std::mem::take(&mut self.taints_dirty) {
            self.evict().await;
        }
    }

    /// Reconciles the workloads that are due, [`MOST_AT_ONCE`] at a time: while up to [`MOST_UNDER_WAY`] times as many are written, the next are
    /// planned, unless they rest on what is being written. Their plans share one sync of
    /// the disk, each in its own transaction.
    async fn reconcile_due(&mut self) {
        let mut under_way: VecDeque<Writing> = VecDeque::new();
        loop {
            let due = self.due();
            while due.is_empty() || under_way.len() >= MOST_UNDER_WAY || under_way.iter().any(|writing| writing.concerns(&due)) {
                let Some(before) = under_way.pop_front() else { return };
                self.written(before).await;
                if due.is_empty() {
                    break;
                }
            }
            if !due.is_empty() {
                let transactions = self.plans(&due);
                under_way.push_back(Writing::begin(&self.drivers.store, transactions).await);
            }
        }
    }

    fn due(&mut self) -> Vec<Key> {
        let now = self.drivers.clock.now();
        std::iter::from_fn(|| self.queue.pop(now)).take(MOST_AT_ONCE).collect()
    }

    /// A transaction for each of these workloads.
    fn plans(&mut self, due: &[Key]) -> Vec<(Key, Vec<Op>)> {
        let now = self.drivers.clock.now();
        // Read once: what a pod is judged by and what its transaction expects must be one Node.
        let (stored, mut placed) = (self.stored_node(), None);
        let node = stored.as_deref().and_then(Object::as_node).cloned().unwrap_or_default();
        if due.iter().any(|key| key.kind == Kind::Node) {
            // The Node's alarm stands for what is asked of all pods: evictions, waiting pods, and what failed.
            (self.taints_dirty, self.unbound_dirty) = (true, true);
        }
        let plans = self.planner(&node).plans(due, self.ordinals(due.len()));
        let mut transactions = Vec::new();
        for (key, plan) in due.iter().zip(plans) {
            let Some(mut plan) = plan else { continue };
            self.queue.set_wake(key, plan.wake_at);
            // Who waits already comes first.
            if !plan.create.is_empty() && self.unbound.is_empty() && stored.is_some() {
                let (others, numbers) = placed.get_or_insert_with(|| self.bound(&node));
                binding::place(&mut plan, others, &node, Some(self.host(numbers)), now);
            }
            let ops = commit::operations(&*self.drivers.store, plan, now);
            transactions.push((key.clone(), placing::judged_by(stored.as_ref(), ops)));
        }
        transactions
    }

    /// Commits each transaction, all in one sync if they can be. What fails is logged and its key queued again. Whether all are committed.
    async fn commit_all(&mut self, transactions: Vec<(Key, Vec<Op>)>) -> bool {
        let writing = Writing::begin(&self.drivers.store, transactions).await;
        self.written(writing).await
    }

    async fn written(&mut self, writing: Writing) -> bool {
        let failures = writing.end().await;
        failures.iter().for_each(|(key, error)| self.failed(error, key));
        self.drain_changes();
        failures.is_empty()
    }

    /// NoExecute taints.
    async fn evict(&mut self) {
        let (node, pods) = (self.node(), bound_pods(&*self.drivers.store));
        let mut cx = self.context(&node, "taints");
        let plan = controllers::taints::reconcile(&pods, &mut cx);
        // The same alarm may stand for a binding that could not be stored a moment ago.
        plan.wake_at.into_iter().for_each(|at| self.queue.wake_by(&node_key(&self.drivers), at));
        let ops = commit::operations(&*self.drivers.store, plan, self.drivers.clock.now());
        self.taints_dirty |= !self.commit_all(vec![(node_key(&self.drivers), ops)]).await;
    }

    /// A conflict is computed again at once, anything else after a while.
    fn failed(&mut self, error: &StoreError, key: &Key) {
        match error {
            // Not made by an old snapshot: what this loop has made itself it has seen.
            StoreError::Exists(taken) => {
                tracing::warn!(%key, "the name of {taken} is taken by another object; tried again until it is free");
                self.queue.set_wake(key, Some(self.drivers.clock.now() + RETRY));
            }
            StoreError::Conflict(_) | StoreError::Missing(_) => {
                tracing::debug!(%key, %error, "computed from an old snapshot; again");
                self.queue.set_wake(key, Some(self.drivers.clock.now() + SignedDuration::from_millis(5)));
            }
            _ => {
                tracing::error!(%key, %error, "cannot store; nothing is changed, what runs keeps running");
                self.queue.set_wake(key, Some(self.drivers.clock.now() + RETRY));
            }
        }
    }

    fn stored_node(&self) -> Option<Arc<Object>> {
        self.drivers.store.get(&node_key(&self.drivers))
    }

    fn node(&self) -> Node {
        self.stored_node().and_then(|o| o.as_node().cloned()).unwrap_or_default()
    }

    fn planner<'a>(&'a self, node: &'a Node) -> Planner<'a> {
        Planner { store: &*self.drivers.store, node, now: self.drivers.clock.now(), seed: self.seed, zone: &self.zone }
    }

    /// The first of so many ordinals that no other plan has.
    fn ordinals(&self, count: usize) -> u64 {
        self.plans.fetch_add(count as u64, Ordering::Relaxed)
    }

    fn context<'a>(&'a self, node: &'a Node, owner: &str) -> Context<'a> {
        self.planner(node).context(owner, self.ordinals(1))
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

/// The pods that hold something of this node: bound, and not ended.
pub fn bound_pods(store: &dyn Store) -> Vec<Arc<Object>> {
    let held = |o: &Arc<Object>| o.as_pod().is_some_and(pods::holds_resources);
    store.list(Kind::Pod).into_iter().filter(held).collect()
}
