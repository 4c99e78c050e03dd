//! Pods' rows: printPod's rules for READY, STATUS and RESTARTS.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Row, or_none};
use crate::cli::duration::since;

pub(super) const COLUMNS: &[&str] = &["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"];

/// What is counted on the way through the containers' statuses.
struct Seen {
    reason: String,
    ready: usize,
    restarts: i32,
    last_restart: Option<Time>,
}

impl Seen {
    fn restarted(&mut self, status: &ContainerStatus) {
        self.restarts += status.restart_count;
        let finished = status.last_state.as_ref().and_then(|s| s.terminated.as_ref()).and_then(|t| t.finished_at.clone());
        if finished.as_ref().map(|t| t.0) > self.last_restart.as_ref().map(|t| t.0) {
            self.last_restart = finished;
        }
    }
}

pub(super) fn row(pod: &Pod, now: Timestamp) -> Row {
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always")).count();
    let total = spec.containers.len() + sidecars;
    let seen = look(pod);
    let restarts = match &seen.last_restart {
        Some(last) if seen.restarts != 0 => format!("{} ({} ago)", seen.restarts, since(Some(last), now)),
        _ => seen.restarts.to_string(),
    };
    let gates = spec.readiness_gates.unwrap_or_default();
    let passed = gates.iter().filter(|gate| condition(pod, &gate.condition_type)).count();
    vec![
        pod.metadata.name.clone().unwrap_or_default(),
        format!("{}/{total}", seen.ready),
        seen.reason,
        restarts,
        since(pod.metadata.creation_timestamp.as_ref(), now),
        or_none(status.pod_ips.unwrap_or_default().first().map(|ip| ip.ip.clone()).unwrap_or_default()),
        or_none(spec.node_name.unwrap_or_default()),
        or_none(status.nominated_node_name.unwrap_or_default()),
        if gates.is_empty() { or_none(String::new()) } else { format!("{passed}/{}", gates.len()) },
    ]
}

fn condition(pod: &Pod, kind: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == kind && c.status == "True")
}

fn look(pod: &Pod) -> Seen {
    let empty = Default::default();
    let status = pod.status.as_ref().unwrap_or(&empty);
    let phase = status.phase.clone().unwrap_or_default();
    let own = status.reason.clone().filter(|r| !r.is_empty());
    let mut seen = Seen { reason: own.clone().unwrap_or(phase.clone()), ready: 0, restarts: 0, last_restart: None };
    let gated = |c: &&k8s_openapi::api::core::v1::PodCondition| c.type_ == "PodScheduled" && c.reason.as_deref() == Some("SchedulingGated");
    if status.conditions.iter().flatten().any(|c| gated(&c)) {
        "SchedulingGated".clone_into(&mut seen.reason);
    }
    let mut sidecars = Seen { reason: String::new(), ready: 0, restarts: 0, last_restart: None };
    let initializing = inits(pod, &mut seen, &mut sidecars);
    if !initializing || condition(pod, "Initialized") {
        seen.restarts = sidecars.restarts;
        seen.last_restart = sidecars.last_restart;
        mains(pod, &mut seen);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        if own.as_deref() == Some("NodeLost") {
            "Unknown".clone_into(&mut seen.reason);
        } else if !matches!(phase.as_str(), "Failed" | "Succeeded") {
            "Terminating".clone_into(&mut seen.reason);
        }
    }
    seen
}

/// The init containers up to the first that is not done. Returns whether the pod still initializes.
fn inits(pod: &Pod, seen: &mut Seen, sidecars: &mut Seen) -> bool {
    let specs = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
    let specs: Vec<_> = specs.collect();
    let statuses = pod.status.iter().flat_map(|s| s.init_container_statuses.iter().flatten());
    for (index, status) in statuses.enumerate() {
        seen.restarted(status);
        let sidecar = specs.iter().any(|c| c.name == status.name && c.restart_policy.as_deref() == Some("Always"));
        if sidecar {
            sidecars.restarted(status);
        }
        let state = status.state.clone().unwrap_or_default();
        if state.terminated.as_ref().is_some_and(|t| t.exit_code == 0) {
            continue;
        }
        if sidecar && status.started == Some(true) {
            seen.ready += usize::from(status.ready);
            continue;
        }
        seen.reason = match reason(&state) {
            Some(reason) if reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{index}/{}", specs.len()),
        };
        return true;
    }
    false
}

/// The main containers, last first: the first one's reason is shown.
fn mains(pod: &Pod, seen: &mut Seen) {
    let mut has_running = false;
    let statuses = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten()).collect::<Vec<_>>();
    for status in statuses.into_iter().rev() {
        seen.restarted(status);
        let state = status.state.clone().unwrap_or_default();
        if let Some(reason) = reason(&state) {
            seen.reason = reason;
        } else if status.ready && state.running.is_some() {
            has_running = true;
            seen.ready += 1;
        }
    }
    if seen.reason == "Completed" && has_running {
        let shown = if condition(pod, "Ready") { "Running" } else { "NotReady" };
        shown.clone_into(&mut seen.reason);
    }
}

/// Why a container waits or how it ended.
fn reason(state: &ContainerState) -> Option<String> {
    if let Some(reason) = state.waiting.as_ref().and_then(|w| w.reason.clone()).filter(|r| !r.is_empty()) {
        return Some(reason);
    }
    let ended = state.terminated.as_ref()?;
    let told = ended.reason.clone().filter(|r| !r.is_empty());
    Some(told.unwrap_or_else(|| match ended.signal.unwrap_or(0) {
        0 => format!("ExitCode:{}", ended.exit_code),
        signal => format!("Signal:{signal}"),
    }))
}
