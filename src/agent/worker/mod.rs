//! The pod workers: one task a Pod, which alone touches that Pod's containers (invariant 2).
//!
//! ```text
//!   Store change ─▶ changed ─────▶ task::Worker ── reload ─▶ pod::compute_pod_actions ─▶ commit ─▶ apply ─┐
//!                                      ▲                                                                  │
//!                                      └── exits, finished starts, reconnects, timer ◀────────────────────┘
//! ```
//!
//! # Guarantees
//! * A worker examines what an earlier agent left before it does anything: no attempt is made twice.
//! * A start is announced, an end recorded in the Store before it is acted on; a Store that refuses makes the worker wait, not guess.
//! * A change of a ConfigMap, Secret or claim wakes the workers of the Pods that name it, and no others.
//! * [`PodWorkers::shutdown`] ends tasks and touches no container; [`PodWorkers::end_pods`] ends the pods, as the host goes down.
//!
//! # Leaves to others
//! Which Pods there are and whether they may run here (reconcile, admission); what belongs to no Pod at all ([`super::recover`]).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore, broadcast};
use tokio::task::JoinHandle;

use super::Drivers;
use crate::api::{Key, Kind, Object};
use crate::config;
use crate::runtime::RuntimeEvent;
use configuration::Bell;
use dependents::Dependents;

mod commit;
mod configuration;
mod dependents;
mod devices;
mod done;
mod effects;
mod ending;
mod exit;
mod facts;
pub(super) mod files;
mod hooks;
mod network;
mod ooms;
mod parts;
mod pause;
mod probing;
mod pulls;
mod release;
mod start;
mod task;
#[cfg(test)]
mod tests;

pub use ending::ShutdownPeriods;
pub(super) use release::release as release_pod;

/// All pod workers of the agent.
pub struct PodWorkers {
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// Told when a worker has ended.
    departed: Notify,
}

/// What every worker has.
struct Shared {
    drivers: Drivers,
    /// Creates under way across all Pods: more than about twice the cores only adds latency.
    creates: Semaphore,
    /// Told when the runtime's event stream has come (back) up. A broadcast wakes the workers in a fixed order, unlike a watch.
    connected: broadcast::Sender<()>,
    /// Who ran out of memory, as the runtime told it.
    ooms: ooms::Ooms,
    /// Which pods have to end because the host goes down.
    ending: ending::Ending,
    /// Checks of pods' networks under way.
    checks: Semaphore,
    /// Pods that are gone, but for their addresses.
    leftovers: network::Leftovers,
}

/// How long after its worker's panic a Pod is taken up again.
const COME_BACK: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Default)]
struct State {
    workers: HashMap<String, Entry>,
    /// Terminal Pods whose resources are released: no worker until something changes that needs one.
    settled: HashSet<String>,
    /// Whom a change of a ConfigMap, Secret or claim concerns.
    dependents: Dependents,
    /// Distinguishes a worker from a later one of the same Pod.
    generation: u64,
    listener: Option<JoinHandle<()>>,
    closed: bool,
}

struct Entry {
    generation: u64,
    bell: Arc<Bell>,
    task: JoinHandle<()>,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Its Pod is gone from the Store.
    Gone,
    /// Its Pod is terminal and holds nothing.
    Settled,
}

impl PodWorkers {
    /// No workers yet; [`Self::pod_changed`] makes them. Call inside a tokio runtime.
    pub fn new(drivers: Drivers) -> Arc<PodWorkers> {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let shared = Shared {
            drivers,
            creates: Semaphore::new(2 * cores),
            connected: broadcast::Sender::new(1),
            ooms: ooms::Ooms::default(),
            ending: ending::Ending::default(),
            checks: Semaphore::new(network::CHECKS),
            leftovers: network::Leftovers::default(),
        };
        let workers = Arc::new(PodWorkers { shared: Arc::new(shared), state: Mutex::default(), departed: Notify::new() });
        let listener = tokio::spawn(listen(workers.shared.clone()));
        workers.lock().listener = Some(listener);
        workers
    }

    /// Tells of a change of anything in the Store that a worker goes by: a Pod with spec.nodeName, or what its configuration comes from.
    pub fn changed(self: &Arc<Self>, object: Arc<Object>) {
        match object.kind() {
            Kind::ConfigMap | Kind::Secret | Kind::PersistentVolumeClaim => {
                let state = self.lock();
                for entry in state.dependents.of(&object.key()).filter_map(|uid| state.workers.get(uid)) {
                    entry.bell.ring_for_configuration();
                }
            }
            Kind::Pod => self.pod_changed(object),
            _ => {}
        }
    }

