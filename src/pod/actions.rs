//! The Pod's next step: (Pod, what was observed, now) → [`PodActions`]. After kuberuntime_manager.go `computePodActions`.
//!
//! The plan carries the Pod with the status it is to have, intents of the starts it asks for included: the caller commits that first and
//! then does what the plan says. Called again with nothing changed it returns the same status and no events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::attempt::{Attempt, Role, container_id, containers, format_pod, status_of, uid};
use super::signals::{self, Condemned};
use super::{backoff, conditions, events, phase, restart, restart_all, status, stopping};
use crate::controllers::EventDraft;

/// What an announced attempt is doing right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// It is being made.
    Starting,
    /// Its process runs.
    Running,
}

/// What a container was last asked for to end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kill {
    /// Its preStop hook is run; no signal yet.
    PreStop,
    /// Its stop signal (SIGTERM by default).
    Stop,
    /// SIGKILL.
    Kill,
}

/// How far the ending of a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signalled {
    /// The last it was asked for.
    pub kill: Kill,
    /// When it was asked for anything first.
    pub first: Timestamp,
    /// When it was asked for `kill`.
    pub last: Timestamp,
}

/// A failed try at making a container, and when the next is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// When it failed.
    pub since: Timestamp,
    /// Not before.
    pub until: Timestamp,
}

/// A probe's word on a running container; absent = it has no probe, and passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The startup probe has passed.
    pub started: bool,
    /// The readiness probe passes.
    pub ready: bool,
}

/// What the worker sees beside the Pod. By container name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Attempts that are being made or run.
    pub live: BTreeMap<String, Live>,
    /// Tries that failed before anything ran.
    pub retry: BTreeMap<String, Retry>,
    /// The image that the last such try was about.
    pub unpulled: BTreeMap<String, String>,
    /// Signals sent.
    pub signalled: BTreeMap<String, Signalled>,
    /// Containers whose preStop hook is over, however it ended.
    pub pre_stopped: BTreeSet<String>,
    /// Containers that are to end although the Pod goes on.
    pub condemned: BTreeMap<String, Condemned>,
    /// What probes say.
    pub probed: BTreeMap<String, Probed>,
    /// Whether namespaces and addresses are there.
    pub sandbox: bool,
    /// Whether everything the Pod held is released.
    pub released: bool,
    /// The Pod's addresses, once known.
    pub pod_ips: Vec<String>,
    /// The host's.
    pub host_ips: Vec<String>,
    /// Cap of the restart back-off.
    pub backoff_cap: Duration,
    /// Whether the Pod has to go from this node.
    pub evicted: Option<Eviction>,
    /// Since when the host goes down and this Pod has to end, and the seconds it gets at most.
    pub shutdown: Option<(Timestamp, i64)>,
}

/// An eviction from the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Since when.
    pub since: Timestamp,
    /// The kubelet's message.
    pub message: String,
    /// The node is short of something: the Pod gets the condition DisruptionTarget.
    pub disruption: bool,
}

impl Observed {
    /// Forgets instants that lie ahead of `now`: the clock was set back, and nothing may wait for it to come there again. To be called before
    /// [`compute_pod_actions`].
    pub fn clock_is(&mut self, now: Timestamp) {
        self.retry.retain(|_, retry| retry.since <= now);
        for sent in self.signalled.values_mut() {
            (sent.first, sent.last) = (now.min(sent.first), now.min(sent.last));
        }
        self.condemned.values_mut().for_each(|condemned| condemned.since = now.min(condemned.since));
    }
}

/// An attempt to make and start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The container.
    pub name: String,
    /// What it is to the Pod.
    pub role: Role,
    /// Its number = restartCount.
    pub attempt: u32,
    /// Its id.
    pub id: String,
}

/// How a Pod's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Object and logs go.
    Remove,
    /// The object stays, no longer being deleted (annotation [`crate::api::well_known::KEEP_OBJECT`]).
    Keep,
}

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodActions {
    /// The Pod with the status to commit before anything else is done.
    pub pod: Pod,
    /// Attempts to make, one after another.
    pub start: Vec<Start>,
    /// Give up what is being made and has not been created yet.
    pub cancel: bool,
    /// Signals to send now.
    pub kill: Vec<(String, Kill)>,
    /// Release namespaces, volumes and cgroup.
    pub release: bool,
    /// The end.
    pub end: Option<End>,
    /// Events of this step.
    pub events: Vec<EventDraft>,
    /// When to look again even if nothing happens.
    pub wake_at: Option<Timestamp>,
}

