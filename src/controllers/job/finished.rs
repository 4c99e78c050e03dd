//! A Job that is over: nothing runs again; ttlSecondsAfterFinished removes it (pkg/controller/ttlafterfinished).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec};

use super::conditions::Finished;
use super::defaults::tombstone;
use super::key;
use crate::api::Object;
use crate::api::well_known::JOB_TOMBSTONE;
use crate::controllers::{Context, Plan, cascade, pods};

/// Lets go of what still hangs on the Job and, when its time has come, deletes it. What came from a file leaves a tombstone.
pub(super) fn reconcile(job: &Job, spec: &JobSpec, outcome: &Finished, owned: &[Arc<Object>], cx: &mut Context) -> Plan {
    let mut plan = Plan::default();
    for pod in pods::among(owned) {
        if pods::tracked(pod) {
            plan.update.push(pods::untracked(pod).into());
        }
        if pods::active(pod) {
            plan.delete.push(pods::deletion(pod));
        }
    }
    let Some(due) = due(spec, outcome, cx.now) else { return plan };
    if due > cx.now {
        plan.wake(due);
        return plan;
    }
    if let Some(value) = tombstone(job) {
        let key = key(job);
        plan.records.push((format!("{JOB_TOMBSTONE}{}/{}", key.namespace, key.name), Some(value)));
    }
    plan.delete.push(cascade::whole(&job.clone().into()));
    plan
}

/// When the Job's time to live is over.
fn due(spec: &JobSpec, outcome: &Finished, now: Timestamp) -> Option<Timestamp> {
    let ttl = SignedDuration::from_secs(i64::from(spec.ttl_seconds_after_finished?));
    Some(outcome.at.unwrap_or(now).checked_add(ttl).unwrap_or(Timestamp::MAX))
}
