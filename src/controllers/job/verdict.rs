//! Is the Job over? One function per rule, asked in Kubernetes' order of precedence (syncJob); the first that answers decides.

use jiff::{SignedDuration, Timestamp};

use super::conditions::holding;
use super::facts::Facts;
use super::failure_policy::Outcome;
use super::success_policy;
use crate::controllers::pods;

/// How and why a Job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finish {
    /// Complete (else Failed).
    pub success: bool,
    pub reason: String,
    pub message: String,
}

impl Finish {
    fn failure(reason: &str, message: &str) -> Option<Finish> {
        Some(Finish { success: false, reason: reason.to_owned(), message: message.to_owned() })
    }
}

/// A rule looks at the facts and at when the Job (re)started.
type Rule = fn(&Facts, Option<Timestamp>) -> Option<Finish>;

/// In order of precedence. `CompletionsReached` comes last, after surplus pods were given up: [`completions_reached`].
const RULES: [Rule; 8] = [
    success_persisted,
    failure_persisted,
    pod_failure_policy,
    backoff_limit_exceeded,
    deadline_exceeded,
    max_failed_indexes_exceeded,
    indexes_failed,
    success_policy_met,
];

/// The first rule's answer.
pub(super) fn decide(facts: &Facts, started: Option<Timestamp>) -> Option<Finish> {
    RULES.iter().find_map(|rule| rule(facts, started))
}

fn success_persisted(facts: &Facts, _: Option<Timestamp>) -> Option<Finish> {
    persisted(facts, "SuccessCriteriaMet", true)
}

fn failure_persisted(facts: &Facts, _: Option<Timestamp>) -> Option<Finish> {
    persisted(facts, "FailureTarget", false)
}

fn persisted(facts: &Facts, kind: &str, success: bool) -> Option<Finish> {
    let condition = holding(&facts.status, kind)?;
    let (reason, message) = (condition.reason.clone().unwrap_or_default(), condition.message.clone().unwrap_or_default());
    Some(Finish { success, reason, message })
}

/// A failed pod matches a rule with action FailJob. Only pods still to be counted are asked: one given up before cannot fail the Job.
fn pod_failure_policy(facts: &Facts, _: Option<Timestamp>) -> Option<Finish> {
    facts.spec.pod_failure_policy.as_ref()?;
    let failed = facts.pods.iter().filter(|p| pods::tracked(p) && facts.failed_pod(p));
    let message = failed.map(|p| facts.outcome(p)).find_map(|outcome| match outcome {
        Outcome::JobFailed(message) => Some(message),
        _ => None,
    });
    Finish::failure("PodFailurePolicy", &message?)
}

/// `Never` counts failed pods; `OnFailure` also the restarts of pods that are Pending or Running (pastBackoffLimitOnFailure).
fn backoff_limit_exceeded(facts: &Facts, _: Option<Timestamp>) -> Option<Finish> {
    let limit = facts.limits.backoff_limit;
    let going = facts.pods.iter().filter(|p| matches!(pods::phase(p), "Pending" | "Running"));
    let restarts: i64 = if facts.limits.on_failure { going.map(|p| pods::restarts(p)).sum() } else { 0 };
    let restarted_too_often = if limit == 0 { restarts > 0 } else { facts.limits.on_failure && restarts >= limit };
    if i64::from(facts.failed) <= limit && !restarted_too_often {
        return None;
    }
    Finish::failure("BackoffLimitExceeded", "Job has reached the specified backoff limit")
}

fn deadline_exceeded(facts: &Facts, started: Option<Timestamp>) -> Option<Finish> {
    if deadline(facts, started)? > facts.now {
        return None;
    }
    Finish::failure("DeadlineExceeded", "Job was active longer than specified deadline")
}

fn max_failed_indexes_exceeded(facts: &Facts, _: Option<Timestamp>) -> Option<Finish> {
    facts.spec.max_failed_indexes.filter(|most| facts.failed_indexes.total() > *most)?;
    Finish::failure("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes")
}

/// Every index has succeeded or failed, and one has failed.
fn indexes_failed(facts: &Facts, _: Option<Timestamp>) -> Option<Finish> {
    let failed = facts.failed_indexes.total();
    if failed == 0 || failed.saturating_add(facts.completed.total()) < facts.limits.completions.unwrap_or(0) {
        return None;
    }
    Finish::failure("FailedIndexes", "Job has failed indexes")
}

fn success_policy_met(facts: &Facts, _: Option<Timestamp>) -> Option<Finish> {
    let policy = facts.spec.success_policy.as_ref().filter(|_| facts.limits.indexed)?;
    let message = success_policy::fulfilled(policy, &facts.completed)?;
    Some(Finish { success: true, reason: "SuccessPolicy".to_owned(), message })
}

/// When activeDeadlineSeconds are over; `None` without one, while suspended and before the start.
pub(super) fn deadline(facts: &Facts, started: Option<Timestamp>) -> Option<Timestamp> {
    let seconds = facts.spec.active_deadline_seconds.filter(|_| !facts.limits.suspended)?;
    Some(started?.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX))
}

/// All completions are there, or a work queue has its first success, and nothing is active any more.
pub(super) fn completions_reached(facts: &Facts, active: usize) -> Option<Finish> {
    let enough = match facts.limits.completions {
        Some(completions) => facts.succeeded >= completions,
        None => facts.succeeded > 0,
    };
    (enough && active == 0).then(|| Finish {
        success: true,
        reason: "CompletionsReached".to_owned(),
        message: "Reached expected number of succeeded pods".to_owned(),
    })
}
