//! One Pod's task: reload, compute, commit, apply, rest; for as long as the Pod is there.
//!
//! Facts (an exit, a finished start) are folded into the worker's copy of the Pod at once and stay there until a commit has made them
//! durable. What needs durability (making a container, deleting an ended task, releasing, removing) is done only after that commit; what
//! does not (signals) is done at any rate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tracing::{Instrument, info_span, warn};

use super::commit::{Committed, commit, overlay};
use super::configuration::{Bell, Configuration};
use super::done::Done;
use super::exit::AttemptRef;
use super::parts::Parts;
use super::pause::Pause;
use super::probing::Probing;
use super::pulls::Pulls;
use super::{Outcome, Shared, files};
use crate::agent::Drivers;
use crate::api::{Key, Object};
use crate::config;
use crate::controllers::EventDraft;
use crate::pod::{End, Live, Observed, PodActions, attempt, compute_pod_actions, events, phase, recover, status};
use crate::runtime::RuntimeError;

/// However long there is nothing to do, the clock is looked at again after this: it may have been set.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// So many commits in a row may come too late before the worker pauses.
const MOST_STALE_COMMITS: u32 = 16;

/// The task that owns one Pod.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) bell: Arc<Bell>,
    pub(super) configuration: Configuration,
    /// The Pod as stored when last read or written.
    pub(super) stored: Option<Arc<Object>>,
    /// The same with the facts that are not committed yet.
    pub(super) pod: Pod,
    pub(super) seen: Observed,
    /// Failed tries in a row by container.
    pub(super) failures: BTreeMap<String, u32>,
    pub(super) parts: Arc<Parts>,
    pub(super) cancel: watch::Sender<bool>,
    /// The start whose gate was opened; one at a time. Others that report had their gate closed.
    pub(super) starting: Option<(u64, String)>,
    pub(super) serial: u64,
    pub(super) pulls: Pulls,
    /// Tenths of the pull under way that events have told of.
    pub(super) pull_tenths: u64,
    pub(super) jobs: JoinSet<Done>,
    /// Attempts whose state in the runtime is not known: to be looked at.
    pub(super) unexamined: BTreeMap<String, AttemptRef>,
    pub(super) examine_pause: Pause,
    /// Ended attempts whose task, record and snapshot are still there, by id.
    pub(super) dead: BTreeMap<String, AttemptRef>,
    pub(super) removing: BTreeSet<String>,
    pub(super) remove_pause: Pause,
    pub(super) releasing: bool,
    pub(super) release_pause: Pause,
    /// How often nothing but its addresses could not be given back.
    pub(super) refused_releases: u32,
    pub(super) commit_pause: Pause,
    pub(super) kill_pause: Pause,
    /// The signal that stops each running container.
    pub(super) stop_signals: BTreeMap<String, i32>,
    pub(super) probing: Probing,
    /// Whether it was asked, since this worker began, if the network is as it was made.
    pub(super) network_checked: bool,
    /// Events of facts that are not committed yet.
    pub(super) events: Vec<EventDraft>,
    /// Commits in a row that came too late.
    pub(super) stale: u32,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, key: Key, uid: String, bell: Arc<Bell>, released: bool) -> Worker {
        let seen = Observed {
            released,
            backoff_cap: shared.drivers.settings.max_restart_backoff,
            host_ips: shared.drivers.network.host_ips().iter().map(ToString::to_string).collect(),
            ..Observed::default()
        };
        Worker {
            shared,
            key,
            uid,
            pulls: Pulls::new(bell.clone()),
            pull_tenths: 0,
            bell,
            configuration: Configuration::default(),
            stored: None,
            pod: Pod::default(),
            seen,
            failures: BTreeMap::new(),
            parts: Arc::default(),
            cancel: watch::Sender::new(false),
            starting: None,
            serial: 0,
            jobs: JoinSet::new(),
            unexamined: BTreeMap::new(),
            examine_pause: Pause::default(),
            dead: BTreeMap::new(),
            removing: BTreeSet::new(),
            remove_pause: Pause::default(),
            releasing: false,
            release_pause: Pause::default(),
            refused_releases: 0,
            commit_pause: Pause::default(),
            kill_pause: Pause::default(),
            stop_signals: BTreeMap::new(),
            probing: Probing::default(),
            network_checked: false,
            events: Vec::new(),
            stale: 0,
        }
    }

    pub(super) fn drivers(&self) -> &Drivers {
        &self.shared.drivers
    }

    pub(super) fn now(&self) -> Timestamp {
        self.drivers().clock.now()
    }

    /// Runs until the Pod is gone, or terminal and released. What the future holds at rest is small (see `live`).
    pub(super) fn run(self) -> impl Future<Output = Outcome> + Send {
        let span = info_span!("pod", namespace = self.key.namespace, pod = self.key.name, uid = self.uid);
        Box::new(self).live().instrument(span)
    }

    /// The steps are boxed: a future is as large as its largest step, and these hold whole Pods that nobody needs while the worker rests.
    async fn live(mut self: Box<Self>) -> Outcome {
        let mut connected = self.shared.connected.subscribe();
        let mut first = true;
        loop {
            if !self.reload() {
                return Box::pin(self.abandoned()).await;
            }
            if std::mem::take(&mut first) {
                Box::pin(self.take_over()).await;
            }
            if !self.unexamined.is_empty() && self.examine_pause.over(self.now()) {
                Box::pin(self.examine_all()).await;
            }
            let now = self.now();
            self.heed_configuration();
            self.heed_eviction(now);
            self.tend_volumes(now);
            self.seen.clock_is(now);
            self.seen.shutdown = self.shared.ending.of(&self.pod);
            let plan = compute_pod_actions(&self.pod, &self.seen, now);
            let stopping = plan.cancel;
            let wake_at = match Box::pin(self.carry_out(plan)).await {
                Next::Again => continue,
                Next::Over(outcome) => return outcome,
                Next::Rest(wake_at) => wake_at.into_iter().chain(self.run_probes(stopping)).min(),
            };
            self.rest(wake_at, &mut connected).await;
        }
    }

    /// Takes up what others wrote. False: the Pod is not in the Store any more.
    fn reload(&mut self) -> bool {
        let current = self.drivers().store.get(&self.key).filter(|o| o.uid() == self.uid);
        let Some(base) = current.as_deref().and_then(Object::as_pod) else { return false };
        let known = self.stored.as_ref().map(|o| &o.meta().resource_version);
        if known != Some(&base.metadata.resource_version) {
            if self.stored.is_some() {
                self.heed_metadata(base);
            }
            self.pod = if self.stored.is_none() { base.clone() } else { overlay(base, &self.pod) };
            self.stored = current;
        }
        true
    }

    /// Commits the plan's Pod and does what it says.
    async fn carry_out(&mut self, mut plan: PodActions) -> Next {
        let now = self.now();
        if plan.cancel {
            self.cancel.send_replace(true);
        }
        self.kill(&mut plan, now).await;
        if !self.commit_pause.over(now) {
            return Next::Rest(plan.wake_at);
        }
        let start = plan.start.first().filter(|_| self.starting.is_none());
        let gate = start.and_then(|start| self.prepare(start, &plan.pod));
        match self.persist(&plan).await {
            Committed::Done(_) => {
                self.commit_pause.reset();
                self.stale = 0;
            }
            Committed::Stale => return self.too_late(&plan, now),
            Committed::Refused(error) => {
                self.keep_killing_events(&plan);
                warn!(%error, "the pod's status cannot be stored; nothing is started until it can");
                self.commit_pause.fail(now);
                return Next::Rest(plan.wake_at);
            }
        }
        if let (Some(start), Some(gate)) = (start, gate) {
            self.seen.live.insert(start.name.clone(), Live::Starting);
            self.starting = Some((self.serial, start.name.clone()));
            // A job that has failed already reports it itself.
            let _ = gate.send(());
        }
        self.remove_dead(now);
        if plan.release {
            self.release(now);
        }
        self.finish(&plan, now).await
    }

    /// Somebody else changed the Pod meanwhile: again with what they wrote, but not for ever without a pause.
    fn too_late(&mut self, plan: &PodActions, now: Timestamp) -> Next {
        self.keep_killing_events(plan);
        self.stale = self.stale.saturating_add(1);
        if self.stale < MOST_STALE_COMMITS {
            return Next::Again;
        }
        self.commit_pause.fail(now);
        Next::Rest(plan.wake_at)
    }

    /// The signals are sent; the next commit tells of them.
    fn keep_killing_events(&mut self, plan: &PodActions) {
        self.events.extend(plan.events.iter().filter(|e| e.reason == "Killing").cloned());
    }

    /// Makes the plan's Pod and all pending events durable.
    async fn persist(&mut self, plan: &PodActions) -> Committed {
        let Some(stored) = &self.stored else { return Committed::Stale };
        let told = self.events.is_empty() && plan.events.is_empty();
        if told && plan.end != Some(End::Keep) && stored.as_pod() == Some(&plan.pod) {
            if self.pod != plan.pod {
                self.pod.clone_from(&plan.pod);
            }
            return Committed::Done(stored.clone());
        }
        let mut want = plan.pod.clone();
        if plan.end == Some(End::Keep) {
            (want.metadata.deletion_timestamp, want.metadata.deletion_grace_period_seconds) = (None, None);
        }
        let drafts: Vec<EventDraft> = self.events.iter().chain(&plan.events).cloned().collect();
        let committed = commit(&self.shared.drivers, stored, want, &drafts).await;
        if let Committed::Done(object) = &committed {
            self.events.clear();
            self.pod = object.as_pod().cloned().unwrap_or_default();
            self.stored = Some(object.clone());
        }
        committed
    }

    /// Waits until there is something to do.
    async fn rest(&mut self, wake_at: Option<Timestamp>, connected: &mut broadcast::Receiver<()>) {
        let now = self.now();
        let pauses = [&self.examine_pause, &self.remove_pause, &self.release_pause, &self.commit_pause, &self.kill_pause];
        let pauses = pauses.into_iter().chain([&self.configuration.pause]).filter_map(|p| p.until);
        let due = pauses.chain(self.configuration.measure_at).filter(|t| *t > now).chain(wake_at).min();
        let rest =
            due.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default().clamp(Duration::from_millis(1), LONGEST_REST));
        let timer = async {
            match rest {
                Some(rest) => tokio::time::sleep(rest).await,
                None => std::future::pending().await,
            }
        };
        // Cancel-safe: the bell keeps a ring, join_next and recv lose nothing when dropped, and the timer is computed anew. In order, so that a
        // run can be replayed: whatever is ready is taken up in the next turn.
        tokio::select! {
            biased;
            // Its sender lives as long as the worker: this is a connection, or several.
            _ = connected.recv() => self.examine_pause.reset(),
            () = self.bell.heard() => {}
            Some(done) = self.jobs.join_next() => self.take(done),
            () = timer => {}
        }
        while let Some(done) = self.jobs.try_join_next() {
            self.take(done);
        }
        self.note_pull();
    }

    /// Folds what a task has come to.
    fn take(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let now = self.now();
        self.note_pull();
        match done {
            Ok(Done::Start(serial, ..)) if self.starting.as_ref().is_none_or(|(opened, _)| *opened != serial) => {}
            Ok(Done::Start(_, of, result)) => {
                self.starting = None;
                match result {
                    Ok(started) => self.started(of, *started),
                    Err(failure) => self.not_started(of, failure, now),
                }
            }
            Ok(Done::Exit(of, Ok(end))) => self.ended(of, end),
            Ok(Done::Exit(of, Err(error))) => {
                if !matches!(error, RuntimeError::Unavailable { .. }) {
                    // Found to run it is waited for again: not in a circle without a pause.
                    self.examine_pause.fail(now);
                }
                self.unexamined.insert(of.name.clone(), of);
            }
            Ok(Done::Removed(of, Ok(()))) => {
                files::unmark(&self.drivers().paths, &self.uid, &of.name, of.number);
                self.removing.remove(&of.id);
                self.dead.remove(&of.id);
                self.remove_pause.reset();
            }
            Ok(Done::Removed(of, Err(error))) => {
                warn!(container = of.name, %error, "an ended container cannot be removed yet");
                self.removing.remove(&of.id);
                self.remove_pause.fail(now);
            }
            Ok(Done::Released(result)) => self.released(result, now),
            Ok(Done::Checked(wrong)) => self.checked(wrong),
            Ok(Done::Refreshed(result)) => self.refreshed(result, now),
            Ok(Done::Measured(result)) => self.measured(result, now),
            Ok(Done::Probed(of, kind, outcome)) => self.probe_result(&of, kind, &outcome, now),
            Ok(Done::PreStopped(of, result)) => self.pre_stopped(&of, &result),
            // A probe of a container that has ended: what panics is told by `Done::of`.
            Err(_) => {}
        }
    }

    /// The first look at a Pod: what an earlier agent, or an earlier boot, left.
    async fn take_over(&mut self) {
        let boot_id = self.drivers().host.boot_id.clone();
        let open = status::open_attempts(&self.pod);
        if recover::rebooted(&self.pod, &boot_id) {
            if let Err(error) = self.drivers().network.remove(&self.uid).await {
                warn!(%error, "addresses of the last boot are not given back");
            }
            let now = self.now();
            if attempt::containers(&self.pod).any(|(_, c)| attempt::status_of(&self.pod, &c.name).is_some_and(|s| s.container_id.is_some()))
            {
                self.events.push(events::sandbox_changed(&self.pod));
            }
            recover::after_reboot(&mut self.pod, &boot_id, now);
            self.dead.extend(open.into_iter().map(|(name, id, number)| (id.clone(), AttemptRef { name, number, id })));
            return;
        }
        if !phase::is_terminal(phase::of(&self.pod)) {
            recover::note_boot(&mut self.pod, &boot_id);
            self.events.extend(events::missing_cluster_dns(&self.pod));
        }
        // It may have changed while no agent looked.
        self.configuration.stale = !open.is_empty() && config::has_files(&self.pod);
        for (name, id, number) in open {
            // Held back from being started until its state is known.
            self.seen.live.insert(name.clone(), Live::Starting);
            self.keep_last_word(&name);
            self.unexamined.insert(name.clone(), AttemptRef { name, number, id });
        }
    }
}

/// What the loop does after a plan was carried out.
pub(super) enum Next {
    /// Reload and compute again at once.
    Again,
    /// Wait for something to happen, at most until then.
    Rest(Option<Timestamp>),
    /// The worker is done.
    Over(Outcome),
}
