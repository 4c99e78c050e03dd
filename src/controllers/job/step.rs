//! One step's result as it grows: the Job as it will be, and the plan that makes it so.
//!
//! Guarantees: the Job is in the plan only if it changed; a pod's finalizer is taken away once, together with its count.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::facts::Facts;
use super::verdict::{self, Finish};
use super::{SOURCE, conditions, key};
use crate::admission;
use crate::controllers::{Context, EventDraft, Plan, pods};

/// The step in the making.
pub(super) struct Step<'a, 'c, 'n> {
    pub facts: &'a Facts<'a>,
    pub cx: &'c mut Context<'n>,
    pub plan: Plan,
    next: Job,
    status: JobStatus,
    /// Uids of pods whose finalizer goes in this step.
    released: BTreeSet<&'a str>,
    /// Uids of pods deleted in this step.
    deleted: BTreeSet<&'a str>,
    /// The failed pods that keep their finalizer, and are not counted, until their index has its next pod.
    waiting: BTreeMap<i32, &'a Pod>,
    /// Pods of a failed Job that count as failed because they are stopped.
    stopped: i32,
}

impl<'a, 'c, 'n> Step<'a, 'c, 'n> {
    pub(super) fn new(facts: &'a Facts<'a>, cx: &'c mut Context<'n>) -> Self {
        let (next, status) = (facts.job.clone(), facts.status.clone());
        let (released, deleted, waiting) = (BTreeSet::new(), BTreeSet::new(), facts.to_replace.clone());
        Step { facts, cx, plan: Plan::default(), next, status, released, deleted, waiting, stopped: 0 }
    }

    /// Writes down why no pods are made here, with one event when that is news.
    pub(super) fn note_admission(&mut self, reasons: &[String]) {
        if pods::note_admission(&mut self.next.metadata, reasons) && !reasons.is_empty() {
            let message = admission::unavailable(reasons);
            self.event(true, "FailedScheduling", message);
            if let Some(event) = self.plan.events.last_mut() {
                event.source = "default-scheduler";
            }
        }
    }

    /// startTime, at the first step that is not suspended; resuming starts the Job's clock anew.
    pub(super) fn start(&mut self) {
        let now = self.facts.now;
        if self.facts.limits.suspended {
            return;
        }
        if conditions::ensure(&mut self.status, "Suspended", false, "JobResumed", "Job resumed", now) {
            self.event(false, "Resumed", "Job resumed".to_owned());
            self.status.start_time = None;
        }
        self.status.start_time.get_or_insert(Time(now));
    }

    /// When the Job (re)started.
    pub(super) fn started(&self) -> Option<Timestamp> {
        self.status.start_time.as_ref().map(|t| t.0)
    }

    pub(super) fn event(&mut self, warning: bool, reason: &str, message: String) {
        let uid = self.facts.job.metadata.uid.clone().unwrap_or_default();
        self.plan.events.push(EventDraft::new(SOURCE, key(self.facts.job), uid, warning, reason, message));
    }

    /// Takes the tracking finalizer away.
    pub(super) fn release(&mut self, pod: &'a Pod) {
        if pods::tracked(pod) && self.released.insert(pod.metadata.uid.as_deref().unwrap_or_default()) {
            self.plan.update.push(pods::untracked(pod).into());
        }
    }

    /// Deletes an active pod, keeping object and logs if `keep`.
    pub(super) fn delete(&mut self, pod: &'a Pod, keep: bool) {
        let mut deletion = pods::deletion(pod);
        deletion.keep_object = keep;
        self.deleted.insert(pod.metadata.uid.as_deref().unwrap_or_default());
        self.event(false, "SuccessfulDelete", format!("Deleted pod: {}", deletion.key.name));
        self.plan.delete.push(deletion);
    }