/// How long ErrImagePull shows before ImagePullBackOff does (the kubelet's next sync).
const ERR_IMAGE_PULL_SHOWN: Duration = Duration::from_secs(2);

/// Says what to do next.
pub fn compute_pod_actions(pod: &Pod, seen: &Observed, now: Timestamp) -> PodActions {
    let mut step = Step { seen, now, before: pod, out: PodActions { pod: pod.clone(), ..PodActions::default() } };
    let settled = phase::is_terminal(phase::of(pod));
    if !settled {
        status::complete(&mut step.out.pod, &seen.pod_ips, &seen.host_ips, now);
    }
    step.mark_running();
    if let Some(stop) = stopping::wanted(&step.out.pod, seen, now) {
        stopping::step(&mut step, &stop);
    } else {
        step.run();
    }
    let had_one = conditions::holds(pod, conditions::READY_TO_START);
    if pod.status.as_ref().is_some_and(|s| s.container_statuses.is_some()) || !settled {
        conditions::refresh(&mut step.out.pod, (seen.sandbox || had_one) && !seen.released, now);
    }
    step.out
}

/// One computation under way.
pub(super) struct Step<'a> {
    pub(super) seen: &'a Observed,
    pub(super) now: Timestamp,
    before: &'a Pod,
    pub(super) out: PodActions,
}

