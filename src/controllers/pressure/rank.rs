//! Who goes first: who uses more than requested, then the lower priority, then who uses most above the request
//! (pkg/kubelet/eviction/helpers.go rankMemoryPressure, rankDiskPressureFunc, evictionMessage).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::{Observations, Signal, Threshold, critical};
use crate::api::Object;
use crate::api::quantity::{self, pod_requests};

/// Room taken on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes.
    pub bytes: u64,
    /// Files and directories.
    pub inodes: u64,
}

impl std::ops::Add for DiskUsage {
    type Output = DiskUsage;

    fn add(self, more: DiskUsage) -> DiskUsage {
        DiskUsage { bytes: self.bytes.saturating_add(more.bytes), inodes: self.inodes.saturating_add(more.inodes) }
    }
}

/// What one running container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Its working set in bytes.
    pub memory: u64,
    /// Its writable layer.
    pub layer: DiskUsage,
    /// Its logs.
    pub logs: DiskUsage,
}

/// What one pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodUsage {
    /// By container.
    pub containers: BTreeMap<String, ContainerUsage>,
    /// Its volumes on the node's disk.
    pub volumes: DiskUsage,
    /// How many processes it has.
    pub processes: u64,
}

impl PodUsage {
    fn memory(&self) -> u64 {
        self.containers.values().map(|c| c.memory).sum()
    }

    /// What is on the file system that is short. `apart`: images and layers have one of their own.
    fn disk(&self, signal: Signal, apart: bool) -> DiskUsage {
        let image = matches!(signal, Signal::ImagefsAvailable | Signal::ImagefsInodesFree);
        let sum = |of: fn(&ContainerUsage) -> DiskUsage| self.containers.values().map(of).fold(DiskUsage::default(), |a, b| a + b);
        let (layers, rest) = (sum(|c| c.layer), sum(|c| c.logs) + self.volumes);
        match (apart, image) {
            (false, _) => layers + rest,
            (true, true) => layers,
            (true, false) => rest,
        }
    }
}

/// The pod that has to go, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its uid.
    pub uid: String,
    /// The kubelet's message.
    pub message: String,
}

/// The pod to evict for the first of `met`. A pod that could not be measured goes first. `None`: nothing is short, or nobody may be evicted.
pub fn victim(
    met: &[Threshold],
    seen: &Observations,
    pods: &[Arc<Object>],
    usage: &BTreeMap<String, PodUsage>,
    apart: bool,
) -> Option<Victim> {
    let signal = met.first()?.signal;
    let candidates = pods.iter().filter_map(|o| o.as_pod()).filter(|pod| !critical(pod));
    let first = candidates.min_by_key(|pod| {
        let used = usage.get(uid(pod));
        let (used_amount, request) = (used.map(|u| amount(u, signal, apart)), request(pod, signal));
        let priority = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
        let above = used_amount.map(|u| i128::from(u) - i128::from(request));
        let exceeds = signal == Signal::PidAvailable || above.is_none_or(|a| a > 0);
        (used.is_some(), !exceeds, priority, Reverse(above))
    })?;
    Some(Victim { uid: uid(first).to_owned(), message: message(met, seen, first, usage.get(uid(first))) })
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn amount(usage: &PodUsage, signal: Signal, apart: bool) -> u64 {
    match signal {
        Signal::MemoryAvailable => usage.memory(),
        Signal::PidAvailable => usage.processes,
        Signal::NodefsInodesFree | Signal::ImagefsInodesFree => usage.disk(signal, apart).inodes,
        Signal::NodefsAvailable | Signal::ImagefsAvailable => usage.disk(signal, apart).bytes,
    }
}

fn request(pod: &Pod, signal: Signal) -> u64 {
    let requests = pod.spec.as_ref().map(pod_requests).unwrap_or_default();
    requests.get(signal.resource()).map_or(0, |amount| u64::try_from(*amount).unwrap_or(0))
}

fn message(met: &[Threshold], seen: &Observations, pod: &Pod, usage: Option<&PodUsage>) -> String {
    let Some(threshold) = met.first() else { return String::new() };
    let resource = threshold.signal.resource();
    let mut message = format!("The node was low on resource: {resource}. ");
    let told = met.iter().filter(|t| t.signal.resource() == resource).find_map(|t| Some((t, seen.get(&t.signal)?)));
    if let Some((threshold, observed)) = told {
        let shown = |n| shown(n, resource);
        let (quantity, available) = (shown(threshold.value.of(observed.capacity)), shown(observed.available));
        message.push_str(&format!("Threshold quantity: {quantity}, available: {available}. "));
    }
    let Some(spec) = pod.spec.as_ref() else { return message };
    let pod_request = spec.resources.as_ref().and_then(|r| r.requests.as_ref()?.get(resource));
    if let (Some(request), Some(usage), "memory") = (pod_request, usage, resource) {
        let (name, used) = (pod.metadata.name.as_deref().unwrap_or_default(), shown(usage.memory(), resource));
        let request = canonical(&request.0);
        message.push_str(&format!("Pod {name} was using {used}, request is {request}, has larger consumption of {resource}. "));
    }
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let Some(used) = usage.and_then(|u| u.containers.get(&container.name)) else { continue };
        let used = match resource {
            "memory" => used.memory,
            "ephemeral-storage" => (used.layer + used.logs).bytes,
            _ => continue,
        };
        let written = container.resources.as_ref().and_then(|r| r.requests.as_ref()?.get(resource));
        let request = written.and_then(quantity::whole).and_then(|r| u64::try_from(r).ok()).unwrap_or(0);
        if used > request {
            let (name, used) = (&container.name, shown(used, resource));
            let request = written.map_or("0".to_owned(), |w| canonical(&w.0));
            message.push_str(&format!("Container {name} was using {used}, request is {request}, has larger consumption of {resource}. "));
        }
    }
    message
}

fn canonical(written: &str) -> String {
    quantity::parse(written).map_or_else(|_| written.to_owned(), |q| q.to_string())
}

/// As Go's Quantity prints a count: the largest suffix that leaves a whole number, binary for bytes, decimal for pieces.
fn shown(count: u64, resource: &str) -> String {
    let (base, suffixes) = match resource {
        "memory" | "ephemeral-storage" => (1024, ["", "Ki", "Mi", "Gi", "Ti", "Pi"]),
        _ => (1000, ["", "k", "M", "G", "T", "P"]),
    };
    let (mut value, mut step) = (count, 0);
    while value != 0 && value.is_multiple_of(base) && step + 1 < suffixes.len() {
        (value, step) = (value / base, step + 1);
    }
    format!("{value}{}", suffixes[step])
}
