//! Taints and tolerations (api/core/v1/toleration.go, pkg/controller/tainteviction, pkg/controller/daemon/util).
//!
//! Guarantees: an empty effect tolerates all effects, an empty key with Exists all taints; Lt and Gt (alpha upstream) tolerate nothing.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Taint, Toleration};

use super::UNSCHEDULABLE;

/// What a node's NoExecute taints mean for a running pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// It stays for ever.
    Keep,
    /// It stays until then.
    At(Timestamp),
    /// It goes now.
    Now,
}

/// The node's taints, and whether it is cordoned by `spec.unschedulable`.
pub(super) fn of(node: &Node) -> (&[Taint], bool) {
    match &node.spec {
        Some(spec) => (spec.taints.as_deref().unwrap_or_default(), spec.unschedulable == Some(true)),
        None => (&[], false),
    }
}

/// Whether the pod tolerates the taint that `spec.unschedulable` stands for (scheduler plugin nodeunschedulable).
pub(super) fn tolerates_unschedulable(tolerations: &[Toleration]) -> bool {
    let taint = Taint { key: UNSCHEDULABLE.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    tolerations.iter().any(|t| tolerates(t, &taint))
}

/// Whether one toleration covers one taint. Operator "" is Equal; absent and empty values are equal.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default(),
        _ => false,
    }
}

/// Whether and when the node's NoExecute taints drive `pod` away. A taint's clock starts at its timeAdded, or when the pod came if that is later, so that a
/// running timer keeps its start. Each taint uses the first toleration that covers it; the earliest end wins; ≤ 0 seconds is now, none is for ever.
pub fn no_execute(pod: &Pod, node: &Node, now: Timestamp) -> Eviction {
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
    let mut earliest: Option<Timestamp> = None;
    for taint in of(node).0.iter().filter(|t| t.effect == "NoExecute") {
        let Some(toleration) = tolerations.iter().find(|t| tolerates(t, taint)) else { return Eviction::Now };
        let Some(seconds) = toleration.toleration_seconds else { continue };
        let start = taint_start(taint, pod).unwrap_or(now);
        let end = start.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        if seconds <= 0 || end <= now {
            return Eviction::Now;
        }
        earliest = Some(earliest.map_or(end, |e| e.min(end)));
    }
    earliest.map_or(Eviction::Keep, Eviction::At)
}

fn taint_start(taint: &Taint, pod: &Pod) -> Option<Timestamp> {
    let added = taint.time_added.as_ref().map(|t| t.0);
    let came = pod.status.as_ref().and_then(|s| s.start_time.as_ref()).or(pod.metadata.creation_timestamp.as_ref()).map(|t| t.0);
    added.max(came)
}

/// Adds the tolerations every daemon pod has (AddOrUpdateDaemonPodTolerations); one that is there already stays.
pub fn daemon_tolerations(spec: &mut PodSpec) {
    let host_network = spec.host_network == Some(true);
    let wanted = [
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        (UNSCHEDULABLE, "NoSchedule"),
        ("node.kubernetes.io/network-unavailable", "NoSchedule"),
    ];
    let count = if host_network { wanted.len() } else { wanted.len() - 1 };
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in wanted.into_iter().take(count) {
        let toleration = exists(key, effect);
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
}

fn exists(key: &str, effect: &str) -> Toleration {
    Toleration { key: Some(key.to_owned()), operator: Some("Exists".to_owned()), effect: Some(effect.to_owned()), ..Toleration::default() }
}
