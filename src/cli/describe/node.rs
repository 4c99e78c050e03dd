//! The node.

use k8s_openapi::api::core::v1::Node;

use super::doc::Doc;
use super::{About, annotations, column, names, pairs};
use crate::api::quantity::{Amounts, amounts, pod_limits, pod_requests};
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
    pods(doc, node, about);
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

fn pods(doc: &mut Doc, node: &Node, about: &About) {
    let pods: Vec<_> = about.pods.iter().filter(|p| !phase::is_terminal(phase::of(p))).collect();
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref()).map(amounts).unwrap_or_default();
    doc.line(0, format!("Non-terminated Pods:\t({} in total)", pods.len()));
    doc.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    doc.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    for pod in pods {
        let (namespace, name) = (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
        let (wanted, most) = pod.spec.as_ref().map(|spec| (pod_requests(spec), pod_limits(spec))).unwrap_or_default();
        let share = |amounts: &Amounts, resource: &str| of(amounts, resource, &allocatable);
        let (cpu, memory) = ((share(&wanted, "cpu"), share(&most, "cpu")), (share(&wanted, "memory"), share(&most, "memory")));
        let age = since(pod.metadata.creation_timestamp.as_ref(), about.now);
        doc.line(1, format!("{namespace}\t{name}\t\t{}\t{}\t{}\t{}\t{age}", cpu.0, cpu.1, memory.0, memory.1));
        add(&mut requests, wanted);
        add(&mut limits, most);
    }
    allocated(doc, &requests, &limits, &allocatable);
}

fn allocated(doc: &mut Doc, requests: &Amounts, limits: &Amounts, allocatable: &Amounts) {
    doc.line(0, "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)");
    doc.line(1, "Resource\tRequests\tLimits");
    doc.line(1, "--------\t--------\t------");
    let usual = ["cpu", "memory", "ephemeral-storage"];
    let others = allocatable.keys().map(String::as_str).filter(|name| !usual.contains(name) && *name != "pods");
    for resource in usual.into_iter().chain(others) {
        doc.line(1, format!("{resource}\t{}\t{}", of(requests, resource, allocatable), of(limits, resource, allocatable)));
    }
}

fn add(total: &mut Amounts, more: Amounts) {
    for (name, value) in more {
        let sum = total.entry(name).or_default();
        *sum = sum.saturating_add(value);
    }
}

/// `100m (5%)`: an amount, and how much that is of what can be allocated.
fn of(amounts: &Amounts, resource: &str, allocatable: &Amounts) -> String {
    let amount = amounts.get(resource).copied().unwrap_or_default();
    let whole = allocatable.get(resource).copied().filter(|whole| *whole > 0);
    let percent = whole.map_or(0, |whole| i128::from(amount) * 100 / i128::from(whole));
    let shown = if resource == "cpu" { cores(amount) } else { binary(amount) };
    format!("{shown} ({percent}%)")
}

fn cores(milli: i64) -> String {
    if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") }
}

/// With the largest binary unit that leaves no remainder, as Kubernetes writes quantities (apimachinery pkg/api/resource, CanonicalizeBytes).
fn binary(bytes: i64) -> String {
    let units = ["Ei", "Pi", "Ti", "Gi", "Mi", "Ki"];
    let size = |at: usize| 1_i64 << (10 * (units.len() - at));
    let fits = (0..units.len()).find(|at| bytes != 0 && bytes % size(*at) == 0);
    fits.map_or_else(|| bytes.to_string(), |at| format!("{}{}", bytes / size(at), units[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_as_kubernetes_writes_them() {
        assert_eq!([0, 1500, 2000].map(cores), ["0", "1500m", "2"]);
        assert_eq!([0, 1000, 1024, 3 << 20, 1 << 60, (1 << 30) + 1].map(binary), ["0", "1000", "1Ki", "3Mi", "1Ei", "1073741825"]);
        let amounts = |cpu: i64| Amounts::from([("cpu".to_owned(), cpu)]);
        assert_eq!(of(&amounts(300), "cpu", &amounts(2000)), "300m (15%)");
        assert_eq!(of(&amounts(300), "cpu", &Amounts::new()), "300m (0%)");
    }
}
