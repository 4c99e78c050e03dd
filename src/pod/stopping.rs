//! How a Pod is brought to its end: stop signals, grace, SIGKILL, release, terminal status, removal.
//!
//! The grace counts from an instant that is durable (deletionTimestamp, the deadline, the last regular container's finishedAt), so that a
//! restart of the agent does not lengthen it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::actions::{End, Eviction, Observed, Step};
use super::attempt::{Attempt, Role, containers, status_of};
use super::recover::fail_as_disrupted;
use super::signals::{self, Order};
use super::{conditions, events, phase, restart, restart_all, status};
use crate::api::well_known::KEEP_OBJECT;

/// eviction_manager.go, immediateEvictionGracePeriodSeconds.
const EVICTION_GRACE_SECONDS: i64 = 1;
/// nodeshutdown_manager.go, nodeShutdownMessage.
const SHUTDOWN_MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";
/// So many tries at giving addresses back are awaited before a deleted Pod goes.
const RELEASE_TRIES: u32 = 5;
const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// Whether a Pod is let go that holds nothing but addresses, which its plugins refused to take back that often. They are given back without it then.
pub fn goes_without_addresses(pod: &Pod, refused: u32) -> bool {
    pod.metadata.deletion_timestamp.is_some() && refused >= RELEASE_TRIES
}

/// Why a Pod is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// deletionTimestamp is set.
    Deleted,
    /// activeDeadlineSeconds has passed.
    Deadline,
    /// It takes more of the node than it may.
    Evicted,
    /// The host goes down.
    Shutdown,
    /// Its regular containers are done, or an init container has failed for good, or its phase is terminal already.
    Finished,
}

/// A stop that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    why: Why,
    kill_at: Timestamp,
    /// Whether the grace is not zero: without one no preStop hook is run.
    hooks: bool,
}

/// When activeDeadlineSeconds will have passed.
pub fn deadline(pod: &Pod) -> Option<Timestamp> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let start = pod.status.as_ref()?.start_time.as_ref()?.0;
    start.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// Whether, why and by when the Pod is to be stopped.
pub fn wanted(pod: &Pod, seen: &Observed, now: Timestamp) -> Option<Stop> {
    let own_grace = signals::pod_grace(pod);
    let (why, since, grace) = if let Some(at) = &pod.metadata.deletion_timestamp {
        // As the API server sets it, deletionTimestamp is when the grace will be over.
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(own_grace);
        (Why::Deleted, at.0.checked_sub(SignedDuration::from_secs(grace)).unwrap_or(at.0), grace)
    } else if phase::is_terminal(phase::of(pod)) {
        (Why::Finished, first_signal(seen).unwrap_or(now), own_grace)
    } else {
        let over = finished(pod) && !restart_all::wanted(pod);
        let finish = over.then(|| last_finish(pod).unwrap_or(now));
        let evicted = seen.evicted.as_ref().map(|e| (Why::Evicted, e.since, EVICTION_GRACE_SECONDS));
        let late = deadline(pod).filter(|d| *d <= now).map(|d| (Why::Deadline, d, own_grace));
        let down = seen.shutdown.map(|(at, most)| (Why::Shutdown, at, own_grace.min(most)));
        let cut_off = [evicted, late, down].into_iter().flatten().min_by_key(|(_, at, _)| *at);
        match (finish, cut_off) {
            (Some(finish), cut_off) if cut_off.is_none_or(|(_, at, _)| finish < at) => (Why::Finished, finish, own_grace),
            (_, cut_off) => cut_off?,
        }
    };
    // Ahead of the clock: it was set back. The grace is counted from when the containers were asked, as far as that is known.
    let since = if since > now { first_signal(seen).unwrap_or(now).min(now) } else { since };
    // A host that goes down waits no longer than it said, whatever the Pod was being stopped for.
    let kill_at = signals::later(since, grace);
    let kill_at = seen.shutdown.map_or(kill_at, |(at, most)| kill_at.min(signals::later(at, most)));
    Some(Stop { why, kill_at, hooks: grace > 0 })
}

/// Whether nothing of the Pod will run again but sidecars.
fn finished(pod: &Pod) -> bool {
    let over = |role: Role, c| {
        let status = status_of(pod, c)?;
        matches!(Attempt::of(Some(status)), Attempt::Over(_)).then_some(())?;
        Some((role, phase::last_end(status)?.exit_code, phase::ended(status).is_some()))
    };
    let stays = |role, container, code| !restart::should_restart(pod, role, container, code);
    let mut mains_done = containers(pod).any(|(role, _)| role == Role::Main);
    for (role, container) in containers(pod) {
        match (role, over(role, &container.name)) {
            (Role::Init, Some((_, code, true))) if code != 0 && stays(role, container, code) => return true,
            (Role::Main, end) => mains_done &= end.is_some_and(|(_, code, ended)| ended && stays(role, container, code)),
            _ => {}
        }
    }
    mains_done
}

