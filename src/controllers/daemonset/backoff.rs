//! How fast failed daemon pods are deleted and made again: 1 s doubled each time, at most 15 min, forgotten after 30 quiet minutes
//! (failedPodsBackoff of pkg/controller/daemon, client-go flowcontrol.Backoff).
//!
//! Ours: kept in an annotation, so it survives a restart; a clock set back ends the wait.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::controllers::pods;

/// Annotation on a DaemonSet: its [`Backoff`] as JSON.
const ANNOTATION: &str = "minik8s.io/daemon-backoff";
const CAP_SECONDS: i64 = 900;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Backoff {
    seconds: i64,
    since: Timestamp,
    /// A new generation starts afresh.
    generation: i64,
}

fn read(meta: &ObjectMeta, now: Timestamp) -> Option<Backoff> {
    let backoff: Backoff = serde_json::from_str(pods::annotation(meta, ANNOTATION)?).ok()?;
    let quiet = now.duration_since(backoff.since).as_secs();
    (backoff.generation == meta.generation.unwrap_or(0) && quiet <= 2 * CAP_SECONDS).then_some(backoff)
}

/// Until when failed pods are left alone; `None` = they may be deleted now.
pub(super) fn until(meta: &ObjectMeta, now: Timestamp) -> Option<Timestamp> {
    let backoff = read(meta, now).filter(|b| b.since <= now)?;
    backoff.since.checked_add(SignedDuration::from_secs(backoff.seconds)).ok().filter(|end| *end > now)
}

/// A failed pod is deleted now.
pub(super) fn raise(meta: &mut ObjectMeta, now: Timestamp) {
    let seconds = read(meta, now).map_or(1, |b| b.seconds.saturating_mul(2).clamp(1, CAP_SECONDS));
    let next = Backoff { seconds, since: now, generation: meta.generation.unwrap_or(0) };
    pods::annotate(meta, ANNOTATION, serde_json::to_string(&next).ok());
}
