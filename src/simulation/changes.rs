//! What is done to the node from outside.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Change;

/// The node as it starts: every taint with the time it counts from.
pub(super) fn prepared(node: &Node, now: Timestamp) -> Node {
    let mut node = node.clone();
    for taint in node.spec.iter_mut().flat_map(|s| s.taints.iter_mut().flatten()) {
        taint.time_added.get_or_insert(Time(now));
    }
    node
}

/// Changes the node; says what was done, or nothing where the change is none of the node's.
pub(super) fn to_node(node: &mut Node, change: Change, now: Timestamp) -> Option<String> {
    let spec = node.spec.get_or_insert_default();
    match change {
        Change::Taint(taint) => {
            let taints = spec.taints.get_or_insert_default();
            taints.retain(|t| (&t.key, &t.effect) != (&taint.key, &taint.effect));
            let said = format!("taint {} added", shown(&taint));
            taints.push(Taint { time_added: Some(Time(now)), ..taint });
            Some(said)
        }
        Change::Untaint(key) => {
            spec.taints.iter_mut().for_each(|taints| taints.retain(|t| t.key != key));
            Some(format!("taint {key} removed"))
        }
        Change::Cordon(on) => {
            spec.unschedulable = Some(on);
            Some(if on { "cordoned" } else { "uncordoned" }.to_owned())
        }
        Change::Label(key, value) => {
            let labels = node.metadata.labels.get_or_insert_default();
            let said = value.as_ref().map_or_else(|| format!("label {key} removed"), |value| format!("label {key}={value} set"));
            match value {
                Some(value) => labels.insert(key, value),
                None => labels.remove(&key),
            };
            Some(said)
        }
        Change::Manifests(_) | Change::Clock(_) | Change::Reboot => None,
    }
}

fn shown(taint: &Taint) -> String {
    let value = taint.value.as_deref().map(|v| format!("={v}")).unwrap_or_default();
    format!("{}{value}:{}", taint.key, taint.effect)
}