fn last_finish(pod: &Pod) -> Option<Timestamp> {
    let finish = |name: &str| status_of(pod, name).and_then(phase::ended)?.finished_at.as_ref().map(|t| t.0);
    containers(pod).filter(|(role, _)| *role != Role::Sidecar).filter_map(|(_, c)| finish(&c.name)).max()
}

fn first_signal(seen: &Observed) -> Option<Timestamp> {
    seen.signalled.values().map(|s| s.first).min()
}

/// One step towards the end: signal what lives, then release, then settle the status, then remove.
pub(super) fn step(step: &mut Step<'_>, stop: &Stop) {
    let finished = stop.why == Why::Finished && !phase::is_terminal(phase::of(&step.out.pod));
    if !step.seen.live.is_empty() {
        step.out.cancel = true;
        signal(step, stop);
    } else if finished {
        // Natural completion: the terminal phase goes out together with the last exit, what is held is released after it.
        settle(step, stop);
        step.out.release = !step.seen.released;
    } else if !step.seen.released {
        step.out.release = true;
    } else {
        settle(step, stop);
        end(step);
    }
}

fn signal(step: &mut Step<'_>, stop: &Stop) {
    let live = |name: &str| step.seen.live.contains_key(name);
    let names = |sidecars: bool| -> Vec<String> {
        let of_role = containers(&step.out.pod).filter(|(role, c)| (*role == Role::Sidecar) == sidecars && live(&c.name));
        of_role.map(|(_, c)| c.name.clone()).collect()
    };
    let (sidecars, others) = (names(true), names(false));
    step.wake_unless_past(stop.kill_at);
    let last_sidecar = sidecars.last().filter(|_| others.is_empty()).cloned();
    for name in others.iter().chain(&sidecars) {
        let turn = others.contains(name) || last_sidecar.as_ref() == Some(name);
        let order = Order { kill_at: stop.kill_at, hook: stop.hooks, turn };
        signals::advance(step, name, &order, format!("Stopping container {name}"));
    }
}

/// Gives the Pod the terminal phase it has earned, once nothing lives.
fn settle(step: &mut Step<'_>, stop: &Stop) {
    if phase::is_terminal(phase::of(&step.out.pod)) {
        return;
    }
    let pod = &mut step.out.pod;
    status::close_unfinished(pod);
    let earned = earned_phase(pod);
    if stop.why == Why::Shutdown {
        return fail_as_disrupted(pod, SHUTDOWN_MESSAGE, step.now);
    }
    let cut_off = matches!(stop.why, Why::Deadline | Why::Evicted);
    let phase = if cut_off || keep(pod) { phase::FAILED } else { earned };
    let status = pod.status.get_or_insert_default();
    status.phase = Some(phase.to_owned());
    if stop.why == Why::Deadline {
        status.reason = Some("DeadlineExceeded".to_owned());
        status.message = Some(DEADLINE_MESSAGE.to_owned());
        let event = events::draft(pod, false, "DeadlineExceeded", DEADLINE_MESSAGE.to_owned());
        step.out.events.push(event);
    }
    if let Some(Eviction { message, disruption, .. }) = step.seen.evicted.as_ref().filter(|_| stop.why == Why::Evicted) {
        let status = pod.status.get_or_insert_default();
        (status.reason, status.message) = (Some("Evicted".to_owned()), Some(message.clone()));
        if *disruption {
            conditions::set(pod, conditions::DISRUPTION_TARGET, true, Some("TerminationByKubelet"), Some(message.clone()), step.now);
        }
        let event = events::draft(pod, true, "Evicted", message.clone());
        step.out.events.push(event);
    }
}

/// Succeeded if every container but the sidecars ended with 0.
fn earned_phase(pod: &Pod) -> &'static str {
    let well = |name: &str| status_of(pod, name).and_then(phase::ended).is_some_and(|end| end.exit_code == 0);
    let all = containers(pod).filter(|(role, _)| *role != Role::Sidecar).all(|(_, c)| well(&c.name));
    if all { phase::SUCCEEDED } else { phase::FAILED }
}

fn keep(pod: &Pod) -> bool {
    let asked = pod.metadata.annotations.as_ref().and_then(|a| a.get(KEEP_OBJECT)).is_some_and(|v| v == "true");
    asked && pod.metadata.deletion_timestamp.is_some()
}

fn end(step: &mut Step<'_>) {
    let meta = &mut step.out.pod.metadata;
    if meta.deletion_timestamp.is_none() {
        return;
    }
    let held = meta.finalizers.as_ref().is_some_and(|f| !f.is_empty());
    if keep(&step.out.pod) {
        step.out.end = Some(End::Keep);
    } else if !held {
        step.out.end = Some(End::Remove);
    }
}