    /// The failed pod of an index which gets its next pod now.
    pub(super) fn replaced(&mut self, index: i32) -> Option<&'a Pod> {
        self.waiting.remove(&index)
    }

    /// Active pods that are not deleted in this step.
    pub(super) fn still_active(&self) -> impl Iterator<Item = &'a Pod> + '_ {
        let stays = |p: &&'a Pod| !self.deleted.contains(p.metadata.uid.as_deref().unwrap_or_default());
        self.facts.active.iter().copied().filter(stays)
    }

    /// Suspended is True.
    pub(super) fn suspend(&mut self) {
        if conditions::ensure(&mut self.status, "Suspended", true, "JobSuspended", "Job suspended", self.facts.now) {
            self.event(false, "Suspended", "Job suspended".to_owned());
        }
    }

    /// The Job is over: its active pods are deleted and, of a failed one, counted as failed; the terminal condition comes when none is left.
    pub(super) fn finish(&mut self, finish: &Finish) {
        let facts = self.facts;
        let kept = self.kept(finish);
        self.waiting.clear();
        for pod in self.still_active().collect::<Vec<_>>() {
            self.delete(pod, kept.is_some() && pod.metadata.uid == kept);
        }
        let (interim, terminal) = if finish.success { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
        conditions::ensure(&mut self.status, interim, true, &finish.reason, &finish.message, facts.now);
        for pod in facts.active.iter().chain(&facts.terminating).copied().filter(|p| pods::tracked(p)) {
            // One being deleted already may be among the failed that are counted anyway.
            let counted = facts.new_failed.iter().any(|f| f.metadata.uid == pod.metadata.uid);
            if !finish.success && !counted && facts.valid(pod) && facts.outcome(pod).counts() {
                self.stopped = self.stopped.saturating_add(1);
            }
            self.release(pod);
        }
        if self.deleted.is_empty() && facts.terminating.is_empty() {
            self.end(finish, terminal);
        }
    }

    /// An OnFailure Job that fails keeps the pod that failed most (Ours).
    fn kept(&self, finish: &Finish) -> Option<String> {
        let worst = self.facts.active.iter().max_by_key(|p| (pods::restarts(p), pods::created_at(p), p.metadata.name.clone()))?;
        worst.metadata.uid.clone().filter(|_| self.facts.limits.on_failure && !finish.success)
    }

    fn end(&mut self, finish: &Finish, terminal: &str) {
        let now = self.facts.now;
        conditions::ensure(&mut self.status, terminal, true, &finish.reason, &finish.message, now);
        if !finish.success {
            return self.event(true, &finish.reason, finish.message.clone());
        }
        self.status.completion_time = Some(Time(now));
        if self.facts.limits.completions.is_some_and(|wanted| self.facts.succeeded > wanted) {
            self.event(true, "TooManySucceededPods", "Too many succeeded pods running after completion count reached".to_owned());
        }
        self.event(false, "Completed", "Job completed".to_owned());
    }

    /// The plan, with counts, finalizers and status; the deadline wakes it.
    pub(super) fn done(mut self) -> Plan {
        let facts = self.facts;
        let waiting: BTreeSet<Option<&str>> = self.waiting.values().map(|p| p.metadata.uid.as_deref()).collect();
        let goes = |p: &&&Pod| !waiting.contains(&p.metadata.uid.as_deref());
        for pod in facts.new_succeeded.iter().chain(&facts.new_failed).chain(&facts.not_counted).filter(goes) {
            self.release(pod);
        }
        let later = facts.new_failed.iter().filter(|p| !goes(p) && facts.outcome(p).counts()).count();
        let active: Vec<&Pod> = self.still_active().collect();
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let some = |n: i32| Some(n).filter(|n| *n > 0);
        self.status.ready = Some(count(active.iter().filter(|p| pods::ready(p)).count()));
        self.status.active = some(count(active.len() + self.plan.create.len()));
        self.status.terminating = Some(count(facts.terminating.len() + self.deleted.len()));
        self.status.succeeded = some(facts.succeeded);
        self.status.failed = some(facts.failed.saturating_sub(count(later)).saturating_add(self.stopped));
        // Pods are counted in the transaction that lets them go, so none is ever in between.
        self.status.uncounted_terminated_pods = Some(UncountedTerminatedPods::default());
        if facts.limits.indexed {
            self.status.completed_indexes = Some(facts.completed.to_string()).filter(|s| !s.is_empty());
            self.status.failed_indexes = facts.limits.per_index.map(|_| facts.failed_indexes.to_string());
        }
        facts.backoff.write(&mut self.next.metadata);
        if let Some(end) = verdict::deadline(facts, self.started()).filter(|end| *end > facts.now) {
            self.plan.wake(end);
        }
        self.next.status = Some(std::mem::take(&mut self.status));
        self.done_without_status()
    }

    /// The plan, with the Job's metadata only.
    pub(super) fn done_without_status(mut self) -> Plan {
        if self.next != *self.facts.job {
            self.plan.update.push(self.next.into());
        }
        self.plan
    }
}