impl Step<'_> {
    /// Looks again at `at`, or sooner.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.out.wake_at = Some(self.out.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Looks again at `at` if that is still to come.
    pub(super) fn wake_unless_past(&mut self, at: Timestamp) {
        if at > self.now {
            self.wake(at);
        }
    }

    /// started and ready of what runs, by the probes' word.
    fn mark_running(&mut self) {
        let names: Vec<(Role, String)> = containers(self.before).map(|(role, c)| (role, c.name.clone())).collect();
        for (role, name) in names {
            let probed = self.seen.probed.get(&name).copied().unwrap_or(Probed { started: true, ready: true });
            let Some(status) = status::edit(&mut self.out.pod, &name).filter(|s| phase::running(s)) else { continue };
            status.started = Some(probed.started);
            status.ready = role != Role::Init && probed.started && probed.ready;
        }
    }

    /// The ordinary case: bring up what is to run.
    fn run(&mut self) {
        if let Some(deadline) = stopping::deadline(&self.out.pod) {
            self.wake(deadline);
        }
        let pod = self.before;
        if restart_all::wanted(&self.out.pod) && !restart_all::step(self, pod) {
            return;
        }
        signals::end_condemned(self, pod);
        if self.init_containers(pod) {
            for (role, container) in containers(pod).filter(|(role, _)| *role == Role::Main) {
                self.consider(role, container);
            }
        }
        let initialized = self.initialized();
        let phase = phase::compute(&self.out.pod, initialized);
        if phase::is_terminal(Some(phase)) && !self.seen.live.is_empty() {
            return;
        }
        self.out.pod.status.get_or_insert_default().phase = Some(phase.to_owned());
    }

    fn initialized(&self) -> bool {
        match restart_all::could(self.before) {
            true => restart_all::initialized(&self.out.pod),
            false => conditions::holds(self.before, conditions::INITIALIZED),
        }
    }

    /// Walks the init containers in order; whether the regular ones may run.
    fn init_containers(&mut self, pod: &Pod) -> bool {
        for (role, container) in containers(pod) {
            let status = status_of(&self.out.pod, &container.name);
            match role {
                Role::Main => break,
                Role::Init if status.and_then(phase::ended).is_some_and(|end| end.exit_code == 0) => {}
                Role::Init => {
                    self.consider(role, container);
                    return false;
                }
                Role::Sidecar if status.is_some_and(|s| phase::running(s) && s.started == Some(true)) => {}
                Role::Sidecar => {
                    self.consider(role, container);
                    if !self.initialized() {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Decides on one container that is allowed to run.
    fn consider(&mut self, role: Role, container: &Container) {
        let name = &container.name;
        if self.seen.live.contains_key(name) {
            return;
        }
        let status = status_of(&self.out.pod, name);
        let attempt = Attempt::of(status);
        let end = status.and_then(phase::last_end).map(|end| (end.exit_code, end.finished_at.as_ref().map(|t| t.0)));
        let rerun = role == Role::Init && status.is_some_and(|s| phase::ended(s).is_none()) && end.is_some_and(|(code, _)| code == 0);
        // All are being restarted: whatever it ended with, it has yet to start.
        let reset = restart_all::could(self.before) && status.is_some_and(|s| phase::ended(s).is_none());
        match (attempt, end) {
            (Attempt::Over(_), Some((code, finished))) if reset || !rerun => {
                let may = reset || restart::should_restart(&self.out.pod, role, container, code);
                if may && !self.backing_off(container, finished) {
                    self.begin(role, container, attempt);
                }
            }
            _ => self.begin(role, container, attempt),
        }
    }

    /// Whether the container still waits to be restarted; if so, shows it.
    fn backing_off(&mut self, container: &Container, finished: Option<Timestamp>) -> bool {
        let entry = backoff::read(&self.out.pod).remove(&container.name).filter(|e| e.key == backoff::key(container));
        let delay = Duration::from_secs(entry.map_or(0, |e| e.seconds)).min(self.seen.backoff_cap);
        let Some(until) = finished.and_then(|f| f.checked_add(delay).ok()) else { return false };
        // A clock that was set back must not hold a container for longer than its back-off.
        let stepped_back = finished.is_some_and(|f| f.checked_sub(delay).is_ok_and(|earliest| earliest > self.now));
        if self.now >= until || stepped_back {
            return false;
        }
        self.wake(until);
        self.show_crash_loop(container, delay);
        true
    }

    fn show_crash_loop(&mut self, container: &Container, delay: Duration) {
        let text = backoff::go_seconds(delay.as_secs());
        let message = format!("back-off {text} restarting failed container={} pod={}", container.name, format_pod(self.before));
        let event = events::back_off(self.before, &container.name);
        let Some(status) = status::edit(&mut self.out.pod, &container.name) else { return };
        if status::waiting_reason(status) == Some(status::CRASH_LOOP_BACK_OFF) {
            return;
        }
        status::retire(status);
        status.state = Some(status::waiting(status::CRASH_LOOP_BACK_OFF, Some(message)));
        (status.ready, status.started) = (false, Some(false));
        self.out.events.push(event);
    }

    /// Starts the container's next attempt, unless the last try's back-off holds it.
    fn begin(&mut self, role: Role, container: &Container, attempt: Attempt) {
        let name = &container.name;
        if let Some(retry) = self.seen.retry.get(name).filter(|r| self.now < r.until) {
            self.wake(retry.until);
            self.show_pull_back_off(container, *retry);
            return;
        }
        let number = attempt.next();
        status::announce(&mut self.out.pod, name, number);
        let id = container_id(uid(self.before), name, number);
        self.out.start.push(Start { name: name.clone(), role, attempt: number, id });
    }

    /// Turns ErrImagePull into ImagePullBackOff a little after the failure.
    fn show_pull_back_off(&mut self, container: &Container, retry: Retry) {
        // Its own, or one that it mounts as a volume.
        let image = self.seen.unpulled.get(&container.name).or(container.image.as_ref()).map(String::as_str).unwrap_or_default();
        let event = events::back_off_pulling(self.before, &container.name, image);
        let Some(status) = status::edit(&mut self.out.pod, &container.name) else { return };
        if status::waiting_reason(status) != Some("ErrImagePull") {
            return;
        }
        let due = retry.since.checked_add(ERR_IMAGE_PULL_SHOWN).unwrap_or(retry.since);
        if self.now < due {
            self.wake(due);
            return;
        }
        let cause = status.state.as_ref().and_then(|s| s.waiting.as_ref()).and_then(|w| w.message.clone()).unwrap_or_default();
        let message = format!("Back-off pulling image {image:?}: ErrImagePull: {cause}");
        status.state = Some(status::waiting("ImagePullBackOff", Some(message)));
        self.out.events.push(event);
    }
}
