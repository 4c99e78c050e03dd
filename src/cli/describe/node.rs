//! The node.

use k8s_openapi::api::core::v1::Node;

use super::doc::Doc;
use super::{About, annotations, column, names, pairs};
use crate::cli::duration::since;
use crate::cli::tables;
use crate::pod::phase;

pub(super) fn describe(doc: &mut Doc, node: &Node, about: &About) {
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    names(doc, &node.metadata);
    doc.line(0, format!("Roles:\t{}", tables::roles(node)));
    pairs(doc, "Labels", node.metadata.labels.as_ref());
    annotations(doc, &node.metadata);
    if let Some(created) = &node.metadata.creation_timestamp {
        doc.line(0, format!("CreationTimestamp:\t{}", about.time(created)));
    }
    let taint = |t: &k8s_openapi::api::core::v1::Taint| match t.value.as_deref().unwrap_or_default() {
        "" => format!("{}:{}", t.key, t.effect),
        value => format!("{}={value}:{}", t.key, t.effect),
    };
    column(doc, "Taints", spec.taints.iter().flatten().map(taint).collect());
    doc.line(0, format!("Unschedulable:\t{}", spec.unschedulable.unwrap_or(false)));
    conditions(doc, node, about);
    doc.line(0, "Addresses:");
    for address in status.addresses.iter().flatten() {
        doc.line(1, format!("{}:\t{}", address.type_, address.address));
    }
    for (title, list) in [("Capacity", &status.capacity), ("Allocatable", &status.allocatable)] {
        doc.line(0, format!("{title}:"));
        list.iter().flatten().for_each(|(name, quantity)| doc.line(1, format!("{name}:\t{}", quantity.0)));
    }
    info(doc, node);
    pods(doc, about);
}

fn conditions(doc: &mut Doc, node: &Node, about: &About) {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    if conditions.is_empty() {
        return;
    }
    doc.line(0, "Conditions:");
    doc.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
    doc.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
    for c in conditions {
        let time = |t: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| t.as_ref().map(|t| about.time(t)).unwrap_or_default();
        let (heartbeat, transition) = (time(&c.last_heartbeat_time), time(&c.last_transition_time));
        let (reason, message) = (c.reason.as_deref().unwrap_or_default(), c.message.as_deref().unwrap_or_default());
        doc.line(1, format!("{} \t{} \t{heartbeat} \t{transition} \t{reason} \t{message}", c.type_, c.status));
    }
}

fn info(doc: &mut Doc, node: &Node) {
    let info = node.status.as_ref().and_then(|s| s.node_info.clone()).unwrap_or_default();
    doc.line(0, "System Info:");
    let lines = [
        ("Machine ID", info.machine_id),
        ("System UUID", info.system_uuid),
        ("Boot ID", info.boot_id),
        ("Kernel Version", info.kernel_version),
        ("OS Image", info.os_image),
        ("Operating System", info.operating_system),
        ("Architecture", info.architecture),
        ("Container Runtime Version", info.container_runtime_version),
        ("Kubelet Version", info.kubelet_version),
    ];
    lines.into_iter().for_each(|(name, value)| doc.line(1, format!("{name}:\t{value}")));
}

/// Without kubectl's sums of requests.
fn pods(doc: &mut Doc, about: &About) {
    let pods: Vec<_> = about.pods.iter().filter(|p| !phase::is_terminal(phase::of(p))).collect();
    doc.line(0, format!("Non-terminated Pods:\t({} in total)", pods.len()));
    doc.line(1, "Namespace\tName\t\tAge");
    doc.line(1, "---------\t----\t\t---");
    for pod in pods {
        let (namespace, name) = (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
        doc.line(1, format!("{namespace}\t{name}\t\t{}", since(pod.metadata.creation_timestamp.as_ref(), about.now)));
    }
}
