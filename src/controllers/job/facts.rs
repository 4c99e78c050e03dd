//! What is so: the Job's limits with their defaults, and its pods sorted by what they mean to it.
//!
//! Guarantees: a pod is new to count only while it carries the tracking finalizer; one whose index is invalid, or that the host's shutdown ended, is
//! let go without being counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use super::backoff::Backoff;
use super::failure_policy::{self, Outcome};
use super::indexes::Intervals;
use super::per_index;
use crate::api::Object;
use crate::controllers::pods;

/// Label and annotation with a pod's completion index.
pub(super) const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// `spec`'s numbers and switches, defaulted.
pub(super) struct Limits {
    pub parallelism: i32,
    /// `None`: a work queue.
    pub completions: Option<i32>,
    pub backoff_limit: i64,
    pub indexed: bool,
    /// Each index of an Indexed Job has a limit and a back-off of its own.
    pub per_index: Option<i32>,
    pub suspended: bool,
    /// podReplacementPolicy Failed: a terminating pod is neither failed nor replaced yet.
    pub replaces_only_failed: bool,
    /// The template's restartPolicy is OnFailure.
    pub on_failure: bool,
}

impl Limits {
    pub(super) fn of(spec: &JobSpec) -> Limits {
        let backoff_default = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
        let replacement_default = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
        let work_queue = spec.completions.is_none() && spec.parallelism.is_some();
        Limits {
            parallelism: spec.parallelism.unwrap_or(1).max(0),
            completions: spec.completions.or((!work_queue).then_some(1)),
            backoff_limit: i64::from(spec.backoff_limit.unwrap_or(backoff_default)),
            indexed: spec.completion_mode.as_deref() == Some("Indexed"),
            per_index: spec.backoff_limit_per_index.filter(|_| spec.completion_mode.as_deref() == Some("Indexed")),
            suspended: spec.suspend == Some(true),
            replaces_only_failed: spec.pod_replacement_policy.as_deref().unwrap_or(replacement_default) == "Failed",
            on_failure: spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) == Some("OnFailure"),
        }
    }
}

/// One look at a Job and its pods.
pub(super) struct Facts<'a> {
    pub job: &'a Job,
    pub spec: &'a JobSpec,
    pub status: JobStatus,
    pub limits: Limits,
    pub now: Timestamp,
    pub pods: Vec<&'a Pod>,
    pub active: Vec<&'a Pod>,
    /// Being deleted and not terminal yet.
    pub terminating: Vec<&'a Pod>,
    /// Succeeded, to be counted now.
    pub new_succeeded: Vec<&'a Pod>,
    /// Failed, to be counted now.
    pub new_failed: Vec<&'a Pod>,
    /// Finished and not to be counted: only the finalizer goes.
    pub not_counted: Vec<&'a Pod>,
    /// Including what is counted now.
    pub succeeded: i32,
    /// Including what has failed now.
    pub failed: i32,
    /// Indexes completed, including what is counted now. Empty unless Indexed.
    pub completed: Intervals,
    /// Indexes that have failed for good. Empty without backoffLimitPerIndex.
    pub failed_indexes: Intervals,
    /// With backoffLimitPerIndex: the last failed pod of each index that waits for its next.
    pub to_replace: BTreeMap<i32, &'a Pod>,
    /// Including what is counted now.
    pub backoff: Backoff,
}

