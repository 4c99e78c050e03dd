//! Node pressure: which conditions the node is under, and which pod has to go (pkg/kubelet/eviction/eviction_manager.go synchronize). Pure.
//!
//! ```text
//! observations ─▶ thresholds met ─▶ conditions (held for the transition period) ─▶ Node: conditions, taints
//!                        └─▶ the first to reclaim, memory before all else ─▶ what nobody uses is collected ─▶ rank ─▶ one pod
//! ```
//!
//! Guarantees: at most one pod a round; a critical pod never. Left to others: measuring (`host::pressure`, the agent), ending the pod (its worker).

mod rank;
mod threshold;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub use rank::{ContainerUsage, DiskUsage, PodUsage, Victim, victim};
pub use threshold::{Threshold, Value, defaults, parse};

use super::{EventDraft, pods};
use crate::api::{Key, Kind};

/// What is measured. In the order of reclaiming: memory first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// The node's memory without its working set.
    MemoryAvailable,
    /// Bytes free where the agent's state is: volumes, and logs.
    NodefsAvailable,
    /// Inodes free there.
    NodefsInodesFree,
    /// Bytes free where containerd keeps images and containers' layers.
    ImagefsAvailable,
    /// Inodes free there.
    ImagefsInodesFree,
    /// Process ids free.
    PidAvailable,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Signal; 6] = [
        Signal::MemoryAvailable,
        Signal::NodefsAvailable,
        Signal::NodefsInodesFree,
        Signal::ImagefsAvailable,
        Signal::ImagefsInodesFree,
        Signal::PidAvailable,
    ];

    /// Whether disk is what is short.
    pub fn is_disk(self) -> bool {
        !matches!(self, Signal::MemoryAvailable | Signal::PidAvailable)
    }

    /// Its name in `--eviction-hard`.
    pub fn name(self) -> &'static str {
        match self {
            Signal::MemoryAvailable => "memory.available",
            Signal::NodefsAvailable => "nodefs.available",
            Signal::NodefsInodesFree => "nodefs.inodesFree",
            Signal::ImagefsAvailable => "imagefs.available",
            Signal::ImagefsInodesFree => "imagefs.inodesFree",
            Signal::PidAvailable => "pid.available",
        }
    }

    /// The resource that is short (signalToResource).
    pub fn resource(self) -> &'static str {
        match self {
            Signal::MemoryAvailable => "memory",
            Signal::NodefsAvailable | Signal::ImagefsAvailable => "ephemeral-storage",
            Signal::NodefsInodesFree | Signal::ImagefsInodesFree => "inodes",
            Signal::PidAvailable => "pids",
        }
    }

    fn condition(self) -> Condition {
        match self {
            Signal::MemoryAvailable => Condition::MemoryPressure,
            Signal::PidAvailable => Condition::PIDPressure,
            _ => Condition::DiskPressure,
        }
    }
}

/// A condition of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Memory is short.
    MemoryPressure,
    /// Disk space, or inodes.
    DiskPressure,
    /// Process ids.
    PIDPressure,
}

impl Condition {
    /// Every condition, as the kubelet lists them.
    pub const ALL: [Condition; 3] = [Condition::MemoryPressure, Condition::DiskPressure, Condition::PIDPressure];

    /// Its type on the Node.
    pub fn name(self) -> &'static str {
        match self {
            Condition::MemoryPressure => "MemoryPressure",
            Condition::DiskPressure => "DiskPressure",
            Condition::PIDPressure => "PIDPressure",
        }
    }

    /// The taint that keeps new pods away meanwhile (pkg/controller/nodelifecycle).
    pub fn taint(self) -> &'static str {
        match self {
            Condition::MemoryPressure => "node.kubernetes.io/memory-pressure",
            Condition::DiskPressure => "node.kubernetes.io/disk-pressure",
            Condition::PIDPressure => "node.kubernetes.io/pid-pressure",
        }
    }

    /// The condition's reason, its message and the event's reason (pkg/kubelet/nodestatus/setters.go).
    fn words(self, holds: bool) -> [&'static str; 3] {
        match (self, holds) {
            (Condition::MemoryPressure, true) => {
                ["KubeletHasInsufficientMemory", "kubelet has insufficient memory available", "NodeHasInsufficientMemory"]
            }
            (Condition::MemoryPressure, false) => {
                ["KubeletHasSufficientMemory", "kubelet has sufficient memory available", "NodeHasSufficientMemory"]
            }
            (Condition::DiskPressure, true) => ["KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure"],
            (Condition::DiskPressure, false) => ["KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"],
            (Condition::PIDPressure, true) => {
                ["KubeletHasInsufficientPID", "kubelet has insufficient PID available", "NodeHasInsufficientPID"]
            }
            (Condition::PIDPressure, false) => ["KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"],
        }
    }
}

/// How much of something there is and is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// What is left.
    pub available: u64,
    /// All of it.
    pub capacity: u64,
}

