//! This host as a Node: its own labels, those of flags and of the `kind: Node` manifest, taints, capacity. Pure.
//!
//! From weakest to strongest: the agent's own labels, flags, the manifest, and what commands have said (`node_edits`, which tells how long).

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Settings;
use super::node_edits::{Declared, Memory, UNSCHEDULABLE};
use crate::api::validation::is_extended_resource;
use crate::api::{Key, Kind, devices, quantity};
use crate::controllers::EventDraft;
use crate::controllers::pressure::{self, Conditions};
use crate::host::HostFacts;
use crate::runtime::presence::Presence;

/// The kubelet's default hard eviction threshold for memory, which it keeps back from allocatable (pkg/kubelet/apis/config/v1beta1/defaults).
const EVICTION_MEMORY: u64 = 100 * 1024 * 1024;

/// What a Node is made from.
pub struct Inputs<'a> {
    /// What the user set by flags.
    pub settings: &'a Settings,
    /// What the host is.
    pub host: &'a HostFacts,
    /// The `kind: Node` manifest with this node's name, if there is one.
    pub manifest: Option<&'a Node>,
    /// The Node as it was stored.
    pub previous: Option<&'a Node>,
    /// The host's addresses.
    pub addresses: &'a [std::net::IpAddr],
    /// The container runtime.
    pub runtime: &'a Presence,
    /// The pressure it is under; `None`: not measured yet, what was stored holds.
    pub pressure: Option<&'a Conditions>,
    /// Now.
    pub now: Timestamp,
}

/// This host's Node, with the labels, annotations, taints and schedulability that `holds`. Building it again from its own result and the same
/// inputs gives the same value, so that nothing is written for nothing.
pub fn build(inputs: &Inputs, holds: &Declared) -> Node {
    let mut node = inputs.previous.cloned().unwrap_or_default();
    node.metadata.name = Some(inputs.settings.node_name.clone());
    node.metadata.creation_timestamp.get_or_insert(Time(inputs.now));
    node.status = Some(status(inputs, &devices::declared(Some(&holds.annotations))));
    with(node, holds, inputs.now)
}

/// `node` with what `holds` about it. A taint that was there before keeps its timeAdded, from which tolerationSeconds count.
pub fn with(mut node: Node, holds: &Declared, now: Timestamp) -> Node {
    let before = node.spec.take().and_then(|s| s.taints).unwrap_or_default();
    let cordon = Taint { key: UNSCHEDULABLE.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    let of_conditions = pressure::taints(&node);
    let declared = holds.taints.iter().filter(|t| !pressure::is_taint(&t.key)).cloned();
    let mut taints: Vec<Taint> = declared.chain(holds.unschedulable.then_some(cordon)).chain(of_conditions).collect();
    for taint in &mut taints {
        let known = before.iter().find(|b| (&b.key, &b.value, &b.effect) == (&taint.key, &taint.value, &taint.effect));
        taint.time_added = known.and_then(|k| k.time_added.clone()).or(Some(Time(now)));
    }
    node.metadata.labels = Some(holds.labels.clone());
    node.metadata.annotations = (!holds.annotations.is_empty()).then(|| holds.annotations.clone());
    let taints = (!taints.is_empty()).then_some(taints);
    node.spec = Some(NodeSpec { taints, unschedulable: holds.unschedulable.then_some(true), ..NodeSpec::default() });
    node
}

/// What flags and manifest say: of a taint with the same key and effect, and of a label, the manifest's value counts.
pub fn declared(inputs: &Inputs) -> Declared {
    let spec = inputs.manifest.and_then(|m| m.spec.as_ref());
    let mut taints: Vec<Taint> = Vec::new();
    for taint in inputs.settings.taints.iter().chain(spec.and_then(|s| s.taints.as_ref()).into_iter().flatten()) {
        taints.retain(|t| (&t.key, &t.effect) != (&taint.key, &taint.effect));
        taints.push(Taint { time_added: None, ..taint.clone() });
    }
    let cordoned = taints.iter().any(|t| t.key == UNSCHEDULABLE && t.effect == "NoSchedule");
    taints.retain(|t| t.key != UNSCHEDULABLE || t.effect != "NoSchedule");
    Declared {
        labels: labels(inputs),
        annotations: inputs.manifest.and_then(|m| m.metadata.annotations.clone()).unwrap_or_default(),
        taints,
        unschedulable: cordoned || spec.and_then(|s| s.unschedulable) == Some(true),
    }
}

/// The kubelet's event for a node that was cordoned or uncordoned (pkg/kubelet/kubelet_node_status.go recordNodeSchedulableEvent).
pub fn event(before: Option<&Node>, after: &Node) -> Option<EventDraft> {
    let cordoned = |node: &Node| node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true);
    let (was, is) = (before.map(cordoned)?, cordoned(after));
    let name = after.metadata.name.clone().unwrap_or_default();
    let reason = if is { "NodeNotSchedulable" } else { "NodeSchedulable" };
    let message = format!("Node {name} status is now: {reason}");
    let uid = after.metadata.uid.clone().unwrap_or_default();
    (was != is).then(|| EventDraft::new("kubelet", Key::new(Kind::Node, "", name), uid, false, reason, message))
}

/// What is remembered, brought up to what is declared now. `unread`: the manifest is there and cannot be read.
pub fn follow(memory: Memory, inputs: &Inputs, unread: bool) -> Memory {
    memory.follow((!unread).then(|| declared(inputs)))
}

