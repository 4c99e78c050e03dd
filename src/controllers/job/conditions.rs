//! A Job's conditions: Suspended, the interim SuccessCriteriaMet and FailureTarget, the terminal Complete and Failed.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Complete (else Failed).
    pub complete: bool,
    /// The terminal condition's lastTransitionTime.
    pub at: Option<Timestamp>,
}

/// Whether and how `job` ended: its condition Complete or Failed that is True.
pub fn finished(job: &Job) -> Option<Finished> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let terminal = conditions.iter().find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")?;
    Some(Finished { complete: terminal.type_ == "Complete", at: terminal.last_transition_time.as_ref().map(|t| t.0) })
}

/// The condition of this type that is True.
pub(super) fn holding<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.as_ref()?.iter().find(|c| c.type_ == kind && c.status == "True")
}

/// Makes sure a condition is so; one that was never there is not added as False (ensureJobConditionStatus). Returns whether it changed.
pub(super) fn ensure(status: &mut JobStatus, kind: &str, holds: bool, reason: &str, message: &str, now: Timestamp) -> bool {
    let word = if holds { "True" } else { "False" };
    let text = |s: &str| Some(s.to_owned()).filter(|s| !s.is_empty());
    let new = JobCondition {
        type_: kind.to_owned(),
        status: word.to_owned(),
        reason: text(reason),
        message: text(message),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    let conditions = status.conditions.get_or_insert_default();
    let changed = match conditions.iter_mut().find(|c| c.type_ == kind) {
        Some(old) if old.status == word && old.reason == new.reason && old.message == new.message => false,
        Some(old) => {
            *old = new;
            true
        }
        None if holds => {
            conditions.push(new);
            true
        }
        None => false,
    };
    if conditions.is_empty() {
        status.conditions = None;
    }
    changed
}
