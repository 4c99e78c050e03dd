//! Binding: gives a pod that fits to this node, or says on the pod why it has to wait. Pure.
//!
//! The counterpart of kube-scheduler with one node: `spec.nodeName` and the condition PodScheduled are what it writes.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::admission;
use crate::api::Object;
use crate::controllers::EventDraft;

/// What became of one pod that was not bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The pod with its binding, or with the condition that says why not. `None`: as it stands already.
    pub pod: Option<Pod>,
    /// The event that tells of it.
    pub event: Option<EventDraft>,
    /// Whether it is bound now.
    pub bound: bool,
}

/// Tries to bind `pod` beside the pods `others` that hold this node's resources and ports.
pub fn bind(pod: &Pod, others: &[Arc<Object>], node: &Node, now: Timestamp) -> Outcome {
    let spec = pod.spec.clone().unwrap_or_default();
    let verdict = admission::eligible(&spec, node);
    let reasons = match verdict.should_run {
        false => verdict.reasons,
        true => admission::fits(pod, others, node).err().unwrap_or_default(),
    };
    match reasons.is_empty() {
        true => accept(pod, node, now),
        false => postpone(pod, &message(&reasons), now),
    }
}

/// Words of the scheduler (pkg/scheduler/framework/types.go, FitError.Error).
pub fn message(reasons: &[String]) -> String {
    let counted: Vec<String> = reasons.iter().map(|r| format!("1 {r}")).collect();
    format!("0/1 nodes are available: {}.", counted.join(", "))
}

fn accept(pod: &Pod, node: &Node, now: Timestamp) -> Outcome {
    let mut pod = pod.clone();
    let name = node.metadata.name.clone().unwrap_or_default();
    pod.spec.get_or_insert_default().node_name = Some(name.clone());
    set_scheduled(&mut pod, "True", None, None, now);
    let about = format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
    let event = draft(&pod, false, "Scheduled", format!("Successfully assigned {about} to {name}"));
    Outcome { pod: Some(pod), event: Some(event), bound: true }
}

fn postpone(pod: &Pod, message: &str, now: Timestamp) -> Outcome {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let told = conditions.iter().any(|c| c.type_ == "PodScheduled" && c.status == "False" && c.message.as_deref() == Some(message));
    if told {
        return Outcome { pod: None, event: None, bound: false };
    }
    let mut pod = pod.clone();
    set_scheduled(&mut pod, "False", Some("Unschedulable"), Some(message), now);
    let event = draft(&pod, true, "FailedScheduling", message.to_owned());
    Outcome { pod: Some(pod), event: Some(event), bound: false }
}

fn set_scheduled(pod: &mut Pod, status: &str, reason: Option<&str>, message: Option<&str>, now: Timestamp) {
    let pod_status = pod.status.get_or_insert_default();
    pod_status.phase.get_or_insert_with(|| "Pending".to_owned());
    let conditions = pod_status.conditions.get_or_insert_default();
    let since = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == status).and_then(|c| c.last_transition_time.clone());
    conditions.retain(|c| c.type_ != "PodScheduled");
    conditions.push(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        message: message.map(str::to_owned),
        last_transition_time: since.or(Some(Time(now))),
        ..PodCondition::default()
    });
}

fn draft(pod: &Pod, warning: bool, reason: &str, message: String) -> EventDraft {
    let about = Object::from(pod.clone());
    EventDraft { about: about.key(), uid: about.uid().to_owned(), warning, reason: reason.to_owned(), message, source: "default-scheduler" }
}