fn labels(inputs: &Inputs) -> BTreeMap<String, String> {
    let arch = inputs.host.arch.as_str();
    let own = [
        ("kubernetes.io/hostname", inputs.settings.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ];
    let mut labels: BTreeMap<String, String> = own.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    labels.extend(inputs.settings.labels.clone());
    labels.extend(inputs.manifest.and_then(|m| m.metadata.labels.clone()).unwrap_or_default());
    labels
}

/// `devices`: what stands for extended resources, as the node's annotations say.
fn status(inputs: &Inputs, devices: &devices::Declared) -> NodeStatus {
    let (host, previous) = (inputs.host, inputs.previous.and_then(|n| n.status.as_ref()));
    let capacity = |memory: u64| {
        let usual = [
            ("cpu".to_owned(), cpu(host.cpu_millis)),
            ("memory".to_owned(), Quantity(format!("{}Ki", memory / 1024))),
            ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", host.ephemeral_storage_bytes / 1024))),
            ("pods".to_owned(), Quantity(inputs.settings.max_pods.to_string())),
        ];
        usual.into_iter().chain(huge_pages(host)).collect()
    };
    let declared = inputs.manifest.and_then(|m| m.status.as_ref());
    let (declared_capacity, declared_allocatable) =
        (declared.and_then(|s| s.capacity.as_ref()), declared.and_then(|s| s.allocatable.as_ref()));
    // Where one of the two is not declared the other stands for it; what comes later in `order` wins.
    let extended = |own: BTreeMap<String, Quantity>, order: [Option<&BTreeMap<String, Quantity>>; 2]| {
        let declared = order.into_iter().flatten().flatten();
        let declared = declared.filter(|(name, _)| is_extended_resource(name));
        let mut all: BTreeMap<String, Quantity> = declared.map(|(name, amount)| (name.clone(), amount.clone())).chain(own).collect();
        devices.iter().for_each(|(name, units)| have_devices(&mut all, name, units.len()));
        all
    };
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    let mut addresses: Vec<NodeAddress> = inputs.addresses.iter().map(|ip| address("InternalIP", ip.to_string())).collect();
    addresses.push(address("Hostname", inputs.settings.node_name.clone()));
    NodeStatus {
        capacity: Some(extended(capacity(host.memory_bytes), [declared_allocatable, declared_capacity])),
        allocatable: Some(extended(capacity(allocatable_memory(host)), [declared_capacity, declared_allocatable])),
        addresses: Some(addresses),
        conditions: Some(conditions(inputs, previous)),
        node_info: Some(info(inputs)),
        ..NodeStatus::default()
    }
}

/// As many of a resource as it has devices, or fewer where the manifest says so.
fn have_devices(all: &mut BTreeMap<String, Quantity>, name: &str, units: usize) {
    let said = all.get(name).and_then(quantity::whole).and_then(|said| usize::try_from(said).ok());
    all.insert(name.to_owned(), Quantity(said.map_or(units, |said| said.min(units)).to_string()));
}

/// What is set aside for huge pages is no other memory (pkg/kubelet/nodestatus/setters.go MachineInfo).
fn allocatable_memory(host: &HostFacts) -> u64 {
    let set_aside = host.hugepages.iter().map(|(size, count)| size.saturating_mul(*count)).fold(0, u64::saturating_add);
    host.memory_bytes.saturating_sub(EVICTION_MEMORY).saturating_sub(set_aside)
}

/// `hugepages-2Mi` and the like, in bytes (pkg/kubelet/cadvisor CapacityFromMachineInfo).
fn huge_pages(host: &HostFacts) -> impl Iterator<Item = (String, Quantity)> {
    let shown = |bytes: u64| quantity::parse(&format!("{}Ki", bytes / 1024)).map_or_else(|_| bytes.to_string(), |q| q.to_string());
    host.hugepages.iter().map(move |(size, count)| (format!("hugepages-{}", shown(*size)), Quantity(shown(size.saturating_mul(*count)))))
}

fn conditions(inputs: &Inputs, previous: Option<&NodeStatus>) -> Vec<NodeCondition> {
    let stored = || inputs.previous.map(pressure::conditions_of).unwrap_or_default();
    let holds = inputs.pressure.cloned().unwrap_or_else(stored);
    let mut all = pressure::node_conditions(previous, &holds, inputs.now);
    all.push(ready(previous, inputs.runtime, inputs.now));
    all
}

fn cpu(millis: u64) -> Quantity {
    Quantity(if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") })
}

/// Ready while the container runtime answers (the kubelet's words, pkg/kubelet/nodestatus/setters.go ReadyCondition). No taint comes of it: there
/// is no other node to go to, and what runs goes on without the runtime.
fn ready(previous: Option<&NodeStatus>, runtime: &Presence, now: Timestamp) -> NodeCondition {
    let (status, reason, message) = match runtime.fault() {
        Some(fault) => ("False", "KubeletNotReady", fault),
        None => ("True", "KubeletReady", "minik8s is posting ready status"),
    };
    let before = previous.and_then(|s| s.conditions.as_deref()).unwrap_or_default().iter().find(|c| c.type_ == "Ready");
    let before = before.filter(|c| c.status == status);
    before.filter(|c| c.message.as_deref() == Some(message)).cloned().unwrap_or_else(|| NodeCondition {
        type_: "Ready".to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(Time(now)),
        // Another reason for the same is no transition.
        last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
    })
}

fn info(inputs: &Inputs) -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: inputs.host.arch.clone(),
        boot_id: inputs.host.boot_id.clone(),
        container_runtime_version: inputs.runtime.version().to_owned(),
        kernel_version: inputs.host.kernel.clone(),
        kubelet_version: concat!("v", env!("CARGO_PKG_VERSION"), "+minik8s").to_owned(),
        machine_id: inputs.host.machine_id.clone(),
        operating_system: "linux".to_owned(),
        os_image: inputs.host.os_image.clone(),
        ..NodeSystemInfo::default()
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