/// What was measured; a signal that could not be is absent, and no threshold of it is met.
pub type Observations = BTreeMap<Signal, Observation>;

/// The conditions the node is under, in their order.
pub type Conditions = Vec<Condition>;

/// What is remembered between rounds: when each condition was last observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    last_observed: BTreeMap<Condition, Timestamp>,
}

impl Pressure {
    /// What the stored Node says: an agent that starts anew ends no pressure before its time.
    pub fn of(node: &Node, now: Timestamp) -> Pressure {
        Pressure { last_observed: conditions_of(node).into_iter().map(|condition| (condition, now)).collect() }
    }

    /// Takes a round's observations. Returns the conditions that hold: those observed within `transition`.
    pub fn observe(&mut self, met: &[Threshold], transition: SignedDuration, now: Timestamp) -> Conditions {
        self.last_observed.extend(met.iter().map(|threshold| (threshold.signal.condition(), now)));
        // Ahead of the clock: it was set back.
        self.last_observed.values_mut().for_each(|at| *at = now.min(*at));
        self.last_observed.retain(|_, at| now.duration_since(*at) < transition || *at == now);
        self.last_observed.keys().copied().collect()
    }
}

/// The thresholds that are met, the one to reclaim first in front.
pub fn met(thresholds: &[Threshold], seen: &Observations) -> Vec<Threshold> {
    let short = |t: &&Threshold| seen.get(&t.signal).is_some_and(|o| o.available < t.value.of(o.capacity));
    let mut met: Vec<Threshold> = thresholds.iter().filter(short).cloned().collect();
    met.sort_by_key(|t| t.signal);
    met
}

/// The pressure conditions a Node has.
pub fn conditions_of(node: &Node) -> Conditions {
    let all = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let holds = |wanted: &Condition| all.iter().any(|c| c.type_ == wanted.name() && c.status == "True");
    Condition::ALL.into_iter().filter(holds).collect()
}

/// The Node's pressure conditions where `holds` hold; what has not changed keeps its times.
pub fn node_conditions(previous: Option<&NodeStatus>, holds: &[Condition], now: Timestamp) -> Vec<NodeCondition> {
    let before = previous.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let of = |condition: Condition| {
        let status = if holds.contains(&condition) { "True" } else { "False" };
        let known = before.iter().find(|c| c.type_ == condition.name() && c.status == status);
        known.cloned().unwrap_or_else(|| {
            let [reason, message, _] = condition.words(status == "True");
            NodeCondition {
                type_: condition.name().to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                last_heartbeat_time: Some(Time(now)),
                last_transition_time: Some(Time(now)),
            }
        })
    };
    Condition::ALL.into_iter().map(of).collect()
}

/// The taints that follow from a Node's conditions.
pub fn taints(node: &Node) -> Vec<Taint> {
    let taint = |c: Condition| Taint { key: c.taint().to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    conditions_of(node).into_iter().map(taint).collect()
}

/// Whether a taint follows from the node's conditions and is nobody's to edit.
pub fn is_taint(key: &str) -> bool {
    Condition::ALL.iter().any(|condition| condition.taint() == key)
}

/// The kubelet's events for conditions that have changed.
pub fn events(before: Option<&Node>, after: &Node) -> Vec<EventDraft> {
    let name = after.metadata.name.clone().unwrap_or_default();
    let (was, is) = (before.map(conditions_of).unwrap_or_default(), conditions_of(after));
    let changed = Condition::ALL.into_iter().filter(|c| was.contains(c) != is.contains(c));
    let draft = |condition: Condition| {
        let [_, _, reason] = condition.words(is.contains(&condition));
        about_node(&name, after, false, reason, format!("Node {name} status is now: {reason}"))
    };
    changed.map(draft).collect()
}

/// The event that tells of reclaiming.
pub fn reclaiming(node: &Node, resource: &str) -> EventDraft {
    let name = node.metadata.name.clone().unwrap_or_default();
    about_node(&name, node, true, "EvictionThresholdMet", format!("Attempting to reclaim {resource}"))
}

fn about_node(name: &str, node: &Node, warning: bool, reason: &str, message: String) -> EventDraft {
    let uid = node.metadata.uid.clone().unwrap_or_default();
    EventDraft::new("kubelet", Key::new(Kind::Node, "", name), uid, warning, reason, message)
}

/// Whether a pod is one that the node needs: of a Pod manifest, or of a system priority (kubelet types.IsCriticalPod).
pub fn critical(pod: &Pod) -> bool {
    const SYSTEM: i32 = 2_000_000_000;
    let spec = pod.spec.as_ref();
    let class = spec.and_then(|s| s.priority_class_name.as_deref()).unwrap_or_default();
    let of_class = matches!(class, "system-node-critical" | "system-cluster-critical");
    pods::is_static(pod) || of_class || spec.and_then(|s| s.priority).is_some_and(|p| p >= SYSTEM)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
