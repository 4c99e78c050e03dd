//! The CronJob's Jobs: which run, which have ended, which are too many to keep.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ObjectReference;

use super::Step;
use crate::api::Kind;
use crate::controllers::{cascade, job};

/// Brings `status.active` and `status.lastSuccessfulTime` up to what the Jobs say. A Job stays listed until it has ended or is gone; one that Replace
/// has deleted is not listed any more.
pub(super) fn observe(step: &mut Step) {
    let listed = step.next.status.as_ref().and_then(|s| s.active.clone()).unwrap_or_default();
    let mut active = Vec::with_capacity(listed.len());
    for reference in &listed {
        let name = reference.name.as_deref().unwrap_or_default().to_owned();
        let job = step.jobs.iter().copied().find(|j| j.metadata.uid == reference.uid);
        match job.map(job::finished) {
            None => step.event(false, "MissingJob", format!("Active job went missing: {name}")),
            Some(None) => active.push(reference.clone()),
            Some(Some(end)) => {
                let condition = if end.complete { "Complete" } else { "Failed" };
                step.event(false, "SawCompletedJob", format!("Saw completed job: {name}, condition: {condition}"));
            }
        }
    }
    // Ours: listed from then on, since overlap is judged from what really runs.
    for job in step.jobs.clone().into_iter().filter(|j| job::finished(j).is_none() && j.metadata.deletion_timestamp.is_none()) {
        if !listed.iter().any(|r| r.uid == job.metadata.uid) {
            let name = job.metadata.name.as_deref().unwrap_or_default();
            step.event(true, "UnexpectedJob", format!("Saw a job that the controller did not create or forgot: {name}"));
            active.push(reference(job));
        }
    }
    set_active(step, active);
    let successes = step.jobs.iter().filter(|j| job::finished(j).is_some_and(|end| end.complete));
    let newest = successes.filter_map(|j| j.status.as_ref()?.completion_time.clone()).max();
    let known = step.next.status.as_ref().and_then(|s| s.last_successful_time.clone());
    if newest > known {
        step.next.status.get_or_insert_default().last_successful_time = newest;
    }
}

fn set_active(step: &mut Step, active: Vec<ObjectReference>) {
    let active = Some(active).filter(|a| !a.is_empty());
    if step.next.status.as_ref().and_then(|s| s.active.as_ref()) != active.as_ref() {
        step.next.status.get_or_insert_default().active = active;
    }
}

/// How `status.active` names a Job.
pub(super) fn reference(job: &Job) -> ObjectReference {
    ObjectReference {
        api_version: Some(Kind::Job.api_version().to_owned()),
        kind: Some(Kind::Job.shown().to_owned()),
        namespace: job.metadata.namespace.clone(),
        name: job.metadata.name.clone(),
        uid: job.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// Lists a Job that is created in this step.
pub(super) fn add_active(step: &mut Step, job: &Job) {
    step.next.status.get_or_insert_default().active.get_or_insert_default().push(reference(job));
}

/// Deletes every running Job (Replace).
pub(super) fn delete_active(step: &mut Step) {
    let running: Vec<&Job> = step.jobs.iter().copied().filter(|j| job::finished(j).is_none()).collect();
    running.into_iter().for_each(|job| delete(step, job));
    set_active(step, Vec::new());
}

fn delete(step: &mut Step, job: &Job) {
    if job.metadata.deletion_timestamp.is_some() {
        return;
    }
    step.plan.delete.push(cascade::whole(&job.clone().into()));
    step.event(false, "SuccessfulDelete", format!("Deleted job {}", job.metadata.name.as_deref().unwrap_or_default()));
}

/// Deletes the oldest finished Jobs beyond successfulJobsHistoryLimit (3) and failedJobsHistoryLimit (1); 0 keeps none.
pub(super) fn trim_history(step: &mut Step) {
    let limits = [(true, step.spec.successful_jobs_history_limit.unwrap_or(3)), (false, step.spec.failed_jobs_history_limit.unwrap_or(1))];
    for (complete, limit) in limits {
        let ended = |j: &&Job| j.metadata.deletion_timestamp.is_none() && job::finished(j).is_some_and(|end| end.complete == complete);
        let mut jobs: Vec<&Job> = step.jobs.iter().copied().filter(ended).collect();
        // Those without a start come last, as the newest (byJobStartTime).
        jobs.sort_by_key(|j| {
            let start = j.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0);
            (start.is_none(), start, j.metadata.name.clone())
        });
        let surplus = jobs.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        jobs.into_iter().take(surplus).for_each(|job| delete(step, job));
    }
}
