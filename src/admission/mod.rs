//! May this Pod run on this Node: nodeName, nodeSelector, node affinity, taints, resources and host ports, with Kubernetes' words for every no.
//!
//! Guarantees: pure; all reasons are given at once, not only the first. [`eligible`] is what the node *is* (it decides whether a workload gets
//! pods here), [`fits`] is what is free *now* (it decides whether a pod is bound). Left to others: asking again when the node changes.

mod affinity;
pub mod devices;
mod fit;
pub mod security;
mod taints;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Taint};

use crate::pod::qos::{BEST_EFFORT, qos_class};

pub use fit::fits;
pub use taints::{Eviction, daemon_tolerations, no_execute, tolerates};

/// Why nothing new starts on a cordoned node.
pub const UNSCHEDULABLE_REASON: &str = "node(s) were unschedulable";
/// The taint `spec.unschedulable` stands for.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Whether a pod suits a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// A new pod may start.
    pub should_run: bool,
    /// A pod that runs already may go on.
    pub should_continue: bool,
    /// Why not, in the scheduler's words, each followed by what decided where Kubernetes names no detail. Empty if `should_run`.
    pub reasons: Vec<String>,
}

/// Whether `spec` suits `node` (pkg/controller/daemon NodeShouldRunDaemonPod, scheduler plugins nodename, nodeaffinity, tainttoleration,
/// nodeunschedulable). A mismatch of name or affinity stops running pods too; an untolerated NoSchedule taint (or `spec.unschedulable`) keeps new
/// ones away; an untolerated NoExecute taint does both. PreferNoSchedule never decides.
pub fn eligible(spec: &PodSpec, node: &Node) -> Verdict {
    let mut reasons = placement_reasons(spec, node);
    let fits_name = reasons.is_empty();
    let mut evicted = false;
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let (node_taints, unschedulable) = taints::of(node);
    if cordoned_for(spec, node) {
        reasons.push(UNSCHEDULABLE_REASON.to_owned());
    }
    for taint in node_taints.iter().filter(|t| t.effect != "PreferNoSchedule") {
        if taint.key == UNSCHEDULABLE && unschedulable || tolerations.iter().any(|t| tolerates(t, taint)) {
            continue;
        }
        evicted |= taint.effect == "NoExecute";
        reasons.push(format!("node(s) had untolerated taint {{{}: {}}}", taint.key, taint.value.as_deref().unwrap_or_default()));
    }
    Verdict { should_run: reasons.is_empty(), should_continue: fits_name && !evicted, reasons }
}

/// Whether the node is cordoned and `spec` does not tolerate it.
pub fn cordoned_for(spec: &PodSpec, node: &Node) -> bool {
    taints::of(node).1 && !taints::tolerates_unschedulable(spec.tolerations.as_deref().unwrap_or_default())
}

/// The reasons of [`eligible`] that no toleration can lift: nodeName, nodeSelector and required affinity. All a static pod is asked for (the kubelet
/// gives its static pods a toleration of every NoExecute taint and knows no NoSchedule).
pub fn placement_reasons(spec: &PodSpec, node: &Node) -> Vec<String> {
    let mut reasons = Vec::new();
    let name = node.metadata.name.as_deref().unwrap_or_default();
    if let Some(wanted) = spec.node_name.as_deref().filter(|wanted| !wanted.is_empty() && *wanted != name) {
        reasons.push(format!("node(s) didn't match the requested node name ({wanted})"));
    }
    if let Err(why) = affinity::matches(spec, node) {
        reasons.push(format!("node(s) didn't match Pod's node affinity/selector ({why})"));
    }
    reasons
}

/// Why a node under pressure takes no such pod (eviction manager's Admit): under memory pressure alone one of quality BestEffort that does not
/// tolerate that, under any other every pod but a `critical` one.
pub fn pressure(pod: &Pod, node: &Node, critical: bool) -> Option<String> {
    const MEMORY: &str = "MemoryPressure";
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let kinds = [MEMORY, "DiskPressure", "PIDPressure"];
    let holds: Vec<&str> = kinds.into_iter().filter(|k| conditions.iter().any(|c| c.type_ == *k && c.status == "True")).collect();
    if holds.is_empty() || critical {
        return None;
    }
    let taint = Taint { key: "node.kubernetes.io/memory-pressure".to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
    if holds == [MEMORY] && (qos_class(pod) != BEST_EFFORT || tolerations.iter().any(|t| tolerates(t, &taint))) {
        return None;
    }
    Some(format!("The node had condition: [{}]. ", holds.join(" ")))
}

/// The scheduler's sentence for one node (framework FitError): `0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods.`
pub fn unavailable(reasons: &[String]) -> String {
    let mut sorted: Vec<String> = reasons.iter().map(|r| format!("1 {r}")).collect();
    sorted.sort();
    format!("0/1 nodes are available: {}.", sorted.join(", "))
}

#[cfg(test)]
mod tests;
