//! Probes of this Pod's containers: begun when a container runs, run when due, folded into what `pod` decides by. There are timers only where
//! there are probes. Decides nothing: `pod::probes` has.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::task::AbortHandle;

use super::done::{Done, PANICKED};
use super::exit::AttemptRef;
use super::task::Worker;
use crate::agent::prober::{self, Outcome, Target};
use crate::pod::probes::{ProbeKind, Probes};
use crate::pod::signals::{Condemned, Verdict};
use crate::pod::spam::SpamFilter;
use crate::pod::{Probed, attempt, events, phase, status};

/// The probes of the containers that run and have some.
#[derive(Default)]
pub(super) struct Probing {
    by_container: BTreeMap<String, OfOne>,
    spam: SpamFilter,
}

struct OfOne {
    of: AttemptRef,
    probes: Probes,
    /// What is being run; ended with the container.
    running: Vec<AbortHandle>,
}

impl Worker {
    /// The container runs: its probes begin. `known`: what its status said already, where it was found running.
    pub(super) fn begin_probes(&mut self, of: &AttemptRef, known: Option<Probed>) {
        let now = self.now();
        let Some((_, container)) = attempt::containers(&self.pod).find(|(_, c)| c.name == of.name) else { return };
        let running = attempt::status_of(&self.pod, &of.name).and_then(|s| s.state.as_ref()?.running.as_ref()?.started_at.as_ref());
        let began = running.map_or(now, |at| at.0);
        let Some(probes) = Probes::begin(container, began, now, known, spread(&of.id)) else { return };
        self.seen.probed.insert(of.name.clone(), probes.probed());
        self.probing.by_container.insert(of.name.clone(), OfOne { of: of.clone(), probes, running: Vec::new() });
    }

    /// Nothing of the container is probed any more.
    pub(super) fn end_probes(&mut self, name: &str) {
        self.seen.probed.remove(name);
        if let Some(ended) = self.probing.by_container.remove(name) {
            ended.running.iter().for_each(AbortHandle::abort);
        }
    }

    /// Until a container found by its status is examined, its probes' last word stands: none may read as passing.
    pub(super) fn keep_last_word(&mut self, name: &str) {
        if let Some(known) = self.last_word(name) {
            self.seen.probed.insert(name.to_owned(), known);
        }
    }

    /// What the status of a running container says of its probes.
    pub(super) fn last_word(&self, name: &str) -> Option<Probed> {
        let status = attempt::status_of(&self.pod, name).filter(|s| phase::running(s))?;
        Some(Probed { started: status.started == Some(true), ready: status.ready })
    }

    /// Runs what is due, and says when to look again. `stopping`: the Pod is being ended.
    pub(super) fn run_probes(&mut self, stopping: bool) -> Option<Timestamp> {
        let now = self.now();
        let mut due = Vec::new();
        for one in self.probing.by_container.values_mut() {
            if stopping {
                one.probes.stop_judging();
            }
            let kinds = one.probes.take_due(now);
            one.running.retain(|task| !task.is_finished());
            due.extend(kinds.into_iter().map(|kind| (one.of.clone(), kind)));
        }
        for (of, kind) in due {
            self.run_probe(of, kind);
        }
        self.probing.by_container.values().filter_map(|one| one.probes.next()).min()
    }

    fn run_probe(&mut self, of: AttemptRef, kind: ProbeKind) {
        let Some((_, container)) = attempt::containers(&self.pod).find(|(_, c)| c.name == of.name) else { return };
        let Some(probe) = kind.of(container).cloned() else { return };
        let (container, drivers) = (container.clone(), self.shared.drivers.clone());
        let pod_ip = self.pod.status.as_ref().and_then(|s| s.pod_ip.clone()).unwrap_or_default();
        let name = of.name.clone();
        let instead = Done::Probed(of.clone(), kind, prober::Outcome::Errored(PANICKED.to_owned()));
        let job = async move {
            let target = Target { runtime: drivers.runtime.as_ref(), id: &of.id, container: &container, pod_ip: &pod_ip };
            let outcome = prober::probe(target, &probe).await;
            Done::Probed(of, kind, outcome)
        };
        let task = self.jobs.spawn(Done::of(job, instead));
        if let Some(one) = self.probing.by_container.get_mut(&name) {
            one.running.push(task);
        }
    }

    /// Folds what came of a probe, unless its container is gone meanwhile.
    pub(super) fn probe_result(&mut self, of: &AttemptRef, kind: ProbeKind, outcome: &Outcome, now: Timestamp) {
        let Some(one) = self.probing.by_container.get_mut(&of.name).filter(|one| one.of == *of) else { return };
        let passed = match outcome {
            Outcome::Passed(_) => Some(true),
            Outcome::Failed(_) => Some(false),
            Outcome::Errored(_) => None,
        };
        one.probes.result(kind, passed, now);
        self.seen.probed.insert(of.name.clone(), one.probes.probed());
        if let Some(failed) = one.probes.failed() {
            let condemned = Condemned { why: Verdict::Probe(failed), since: now };
            self.seen.condemned.entry(of.name.clone()).or_insert(condemned);
        }
        let event = match outcome {
            Outcome::Passed(None) => return,
            Outcome::Passed(Some(warning)) => events::probe_warning(&self.pod, &of.name, kind.name(), warning),
            Outcome::Failed(output) => events::unhealthy(&self.pod, &of.name, kind.name(), output),
            Outcome::Errored(error) => events::probe_errored(&self.pod, &of.name, kind.name(), error),
        };
        if self.probing.spam.admits(now) {
            self.events.push(event);
        }
    }

    /// The waiting reason says that this attempt's postStart hook had failed before the agent was started anew.
    pub(super) fn had_failed_its_hook(&self, name: &str) -> bool {
        attempt::status_of(&self.pod, name).and_then(status::waiting_reason) == Some(status::POST_START_HOOK_ERROR)
    }
}

/// A number from 0 to 999 that differs from container to container: an agent that finds many does not probe them all at once.
fn spread(id: &str) -> u32 {
    id.get(..6).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0) % 1000
}
