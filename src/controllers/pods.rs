//! What the controllers read off a Pod (pkg/api/v1/pod/util.go, pkg/controller/controller_utils.go), and how they make one.
//!
//! Guarantees: pure look-ups; a new pod is complete but for its spec's controller-specific parts. Left to others: binding and running it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

use super::{Context, Deletion};
use crate::api::well_known::{JOB_TRACKING_FINALIZER, NOT_ADMITTED};
use crate::api::{Key, Kind, Object};
use crate::pod::phase as pod_phase;

/// `status.phase`, "Pending" before there is one.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).filter(|p| !p.is_empty()).unwrap_or("Pending")
}

/// Succeeded or Failed.
pub fn terminal(pod: &Pod) -> bool {
    pod_phase::is_terminal(pod_phase::of(pod))
}

/// Whether deletionTimestamp is set.
pub fn deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Not terminal and not being deleted (IsPodActive).
pub fn active(pod: &Pod) -> bool {
    !terminal(pod) && !deleting(pod)
}

/// Bound and not terminal: what it asks for is taken from the node (the scheduler's and the kubelet's view, and `kubectl describe node`'s).
pub fn holds_resources(pod: &Pod) -> bool {
    !terminal(pod) && pod.spec.as_ref().is_some_and(|s| s.node_name.is_some())
}

/// Being deleted and not terminal yet (IsPodTerminating).
pub fn terminating(pod: &Pod) -> bool {
    !terminal(pod) && deleting(pod)
}

/// Whether it is a Pod manifest's. Such a pod is asked for its nodeName and affinity only: no scheduler stands between its file and the kubelet, which
/// minds no NoSchedule taint; and it is critical to the kubelet.
pub fn is_static(pod: &Pod) -> bool {
    pod.metadata.owner_references.iter().flatten().any(|o| o.controller == Some(true) && o.kind == "Pod")
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

/// Condition Ready is True.
pub fn ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// Since when the pod is ready.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|c| c.status == "True")?.last_transition_time.as_ref().map(|t| t.0)
}

/// When the pod becomes available (ready for `min_ready_seconds`); `None` while it is not ready.
pub fn available_at(pod: &Pod, min_ready_seconds: i32) -> Option<Timestamp> {
    let wait = SignedDuration::from_secs(i64::from(min_ready_seconds.max(0)));
    ready_since(pod)?.checked_add(wait).ok()
}

/// Whether the host's shutdown or reboot ended it (condition DisruptionTarget, reason TerminationByKubelet): no fault of the pod's. An eviction
/// under pressure has that condition too, and counts as the failure that it is in Kubernetes.
pub fn interrupted(pod: &Pod) -> bool {
    let evicted = pod.status.as_ref().is_some_and(|s| s.reason.as_deref() == Some("Evicted"));
    !evicted
        && condition(pod, "DisruptionTarget").is_some_and(|c| c.status == "True" && c.reason.as_deref() == Some("TerminationByKubelet"))
}

/// When the pod finished (pkg/controller/job getFinishedTime): its last container's end, else Ready=False since, else its deletion, else creation.
pub fn finished_at(pod: &Pod) -> Option<Timestamp> {
    let unready = || condition(pod, "Ready").filter(|c| c.status == "False")?.last_transition_time.as_ref().map(|t| t.0);
    let deleted = || {
        let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
        pod.metadata.deletion_timestamp.as_ref()?.0.checked_sub(grace).ok()
    };
    containers_finished_at(pod).or_else(unready).or_else(deleted).or_else(|| created_at(pod))
}

fn containers_finished_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ends = statuses.iter().map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0));
    ends.collect::<Option<Vec<Timestamp>>>()?.into_iter().max()
}

/// creationTimestamp.
pub fn created_at(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|t| t.0)
}

/// How often the pod's containers were restarted, init containers included.
pub fn restarts(pod: &Pod) -> i64 {
    let Some(status) = &pod.status else { return 0 };
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.map(|c| i64::from(c.restart_count)).sum()
}

/// Whether the pod still waits to be counted by its Job.
pub fn tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|f| f == JOB_TRACKING_FINALIZER)
}

/// The pod without [`JOB_TRACKING_FINALIZER`].
pub fn untracked(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    let left = pod.metadata.finalizers.take().into_iter().flatten().filter(|f| f != JOB_TRACKING_FINALIZER).collect::<Vec<_>>();
    pod.metadata.finalizers = Some(left).filter(|l| !l.is_empty());
    pod
}

