//! Does a pod fit beside those bound already: resources against allocatable, the number of pods, host ports
//! (scheduler plugins noderesources/fit.go and nodeports, framework HostPortInfo).
//!
//! Guarantees: every reason is given. Where the node has no allocatable yet, resources don't gate. The pod itself among `bound` doesn't count.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::api::Object;
use crate::api::quantity::{Amounts, amounts, pod_requests};

/// Whether `pod` fits on `node` beside `bound` (the pods bound here that are not terminal); otherwise the scheduler's words
/// (`Too many pods`, `Insufficient cpu`, `node(s) didn't have free ports for the requested pod ports`).
pub fn fits(pod: &Pod, bound: &[Arc<Object>], node: &Node) -> Result<(), Vec<String>> {
    let others: Vec<&Pod> = bound.iter().filter_map(|o| o.as_pod()).filter(|p| p.metadata.uid != pod.metadata.uid).collect();
    let mut reasons = Vec::new();
    if let Some(allocatable) = allocatable(node) {
        reasons.extend(lacking(pod, &others, &allocatable));
    }
    let taken: Vec<HostPort> = others.iter().flat_map(|p| host_ports(p)).collect();
    if host_ports(pod).iter().any(|port| taken.iter().any(|other| port.clashes(other))) {
        reasons.push("node(s) didn't have free ports for the requested pod ports".to_owned());
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

fn allocatable(node: &Node) -> Option<Amounts> {
    Some(amounts(node.status.as_ref()?.allocatable.as_ref()?))
}

fn lacking(pod: &Pod, others: &[&Pod], allocatable: &Amounts) -> Vec<String> {
    let mut reasons = Vec::new();
    let pods = i64::try_from(others.len()).unwrap_or(i64::MAX).saturating_add(1);
    if allocatable.get("pods").is_some_and(|limit| pods > *limit) {
        reasons.push("Too many pods".to_owned());
    }
    let mut used = Amounts::new();
    for other in others {
        for (name, value) in requests(other) {
            let sum = used.entry(name).or_default();
            *sum = sum.saturating_add(value);
        }
    }
    for (name, wanted) in requests(pod).into_iter().filter(|(_, wanted)| *wanted > 0) {
        let free = allocatable.get(&name).copied().unwrap_or(0).saturating_sub(used.get(&name).copied().unwrap_or(0));
        if wanted > free {
            reasons.push(format!("Insufficient {name}"));
        }
    }
    reasons
}

fn requests(pod: &Pod) -> Amounts {
    pod.spec.as_ref().map(pod_requests).unwrap_or_default()
}

/// A port of the host, as a pod asks for it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct HostPort {
    protocol: String,
    ip: String,
    port: i32,
}

impl HostPort {
    /// Same protocol and port, and the same address or one of them all addresses.
    fn clashes(&self, other: &HostPort) -> bool {
        const ALL: &str = "0.0.0.0";
        let addresses = self.ip == other.ip || self.ip == ALL || other.ip == ALL;
        self.protocol == other.protocol && self.port == other.port && addresses
    }
}

fn host_ports(pod: &Pod) -> BTreeSet<HostPort> {
    let Some(spec) = &pod.spec else { return BTreeSet::new() };
    let host_network = spec.host_network == Some(true);
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let or = |text: &Option<String>, default: &str| text.as_deref().filter(|t| !t.is_empty()).unwrap_or(default).to_owned();
    ports
        .filter_map(|p| {
            let port = p.host_port.filter(|n| *n > 0).or(host_network.then_some(p.container_port))?;
            Some(HostPort { protocol: or(&p.protocol, "TCP"), ip: or(&p.host_ip, "0.0.0.0"), port })
        })
        .filter(|p| p.port > 0)
        .collect()
}
