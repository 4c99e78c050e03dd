//! The Job controller (pkg/controller/job), for one node.
//!
//! ```text
//!            ┌── suspend ──▶ no pods ──── resume ───┐
//! created ───┤                                      ▼
//!            └────────────▶ running: count · judge · create or give up pods (managing)
//!                              │ a rule of `verdict` decides
//!                              ▼
//!          SuccessCriteriaMet / FailureTarget: active pods are deleted
//!                              │ no pod is left terminating
//!                              ▼
//!                  Complete / Failed: never runs again ── ttl ──▶ deleted, tombstone stays
//! ```
//!
//! Guarantees: a pod is counted in the plan that takes its finalizer away, so never twice and never lost; never more than `parallelism` pods are
//! active; a finished Job is never started again. Left to others: binding and running pods, and their statuses.

mod backoff;
mod conditions;
mod defaults;
mod facts;
mod failure_policy;
mod finished;
mod indexes;
mod managing;
mod per_index;
mod replicas;
pub mod rerun;
mod step;
mod success_policy;
mod verdict;

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;

use super::{Context, Plan, cascade};
use crate::admission::{Verdict, eligible};
use crate::api::{Key, Kind, Object};

pub use conditions::{Finished, finished};
pub use defaults::{Tombstone, immutable_hash, prepare, prepare_for_comparison};
use facts::Facts;
use step::Step;

/// The component named in a Job's events.
const SOURCE: &str = "job-controller";
/// The value of `spec.managedBy` that means this controller.
const MANAGED_HERE: &str = "kubernetes.io/job-controller";

/// One step of `job`, which owns `pods`. The Job must have gone through [`prepare`] when it was created.
pub fn reconcile(job: &Job, pods: &[Arc<Object>], cx: &mut Context) -> Plan {
    if job.metadata.deletion_timestamp.is_some() {
        return cascade::finish(key(job), job.metadata.uid.as_deref().unwrap_or_default(), pods);
    }
    let Some(spec) = &job.spec else { return Plan::default() };
    if spec.managed_by.as_deref().is_some_and(|by| by != MANAGED_HERE) {
        return Plan::default();
    }
    if let Some(outcome) = finished(job) {
        return finished::reconcile(job, spec, &outcome, pods, cx);
    }
    let admission = spec.template.spec.as_ref().map_or_else(Verdict::default, |spec| eligible(spec, cx.node));
    let facts = Facts::observe(job, spec, pods, cx.now);
    let mut step = Step::new(&facts, cx);
    step.note_admission(&admission.reasons);
    let untouched = facts.status.start_time.is_none() && facts.pods.is_empty();
    if !admission.should_run && untouched && !facts.limits.suspended {
        return step.done_without_status();
    }
    step.start();
    match verdict::decide(&facts, step.started()) {
        Some(finish) => step.finish(&finish),
        None => managing::manage(&mut step, admission.should_run),
    }
    step.done()
}

fn key(job: &Job) -> Key {
    Key::new(Kind::Job, job.metadata.namespace.clone().unwrap_or_default(), job.metadata.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_moves;
#[cfg(test)]
mod tests_policies;
#[cfg(test)]
mod tests_rows;
#[cfg(test)]
mod tests_safety;
