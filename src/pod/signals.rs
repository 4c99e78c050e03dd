//! How one running container is brought to its end: its preStop hook, its stop signal, SIGKILL (pkg/kubelet/kuberuntime/kuberuntime_container.go,
//! killContainer), and which containers end although their Pod goes on.
//!
//! The hook runs inside the grace. However little of the grace is left, [`MINIMUM_GRACE`] lies between the stop signal and SIGKILL.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};

use super::actions::{Kill, Live, Signalled, Step};
use super::attempt::{Role, containers};
use super::probes::ProbeKind;
use super::{events, restart};

/// What a container gets at least between the stop signal and SIGKILL (minimumGracePeriodInSeconds).
pub const MINIMUM_GRACE: SignedDuration = SignedDuration::from_secs(2);
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// Why a container ends although its Pod goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This probe failed.
    Probe(ProbeKind),
    /// Its postStart hook failed.
    PostStart,
}

/// The end of a container, decided at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condemned {
    /// Why.
    pub why: Verdict,
    /// Since when.
    pub since: Timestamp,
}

/// How a container is to be stopped.
pub(super) struct Order {
    /// When the grace is over.
    pub(super) kill_at: Timestamp,
    /// Whether there is a grace for the preStop hook to run in.
    pub(super) hook: bool,
    /// Whether it may be sent its stop signal before the grace is over; a sidecar waits for its turn.
    pub(super) turn: bool,
}

/// The Pod's terminationGracePeriodSeconds.
pub(super) fn pod_grace(pod: &Pod) -> i64 {
    pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(DEFAULT_GRACE_SECONDS)
}

/// One step for every condemned container that runs.
pub(super) fn end_condemned(step: &mut Step<'_>, pod: &Pod) {
    for (role, container) in containers(pod) {
        let Some(condemned) = step.seen.condemned.get(&container.name).copied() else { continue };
        let grace = grace_of(pod, container, condemned.why);
        let order = Order { kill_at: later(condemned.since, grace), hook: grace > 0, turn: true };
        let message = message(pod, role, container, condemned.why);
        advance(step, &container.name, &order, message);
    }
}

/// A probe's own grace before the Pod's, unless the Pod is being deleted (setTerminationGracePeriod).
fn grace_of(pod: &Pod, container: &Container, why: Verdict) -> i64 {
    let own = match why {
        Verdict::Probe(kind) => kind.of(container).and_then(|p| p.termination_grace_period_seconds),
        Verdict::PostStart => None,
    };
    pod.metadata.deletion_grace_period_seconds.or(own).unwrap_or_else(|| pod_grace(pod))
}

fn message(pod: &Pod, role: Role, container: &Container, why: Verdict) -> String {
    let probe = match why {
        Verdict::PostStart => return "FailedPostStartHook".to_owned(),
        Verdict::Probe(kind) => kind.name().to_lowercase(),
    };
    let name = &container.name;
    match role {
        Role::Main if restart::may_restart(pod, container) => format!("Container {name} failed {probe} probe, will be restarted"),
        Role::Main => format!("Container {name} failed {probe} probe"),
        Role::Init | Role::Sidecar => format!("Init container {name} failed {probe} probe"),
    }
}

/// `seconds` after `since`, but at least [`MINIMUM_GRACE`].
pub(super) fn later(since: Timestamp, seconds: i64) -> Timestamp {
    let grace = SignedDuration::from_secs(seconds.clamp(0, i64::from(i32::MAX))).max(MINIMUM_GRACE);
    since.checked_add(grace).unwrap_or(Timestamp::MAX)
}

/// What one container is asked for next, if it runs. `message` is the Killing event's.
pub(super) fn advance(step: &mut Step<'_>, name: &str, order: &Order, message: String) {
    if step.seen.live.get(name) != Some(&Live::Running) {
        return;
    }
    let (now, late) = (step.now, step.now >= order.kill_at);
    let sent = step.seen.signalled.get(name).copied();
    let next = match sent {
        Some(Signalled { kill: Kill::Kill, .. }) => None,
        Some(Signalled { kill: Kill::Stop, last, .. }) => {
            let due = order.kill_at.max(later(last, 0));
            step.wake_unless_past(due);
            (now >= due).then_some(Kill::Kill)
        }
        None if order.hook && !late && has_pre_stop(step, name) => Some(Kill::PreStop),
        None | Some(Signalled { kill: Kill::PreStop, .. }) => {
            let hook_over = sent.is_none() || step.seen.pre_stopped.contains(name);
            (late || (hook_over && order.turn)).then_some(Kill::Stop)
        }
    };
    let Some(kill) = next else { return step.wake_unless_past(order.kill_at) };
    if kill != Kill::Kill {
        step.wake_unless_past(order.kill_at.max(later(now, 0)));
    }
    if sent.is_none() {
        let event = events::killing(&step.out.pod, name, message);
        step.out.events.push(event);
    }
    step.out.kill.push((name.to_owned(), kill));
}

fn has_pre_stop(step: &Step<'_>, name: &str) -> bool {
    let container = containers(&step.out.pod).find(|(_, c)| c.name == name);
    container.and_then(|(_, c)| c.lifecycle.as_ref()).is_some_and(|l| l.pre_stop.is_some())
}