    /// Tells of a change of a Pod with spec.nodeName: its worker is made or woken. A Pod gone from the Store ends its worker.
    /// The Store is asked for the Pod's newest state, so changes may be told late, twice or summed up.
    pub fn pod_changed(self: &Arc<Self>, pod: Arc<Object>) {
        let (uid, key) = (pod.uid().to_owned(), pod.key());
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if let Some(entry) = state.workers.get(&uid) {
            entry.bell.ring();
            return;
        }
        let stored = self.shared.drivers.store.get(&key).filter(|o| o.uid() == uid);
        let Some(stored) = stored else {
            state.settled.remove(&uid);
            return;
        };
        let released = state.settled.contains(&uid);
        if released && stored.meta().deletion_timestamp.is_none() {
            return;
        }
        state.dependents.add(&uid, stored.as_pod().map(config::references).unwrap_or_default());
        self.spawn(&mut state, uid, key, released);
    }

    fn spawn(self: &Arc<Self>, state: &mut State, uid: String, key: Key, released: bool) {
        state.generation += 1;
        let (generation, bell) = (state.generation, Arc::<Bell>::default());
        let life = task::Worker::new(self.shared.clone(), key.clone(), uid.clone(), bell.clone(), released).run();
        let guard = Departure { workers: self.clone(), uid: uid.clone(), key, generation, outcome: None };
        let task = tokio::spawn(async move {
            let mut guard = guard;
            guard.outcome = Some(life.await);
        });
        state.workers.insert(uid, Entry { generation, bell, task });
    }

    /// Tells a Pod's worker that the Pod has to go from this node. False: it has none, so there is nothing to end.
    pub fn evict(&self, uid: &str, message: String) -> bool {
        let state = self.lock();
        let entry = state.workers.get(uid);
        entry.map(|entry| entry.bell.ring_for_eviction(message)).is_some()
    }

    /// Ends all workers and waits for them; no container is touched. What was under way is taken up by the next agent.
    pub async fn shutdown(&self) {
        let (entries, listener) = {
            let mut state = self.lock();
            state.closed = true;
            (std::mem::take(&mut state.workers), state.listener.take())
        };
        let tasks: Vec<JoinHandle<()>> = entries.into_values().map(|e| e.task).chain(listener).collect();
        tasks.iter().for_each(JoinHandle::abort);
        for task in tasks {
            // Aborted on purpose: the only error is that it was.
            let _ = task.await;
        }
    }

    /// How many workers there are.
    pub fn active(&self) -> usize {
        self.lock().workers.len()
    }

    /// A panic elsewhere leaves the maps usable: every change of them is a single insertion or removal.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a worker off the map however it ends, a panic included; the next change of its Pod, or [`COME_BACK`], makes a new one.
struct Departure {
    workers: Arc<PodWorkers>,
    uid: String,
    key: Key,
    generation: u64,
    outcome: Option<Outcome>,
}

impl Drop for Departure {
    fn drop(&mut self) {
        let mut state = self.workers.lock();
        if state.workers.get(&self.uid).is_none_or(|e| e.generation != self.generation) {
            return;
        }
        state.workers.remove(&self.uid);
        state.dependents.remove(&self.uid);
        if self.outcome == Some(Outcome::Settled) {
            state.settled.insert(self.uid.clone());
        } else {
            state.settled.remove(&self.uid);
        }
        let closed = state.closed;
        drop(state);
        if self.outcome.is_none() && !closed {
            self.come_back();
        }
        self.workers.departed.notify_waiters();
        // A change told between the worker's last look and now would be lost: look once more.
        let stored = self.workers.shared.drivers.store.get(&self.key).filter(|o| o.uid() == self.uid);
        if let Some(pod) = stored.filter(|o| self.outcome.is_some() && o.meta().deletion_timestamp.is_some()) {
            self.workers.pod_changed(pod);
        }
    }
}

impl Departure {
    /// The worker panicked: another takes up the Pod after a while, even if nothing changes.
    fn come_back(&self) {
        tracing::error!(key = %self.key, uid = self.uid, "the worker of this pod panicked; another takes over in {} s", COME_BACK.as_secs());
        let (workers, key, uid) = (self.workers.clone(), self.key.clone(), self.uid.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(COME_BACK).await;
                let stored = workers.shared.drivers.store.get(&key).filter(|o| o.uid() == uid);
                stored.into_iter().for_each(|pod| workers.pod_changed(pod));
            });
        }
    }
}

/// Counts the runtime's reconnects for all workers, and keeps who ran out of memory. Exits are learnt from Wait, so other events carry
/// nothing new.
async fn listen(shared: Arc<Shared>) {
    let mut events = shared.drivers.runtime.events();
    loop {
        match events.recv().await {
            Ok(RuntimeEvent::Connected) | Err(broadcast::error::RecvError::Lagged(_)) => {
                // An error means that there is no worker.
                let _ = shared.connected.send(());
            }
            Ok(RuntimeEvent::Oom { id }) => shared.ooms.tell(id),
            Ok(RuntimeEvent::Changed { .. } | RuntimeEvent::Disconnected) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