/// The order in which active pods are given up (controller.ActivePods): unbound, Pending, unready, restarted more often and newer ones first.
pub fn removal_order(pod: &Pod) -> impl Ord + use<> {
    let bound = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
    let step = match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    (bound, step, ready(pod), Reverse(ready_since(pod)), Reverse(restarts(pod)), Reverse(created_at(pod)), pod.metadata.name.clone())
}

/// The order in which daemon pods count as first: oldest first (podByCreationTimestampAndPhase).
pub fn age_order(pod: &Pod) -> impl Ord + use<> {
    (created_at(pod), phase(pod) == "Pending", pod.metadata.name.clone())
}

/// A deletion of this pod with its own grace.
pub fn deletion(pod: &Pod) -> Deletion {
    let key = Key::new(Kind::Pod, pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default());
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    Deletion { key, uid, grace_seconds: None, disruption: None, keep_object: false }
}

/// The ownerReference of what `owner` controls (metav1.NewControllerRef).
pub fn controlled_by(kind: Kind, owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: kind.api_version().to_owned(),
        kind: kind.shown().to_owned(),
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The annotations that are the user's: what begins with `minik8s.io/` is for the agent alone to say.
pub fn users_annotations(annotations: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    annotations.into_iter().flatten().filter(|(name, _)| !name.starts_with("minik8s.io/")).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// A pod's spec as its template has it, but for the node: which node it is has been asked of the template, and `binding` asks the rest.
pub fn unbound(spec: Option<&PodSpec>) -> PodSpec {
    PodSpec { node_name: None, ..spec.cloned().unwrap_or_default() }
}

/// A pod made from a template (controller.GetPodFromTemplate): labels, annotations and finalizers of the template, a generated name on `base` (with its
/// trailing `-`), a uid, the owner, phase Pending. It is not bound.
pub fn from_template(template: &PodTemplateSpec, base: &str, kind: Kind, owner: &ObjectMeta, cx: &mut Context) -> Pod {
    let from = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            name: Some(cx.names.generate(base)),
            generate_name: Some(base.to_owned()),
            namespace: owner.namespace.clone(),
            uid: Some(cx.names.uid()),
            creation_timestamp: Some(Time(cx.now)),
            labels: from.labels,
            annotations: Some(users_annotations(from.annotations.as_ref())).filter(|all| !all.is_empty()),
            finalizers: from.finalizers,
            owner_references: Some(vec![controlled_by(kind, owner)]),
            ..ObjectMeta::default()
        },
        spec: Some(unbound(template.spec.as_ref())),
        status: Some(PodStatus { phase: Some("Pending".to_owned()), ..PodStatus::default() }),
    }
}

/// Sets or removes an annotation; returns whether that changed anything.
pub fn annotate(meta: &mut ObjectMeta, name: &str, value: Option<String>) -> bool {
    let current = meta.annotations.as_ref().and_then(|a| a.get(name));
    if current == value.as_ref() {
        return false;
    }
    let annotations = meta.annotations.get_or_insert_default();
    match value {
        Some(value) => annotations.insert(name.to_owned(), value),
        None => annotations.remove(name),
    };
    if annotations.is_empty() {
        meta.annotations = None;
    }
    true
}

/// An annotation's value.
pub fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

/// Writes down why the workload does not run here ([`NOT_ADMITTED`]), or that it does (`reasons` empty). Returns whether that is news.
pub fn note_admission(meta: &mut ObjectMeta, reasons: &[String]) -> bool {
    annotate(meta, NOT_ADMITTED, Some(reasons.join("; ")).filter(|r| !r.is_empty()))
}

/// The pods among `objects`.
pub fn among(objects: &[std::sync::Arc<Object>]) -> Vec<&Pod> {
    objects.iter().filter_map(|o| o.as_pod()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::names::Names;
    use crate::api::well_known::{ASSIGNED_DEVICES, USER_NAMESPACE};

    #[test]
    fn a_pod_of_a_template_is_not_bound_whatever_node_it_names_and_holds_nothing() {
        let annotations = json!({USER_NAMESPACE: "65536", ASSIGNED_DEVICES: "{}", "a": "b"});
        let template = json!({"metadata": {"annotations": annotations}, "spec": {"nodeName": "n", "containers": []}});
        let node = k8s_openapi::api::core::v1::Node::default();
        let now = Timestamp::UNIX_EPOCH;
        let mut cx = Context { node: &node, now, names: Names::new(1, "owner", now), zone: jiff::tz::TimeZone::UTC };
        let pod = from_template(&serde_json::from_value(template).unwrap(), "p-", Kind::Job, &ObjectMeta::default(), &mut cx);
        assert_eq!(pod.spec.unwrap().node_name, None);
        assert_eq!(serde_json::to_value(pod.metadata.annotations).unwrap(), json!({"a": "b"}));
    }
}
