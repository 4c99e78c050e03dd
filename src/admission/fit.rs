//! Does a pod fit beside those bound already: resources against allocatable, the number of pods, host ports
//! (scheduler plugins noderesources/fit.go and nodeports, framework HostPortInfo).
//!
//! Guarantees: every reason is given. Where the node has no allocatable yet, resources don't gate, but for its devices. The pod itself among `bound` doesn't count.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::api::quantity::{Amounts, amounts, pod_requests};
use crate::api::validation::is_extended_resource;
use crate::api::{Object, devices};

/// Whether `pod` fits on `node` beside `bound` (the pods bound here that are not terminal); otherwise the scheduler's words
/// (`Too many pods`, `Insufficient cpu`, `node(s) didn't have free ports for the requested pod ports`).
pub fn fits(pod: &Pod, bound: &[Arc<Object>], node: &Node) -> Result<(), Vec<String>> {
    let others: Vec<&Pod> = bound.iter().filter_map(|o| o.as_pod()).filter(|p| p.metadata.uid != pod.metadata.uid).collect();
    let mut reasons = Vec::new();
    reasons.extend(lacking(pod, &others, &Allocatable::of(node, pod)));
    let taken: Vec<HostPort> = others.iter().flat_map(|p| host_ports(p)).collect();
    if host_ports(pod).iter().any(|port| taken.iter().any(|other| port.clashes(other))) {
        reasons.push("node(s) didn't have free ports for the requested pod ports".to_owned());
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

/// What there is on a node.
struct Allocatable {
    amounts: Amounts,
    /// Whether the node says so at all; of a node that does not, only its devices count.
    is_known: bool,
}

impl Allocatable {
    /// As far as it concerns `pod`. No more of a resource than it has devices: the status may be older than the annotation, or, in a file, none.
    fn of(node: &Node, pod: &Pod) -> Allocatable {
        let said = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
        let mut amounts = said.map(amounts).unwrap_or_default();
        let wants_devices = requests(pod).keys().any(|name| is_extended_resource(name));
        let declared = if wants_devices { devices::of_node(node) } else { devices::Declared::new() };
        for (name, units) in declared {
            let units = i64::try_from(units.len()).unwrap_or(i64::MAX);
            amounts.entry(name).and_modify(|said| *said = units.min(*said)).or_insert(units);
        }
        Allocatable { amounts, is_known: said.is_some() }
    }

    /// `None`: as much as anybody wants.
    fn get(&self, name: &str) -> Option<i64> {
        self.amounts.get(name).copied().or(self.is_known.then_some(0))
    }
}

fn lacking(pod: &Pod, others: &[&Pod], allocatable: &Allocatable) -> Vec<String> {
    let mut reasons = Vec::new();
    let pods = i64::try_from(others.len()).unwrap_or(i64::MAX).saturating_add(1);
    if allocatable.amounts.get("pods").is_some_and(|limit| pods > *limit) {
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
        let free = allocatable.get(&name).map(|all| all.saturating_sub(used.get(&name).copied().unwrap_or(0)));
        if free.is_some_and(|free| wanted > free) {
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
