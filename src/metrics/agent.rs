//! The node, what the kubelet tells of itself, and the agent. Pure.

use k8s_openapi::api::core::v1::{ContainerState, Node, Pod};

use super::exposition::Family;
use super::labels::{Labels, amounts, condition, flag, unix, with};
use crate::api::fault::{Fault, Severity};
use crate::api::quantity;
use crate::controllers::pods::phase;

/// The node as kube-state-metrics tells of it.
pub fn node(node: &Node) -> Vec<Family> {
    let of: Labels = vec![("node", node.metadata.name.clone().unwrap_or_default())];
    let (spec, status) = (node.spec.clone().unwrap_or_default(), node.status.clone().unwrap_or_default());
    let unit = |name, help| Family::gauge(name, help);
    let mut info = unit("kube_node_info", "Information about a cluster node.");
    let about = status.node_info.unwrap_or_default();
    let more = [
        ("kernel_version", about.kernel_version),
        ("os_image", about.os_image),
        ("container_runtime_version", about.container_runtime_version),
        ("kubelet_version", about.kubelet_version),
    ];
    info.add(of.iter().cloned().chain(more).collect(), 1.0);
    let mut unschedulable = unit("kube_node_spec_unschedulable", "Whether a node can schedule new pods.");
    unschedulable.add(of.clone(), flag(spec.unschedulable == Some(true)));
    let mut taints = unit("kube_node_spec_taint", "The taint of a cluster node.");
    for taint in spec.taints.iter().flatten() {
        let value = taint.value.as_deref().unwrap_or_default();
        taints.add(with(&with(&with(&of, "key", &taint.key), "value", value), "effect", &taint.effect), 1.0);
    }
    let mut conditions = unit("kube_node_status_condition", "The condition of a cluster node.");
    for one in status.conditions.iter().flatten() {
        condition(&mut conditions, &with(&of, "condition", &one.type_), "status", &one.status);
    }
    let mut capacity = unit("kube_node_status_capacity", "The total amount of resources available for a node.");
    let mut allocatable = unit("kube_node_status_allocatable", "The amount of resources allocatable for pods.");
    for (family, list) in [(&mut capacity, status.capacity), (&mut allocatable, status.allocatable)] {
        amounts(family, &of, &list.as_ref().map(quantity::amounts).unwrap_or_default());
    }
    vec![info, unschedulable, taints, conditions, capacity, allocatable]
}

/// What the kubelet tells of pods and containers by number.
pub fn kubelet(pods: &[&Pod], node: &str) -> Vec<Family> {
    let mut name = Family::gauge("kubelet_node_name", "The node's name. The count is always 1.");
    name.add(vec![("node", node.to_owned())], 1.0);
    let running = pods.iter().filter(|pod| phase(pod) == "Running").count();
    let mut containers = Family::gauge("kubelet_running_containers", "Number of containers currently running.");
    let state = |state: &ContainerState| match state {
        ContainerState { running: Some(_), .. } => "running",
        ContainerState { terminated: Some(_), .. } => "exited",
        _ => "created",
    };
    let statuses = pods.iter().filter_map(|pod| pod.status.as_ref()).flat_map(|s| s.container_statuses.iter().flatten());
    let states: Vec<&str> = statuses.filter_map(|c| c.state.as_ref()).map(state).collect();
    for wanted in ["created", "exited", "running"] {
        containers.add(vec![("container_state", wanted.to_owned())], states.iter().filter(|s| **s == wanted).count() as f64);
    }
    vec![name, Family::gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox.").with(running as f64), containers]
}

/// What only this agent has.
pub struct Own<'a> {
    /// What is wrong in the manifests directory.
    pub faults: &'a [Fault],
    /// containerd's version, "" unless it answers.
    pub containerd: &'a str,
    /// Whether what ran before was taken over.
    pub adopted: bool,
    /// How many events are kept.
    pub events: usize,
    /// When the reconcile loop last turned.
    pub last_turn: Option<jiff::Timestamp>,
}

/// The agent's own.
pub fn own(own: &Own) -> Vec<Family> {
    let mut build = Family::gauge("minik8s_build_info", "The agent's version, and containerd's.");
    build.add(vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("containerd", own.containerd.to_owned())], 1.0);
    let mut faults = Family::gauge("minik8s_manifest_faults", "What is wrong in the manifests directory, by severity.");
    for (name, severity) in [("error", Severity::Error), ("warning", Severity::Warning), ("info", Severity::Info)] {
        faults.add(vec![("severity", name.to_owned())], own.faults.iter().filter(|f| f.severity == severity).count() as f64);
    }
    let adopted = Family::gauge("minik8s_adopted", "Whether the agent has taken over what runs and starts pods.").with(flag(own.adopted));
    let mut turn = Family::gauge("minik8s_reconcile_last_turn_timestamp_seconds", "When the reconcile loop last turned.");
    own.last_turn.into_iter().for_each(|at| turn.add(Vec::new(), unix(at)));
    vec![build, faults, adopted, Family::gauge("minik8s_events", "Events that are kept.").with(own.events as f64), turn]
}

/// The process, from /proc: `stat`, how many files it has open, and how many it may.
pub fn process(stat: &str, open: usize, limits: &str, ticks: f64, page: f64, started: jiff::Timestamp) -> Vec<Family> {
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
    let most = limits.lines().find_map(|l| l.strip_prefix("Max open files")).and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
    vec![
        Family::counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
            .with((number(11) + number(12)) / ticks),
        Family::gauge("process_resident_memory_bytes", "Resident memory size in bytes.").with(number(21) * page),
        Family::gauge("process_open_fds", "Number of open file descriptors.").with(open as f64),
        Family::gauge("process_max_fds", "Maximum number of open file descriptors.").with(most.unwrap_or_default()),
        Family::gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.").with(unix(started)),
    ]
}
