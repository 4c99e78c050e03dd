//! backoffLimitPerIndex: how often each index failed, and how long it waits (pkg/controller/job/indexed_job_utils.go, backoff_utils.go).
//!
//! An index's failures are written on its pods: each new pod carries how many came before it. So the last failed pod of an index keeps its
//! finalizer, and is not counted, until the pod that replaces it is made in the same plan.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::backoff::{self, CAP_SECONDS};
use super::failure_policy::Outcome;
use crate::controllers::pods;

/// Annotation on a pod: its index's failures before it, those that count.
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Annotation on a pod: its index's failures before it that podFailurePolicy ignores. Absent = 0.
const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// Failures of an index before a pod was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    counted: i32,
    ignored: i32,
}

impl Failures {
    /// Those before `pod`; 0 where an annotation is missing, no number or negative.
    fn before(pod: &Pod) -> Failures {
        let read = |name: &str| pods::annotation(&pod.metadata, name).and_then(|n| n.parse().ok()).filter(|n: &i32| *n >= 0).unwrap_or(0);
        Failures { counted: read(FAILURES), ignored: read(IGNORED) }
    }

    /// Those before the pod that replaces `pod`.
    pub(super) fn after(pod: &Pod, outcome: &Outcome) -> Failures {
        let before = Failures::before(pod);
        match outcome {
            Outcome::Excused => before,
            Outcome::Ignored => Failures { ignored: before.ignored.saturating_add(1), ..before },
            _ => Failures { counted: before.counted.saturating_add(1), ..before },
        }
    }

    /// Writes them on a new pod.
    pub(super) fn write(self, meta: &mut ObjectMeta) {
        pods::annotate(meta, FAILURES, Some(self.counted.to_string()));
        pods::annotate(meta, IGNORED, Some(self.ignored).filter(|n| *n > 0).map(|n| n.to_string()));
    }

    fn total(self) -> i32 {
        self.counted.saturating_add(self.ignored)
    }
}

/// Whether this pod's failure is one too many for its index.
pub(super) fn index_fails(pod: &Pod, outcome: &Outcome, limit: i32) -> bool {
    *outcome == Outcome::IndexFailed || outcome.counts() && Failures::before(pod).counted >= limit
}

/// When the index of `pod`, which has failed, may have a new pod; `None` = now. A pod that ended long after now was seen by a clock that has
/// been set back since: it is not waited for.
pub(super) fn until(pod: &Pod, outcome: &Outcome, now: Timestamp) -> Option<Timestamp> {
    let last = pods::finished_at(pod).filter(|end| end.duration_since(now) <= SignedDuration::from_secs(CAP_SECONDS))?;
    let failures = Failures::before(pod).total().saturating_add(1).unsigned_abs();
    backoff::end(failures, last).filter(|end| *outcome != Outcome::Excused && *end > now)
}

/// Of the failed pods with their indexes, the last one of each.
pub(super) fn last_of_each<'a>(failed: impl Iterator<Item = (i32, &'a Pod)>) -> BTreeMap<i32, &'a Pod> {
    let rank = |pod: &Pod| (Failures::before(pod).total(), pods::finished_at(pod), pod.metadata.name.clone());
    let mut last: BTreeMap<i32, &Pod> = BTreeMap::new();
    for (index, pod) in failed {
        let known = last.entry(index).or_insert(pod);
        if rank(pod) > rank(known) {
            *known = pod;
        }
    }
    last
}
