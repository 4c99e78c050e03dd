//! Nodes' rows.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;

use super::{Row, or_none};
use crate::cli::duration::since;

pub(super) const COLUMNS: &[&str] =
    &["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"];

pub(super) fn row(node: &Node, now: Timestamp) -> Row {
    let info = node.status.as_ref().and_then(|s| s.node_info.clone()).unwrap_or_default();
    let address = |kind: &str| {
        let mut all = node.status.iter().flat_map(|s| s.addresses.iter().flatten());
        or_none(all.find(|a| a.type_ == kind).map(|a| a.address.clone()).unwrap_or_default())
    };
    let or_unknown = |text: String| if text.is_empty() { "<unknown>".to_owned() } else { text };
    vec![
        node.metadata.name.clone().unwrap_or_default(),
        status(node),
        roles(node),
        since(node.metadata.creation_timestamp.as_ref(), now),
        info.kubelet_version,
        address("InternalIP"),
        address("ExternalIP"),
        or_unknown(info.os_image),
        or_unknown(info.kernel_version),
        or_unknown(info.container_runtime_version),
    ]
}

fn status(node: &Node) -> String {
    let mut conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let ready = conditions.find(|c| c.type_ == "Ready").map(|c| c.status == "True");
    let mut status = match ready {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

/// From the labels `node-role.kubernetes.io/<role>` and `kubernetes.io/role=<role>`.
pub(in crate::cli) fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let role = |(key, value): (&String, &String)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) => Some(role.to_owned()),
        None => (key == "kubernetes.io/role").then(|| value.clone()),
    };
    let roles: BTreeSet<String> = labels.filter_map(role).filter(|role| !role.is_empty()).collect();
    or_none(roles.into_iter().collect::<Vec<_>>().join(","))
}
