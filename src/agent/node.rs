//! This host as a Node: its own labels, those of flags and of the `kind: Node` manifest, taints, capacity. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Settings;
use crate::host::HostFacts;

/// The kubelet's default hard eviction threshold for memory, which it keeps back from allocatable (pkg/kubelet/apis/config/v1beta1/defaults).
const EVICTION_MEMORY: u64 = 100 * 1024 * 1024;
/// The taint of an unschedulable node (staging/src/k8s.io/api/core/v1/well_known_taints.go).
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

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
    /// The container runtime and its version (`containerd://1.6.20`), "" while unknown.
    pub runtime: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// This host's Node. Building it again from its own result and the same inputs gives the same value, so that nothing is written for nothing.
pub fn build(inputs: &Inputs) -> Node {
    let mut node = inputs.previous.cloned().unwrap_or_default();
    node.metadata.name = Some(inputs.settings.node_name.clone());
    node.metadata.labels = Some(labels(inputs));
    node.metadata.annotations = inputs.manifest.and_then(|m| m.metadata.annotations.clone());
    node.metadata.creation_timestamp.get_or_insert(Time(inputs.now));
    let manifest = inputs.manifest.and_then(|m| m.spec.as_ref());
    let unschedulable = manifest.and_then(|s| s.unschedulable);
    let taints = taints(inputs, unschedulable == Some(true));
    node.spec = Some(NodeSpec { taints: (!taints.is_empty()).then_some(taints), unschedulable, ..NodeSpec::default() });
    node.status = Some(status(inputs));
    node
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

/// Flags' taints, then the manifest's (same key and effect: the manifest's value), then the one for an unschedulable node. A taint that
/// was there before keeps its timeAdded, from which tolerationSeconds count.
fn taints(inputs: &Inputs, unschedulable: bool) -> Vec<Taint> {
    let manifest = inputs.manifest.and_then(|m| m.spec.as_ref()).and_then(|s| s.taints.clone()).unwrap_or_default();
    let cordon = unschedulable.then(|| Taint { key: UNSCHEDULABLE.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() });
    let mut taints: Vec<Taint> = Vec::new();
    for taint in inputs.settings.taints.iter().cloned().chain(manifest).chain(cordon) {
        taints.retain(|t| (&t.key, &t.effect) != (&taint.key, &taint.effect));
        taints.push(taint);
    }
    let before = inputs.previous.and_then(|n| n.spec.as_ref()).and_then(|s| s.taints.as_deref()).unwrap_or_default();
    for taint in &mut taints {
        let known = before.iter().find(|b| (&b.key, &b.value, &b.effect) == (&taint.key, &taint.value, &taint.effect));
        taint.time_added = known.and_then(|k| k.time_added.clone()).or(Some(Time(inputs.now)));
    }
    taints
}

fn status(inputs: &Inputs) -> NodeStatus {
    let (host, previous) = (inputs.host, inputs.previous.and_then(|n| n.status.as_ref()));
    let capacity = |memory: u64| {
        BTreeMap::from([
            ("cpu".to_owned(), cpu(host.cpu_millis)),
            ("memory".to_owned(), Quantity(format!("{}Ki", memory / 1024))),
            ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", host.ephemeral_storage_bytes / 1024))),
            ("pods".to_owned(), Quantity(inputs.settings.max_pods.to_string())),
        ])
    };
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    let mut addresses: Vec<NodeAddress> = inputs.addresses.iter().map(|ip| address("InternalIP", ip.to_string())).collect();
    addresses.push(address("Hostname", inputs.settings.node_name.clone()));
    NodeStatus {
        capacity: Some(capacity(host.memory_bytes)),
        allocatable: Some(capacity(host.memory_bytes.saturating_sub(EVICTION_MEMORY))),
        addresses: Some(addresses),
        conditions: Some(vec![ready(previous, inputs.now)]),
        node_info: Some(info(inputs)),
        ..NodeStatus::default()
    }
}

fn cpu(millis: u64) -> Quantity {
    Quantity(if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") })
}

fn ready(previous: Option<&NodeStatus>, now: Timestamp) -> NodeCondition {
    let before = previous.and_then(|s| s.conditions.as_deref()).unwrap_or_default().iter().find(|c| c.type_ == "Ready");
    before.cloned().unwrap_or_else(|| NodeCondition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
        reason: Some("KubeletReady".to_owned()),
        message: Some("minik8s is posting ready status".to_owned()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    })
}

fn info(inputs: &Inputs) -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: inputs.host.arch.clone(),
        boot_id: inputs.host.boot_id.clone(),
        container_runtime_version: inputs.runtime.to_owned(),
        kernel_version: inputs.host.kernel.clone(),
        kubelet_version: concat!("v", env!("CARGO_PKG_VERSION"), "+minik8s").to_owned(),
        machine_id: inputs.host.machine_id.clone(),
        operating_system: "linux".to_owned(),
        os_image: inputs.host.os_image.clone(),
        ..NodeSystemInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostFacts {
        HostFacts { hostname: "edge-1".into(), ..HostFacts::for_tests() }
    }

    fn settings() -> Settings {
        Settings { node_name: "edge-1".into(), labels: BTreeMap::from([("disk".into(), "ssd".into())]), ..Settings::default() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn build_at(manifest: Option<&Node>, previous: Option<&Node>, second: i64) -> Node {
        build(&Inputs { settings: &settings(), host: &host(), manifest, previous, addresses: &[], runtime: "", now: at(second) })
    }

    fn tainted(value: &str) -> Node {
        let taint = Taint { key: "k".into(), value: Some(value.into()), effect: "NoExecute".into(), time_added: None };
        Node { spec: Some(NodeSpec { taints: Some(vec![taint]), unschedulable: Some(true), ..NodeSpec::default() }), ..Node::default() }
    }

    #[test]
    fn labels_come_from_agent_flags_and_manifest_in_this_order() {
        let mut manifest = Node::default();
        manifest.metadata.labels = Some(BTreeMap::from([("disk".into(), "nvme".into()), ("zone".into(), "a".into())]));
        let labels = build_at(Some(&manifest), None, 1).metadata.labels.unwrap();
        assert_eq!(labels["disk"], "nvme");
        assert_eq!(labels["zone"], "a");
        assert_eq!(labels["kubernetes.io/hostname"], "edge-1");
        assert_eq!(labels["kubernetes.io/arch"], "amd64");
    }

    #[test]
    fn building_again_changes_nothing_and_taints_keep_their_time() {
        let first = build_at(Some(&tainted("x")), None, 1);
        assert_eq!(build_at(Some(&tainted("x")), Some(&first), 99), first);
        let taints = first.spec.clone().unwrap().taints.unwrap();
        assert_eq!(taints.iter().map(|t| t.key.as_str()).collect::<Vec<_>>(), ["k", UNSCHEDULABLE]);
        let changed = build_at(Some(&tainted("y")), Some(&first), 99).spec.unwrap().taints.unwrap();
        assert_eq!(changed[0].time_added, Some(Time(at(99))));
    }

    #[test]
    fn allocatable_keeps_back_what_the_kubelet_keeps_back() {
        let status = build_at(None, None, 1).status.unwrap();
        assert_eq!(status.capacity.unwrap()["memory"].0, "1048576Ki");
        assert_eq!(status.allocatable.unwrap()["memory"].0, "946176Ki");
    }
}