impl<'a> Facts<'a> {
    pub(super) fn observe(job: &'a Job, spec: &'a JobSpec, owned: &'a [Arc<Object>], now: Timestamp) -> Facts<'a> {
        let status = job.status.clone().unwrap_or_default();
        let pods = pods::among(owned);
        let mut facts = Facts {
            job,
            spec,
            limits: Limits::of(spec),
            now,
            active: pods.iter().copied().filter(|p| pods::active(p)).collect(),
            terminating: pods.iter().copied().filter(|p| pods::terminating(p)).collect(),
            pods,
            new_succeeded: Vec::new(),
            new_failed: Vec::new(),
            not_counted: Vec::new(),
            succeeded: status.succeeded.unwrap_or(0),
            failed: status.failed.unwrap_or(0),
            completed: Intervals::parse(status.completed_indexes.as_deref().unwrap_or_default()),
            failed_indexes: Intervals::parse(status.failed_indexes.as_deref().unwrap_or_default()),
            to_replace: BTreeMap::new(),
            backoff: Backoff::read(&job.metadata),
            status,
        };
        facts.sort_finished();
        facts.total();
        facts
    }

    /// Sorts the finished pods that still carry the finalizer.
    fn sort_finished(&mut self) {
        for pod in self.pods.iter().copied().filter(|p| pods::tracked(p)) {
            let (succeeded, failed) = (pods::phase(pod) == "Succeeded", self.failed_pod(pod));
            match () {
                () if !succeeded && !failed => {}
                () if !self.valid(pod) => self.not_counted.push(pod),
                () if succeeded => self.new_succeeded.push(pod),
                () if self.outcome(pod) == Outcome::Excused => self.not_counted.push(pod),
                () => self.new_failed.push(pod),
            }
        }
    }

    fn total(&mut self) {
        let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let failed = self.new_failed.iter().filter(|p| self.outcome(p).counts()).count();
        self.failed = self.failed.saturating_add(number(failed));
        if self.limits.indexed {
            self.new_succeeded.iter().filter_map(|p| completion_index(p)).for_each(|index| self.completed.insert(index));
            self.succeeded = self.completed.total();
        } else {
            self.succeeded = self.succeeded.saturating_add(number(self.new_succeeded.len()));
        }
        match self.limits.per_index {
            Some(limit) => self.judge_indexes(limit),
            None => self.backoff.count(&self.new_succeeded, &self.new_failed, self.now),
        }
    }

    /// Which indexes have failed for good, and which wait for their next pod.
    fn judge_indexes(&mut self, limit: i32) {
        let fails = |p: &&&Pod| per_index::index_fails(p, &self.outcome(p), limit);
        let failed: Vec<i32> = self.new_failed.iter().filter(fails).filter_map(|p| completion_index(p)).collect();
        failed.into_iter().for_each(|index| self.failed_indexes.insert(index));
        let running: BTreeSet<i32> = self.active.iter().filter_map(|p| completion_index(p)).collect();
        let over = |index: &i32| self.completed.has(*index) || self.failed_indexes.has(*index) || running.contains(index);
        let ended = self.new_failed.iter().chain(&self.not_counted).copied().filter(|p| self.valid(p) && self.failed_pod(p));
        let waiting = ended.filter_map(|p| Some((completion_index(p)?, p))).filter(|(index, _)| !over(index));
        self.to_replace = per_index::last_of_each(waiting);
    }

    /// What this pod's failure means.
    pub(super) fn outcome(&self, pod: &Pod) -> Outcome {
        failure_policy::judge(self.spec.pod_failure_policy.as_ref(), pod)
    }

    /// isPodFailed: a pod being deleted has failed already, unless only Failed ones are replaced.
    pub(super) fn failed_pod(&self, pod: &Pod) -> bool {
        pods::phase(pod) == "Failed" || !self.limits.replaces_only_failed && pods::terminating(pod)
    }

    /// Whether the pod's index, if the Job is Indexed, is one of the Job's.
    pub(super) fn valid(&self, pod: &Pod) -> bool {
        !self.limits.indexed || completion_index(pod).is_some_and(|index| index < self.limits.completions.unwrap_or(0))
    }

    /// The Job's name.
    pub(super) fn name(&self) -> &str {
        self.job.metadata.name.as_deref().unwrap_or_default()
    }
}

/// The pod's completion index.
pub(super) fn completion_index(pod: &Pod) -> Option<i32> {
    pods::annotation(&pod.metadata, COMPLETION_INDEX)?.parse().ok().filter(|index| *index >= 0)
}
