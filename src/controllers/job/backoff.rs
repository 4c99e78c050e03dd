//! How long to wait before pods are made again (pkg/controller/job/backoff_utils.go): 10 s doubled with every failure since the last success, at most
//! 600 s, from the last failed pod's end.
//!
//! Ours: the record is an annotation of the Job, so it survives a restart. If the clock was set back past the last failure, the wait starts anew.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::controllers::pods;

/// Annotation on a Job: its [`Backoff`] as JSON.
const ANNOTATION: &str = "minik8s.io/job-backoff";
const BASE_SECONDS: i64 = 10;
/// The longest wait.
pub(super) const CAP_SECONDS: i64 = 600;

/// Failures since the last success, and when the last of them was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Backoff {
    failures: u32,
    last: Option<Timestamp>,
}

impl Backoff {
    /// What the Job remembers; nothing if it can't be read.
    pub(super) fn read(meta: &ObjectMeta) -> Backoff {
        pods::annotation(meta, ANNOTATION).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Writes it down; nothing if there is nothing to remember.
    pub(super) fn write(&self, meta: &mut ObjectMeta) {
        let text = if self.failures == 0 { None } else { serde_json::to_string(self).ok() };
        pods::annotate(meta, ANNOTATION, text);
    }

    /// Takes newly finished pods in: any success forgets what failed before it.
    pub(super) fn count(&mut self, succeeded: &[&Pod], failed: &[&Pod], now: Timestamp) {
        let success = succeeded.iter().filter_map(|p| pods::finished_at(p)).max();
        if !succeeded.is_empty() {
            *self = Backoff::default();
        }
        for end in failed.iter().map(|p| pods::finished_at(p).unwrap_or(now)).filter(|end| success.is_none_or(|s| *end > s)) {
            self.failures = self.failures.saturating_add(1);
            self.last = self.last.max(Some(end));
        }
        self.last = self.last.map(|last| last.min(now));
    }

    /// When pods may be made again; `None` = now.
    pub(super) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let last = self.last.filter(|_| self.failures > 0)?;
        end(self.failures, last).filter(|end| *end > now)
    }
}

/// When the wait after so many failures is over, the last of them at `last`.
pub(super) fn end(failures: u32, last: Timestamp) -> Option<Timestamp> {
    let doublings = failures.saturating_sub(1).min(6);
    last.checked_add(SignedDuration::from_secs((BASE_SECONDS << doublings).min(CAP_SECONDS))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_cap() {
        let now = Timestamp::UNIX_EPOCH;
        for (failures, wanted) in [(0, None), (1, Some(10)), (2, Some(20)), (6, Some(320)), (7, Some(600)), (100, Some(600))] {
            let until = Backoff { failures, last: Some(now) }.until(now);
            assert_eq!(until.map(Timestamp::as_second), wanted, "{failures}");
        }
        assert_eq!(Backoff { failures: 1, last: Some(now) }.until(now + SignedDuration::from_secs(10)), None);
    }

    #[test]
    fn a_clock_set_back_starts_the_wait_anew() {
        let now = Timestamp::UNIX_EPOCH;
        let mut backoff = Backoff { failures: 1, last: Some(now + SignedDuration::from_hours(100)) };
        backoff.count(&[], &[], now);
        assert_eq!(backoff.until(now).map(Timestamp::as_second), Some(10));
    }
}
