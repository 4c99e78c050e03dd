//! A Pod's conditions, with the kubelet's reasons and messages (pkg/kubelet/status/generate.go).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::attempt::{Role, containers, status_of};
use super::phase::{self, FAILED, SUCCEEDED};
use super::restart_all;

/// The Pod has its namespaces and addresses.
pub const READY_TO_START: &str = "PodReadyToStartContainers";
/// All init containers have succeeded and all sidecars have started.
pub const INITIALIZED: &str = "Initialized";
/// All containers are ready, and so are the readiness gates.
pub const READY: &str = "Ready";
/// All containers are ready.
pub const CONTAINERS_READY: &str = "ContainersReady";
/// The Pod is being, or was, ended by something that is not its own failure.
pub const DISRUPTION_TARGET: &str = "DisruptionTarget";
/// All containers are being ended, to be started as at first.
pub const ALL_CONTAINERS_RESTARTING: &str = "AllContainersRestarting";
/// The conditions the worker owns; the others are whoever's set them.
pub const OURS: [&str; 5] = [READY_TO_START, INITIALIZED, READY, CONTAINERS_READY, ALL_CONTAINERS_RESTARTING];

/// What a condition says, without its times.
struct Say {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Say {
    fn yes(kind: &'static str) -> Say {
        Say { kind, holds: true, reason: None, message: None }
    }

    fn no(kind: &'static str, reason: Option<&'static str>, message: Option<String>) -> Say {
        Say { kind, holds: false, reason, message }
    }
}

/// Whether the condition of this type holds.
pub fn holds(pod: &Pod, kind: &str) -> bool {
    let all = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    all.iter().any(|c| c.type_ == kind && c.status == "True")
}

/// Sets the worker's conditions from phase and statuses; a time changes only where the status does. `sandbox`: there are namespaces and addresses.
pub fn refresh(pod: &mut Pod, sandbox: bool, now: Timestamp) {
    let terminal = phase::is_terminal(phase::of(pod));
    let sandboxed = if sandbox && !terminal { Say::yes(READY_TO_START) } else { Say::no(READY_TO_START, None, None) };
    let says = [sandboxed, initialized(pod), ready(pod), containers_ready(pod, CONTAINERS_READY)];
    for say in says {
        set(pod, say.kind, say.holds, say.reason, say.message, now);
    }
    restart_all::refresh(pod, now);
}

/// Sets one condition.
pub fn set(pod: &mut Pod, kind: &str, holds: bool, reason: Option<&str>, message: Option<String>, now: Timestamp) {
    let generation = pod.metadata.generation;
    let all = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    let status = if holds { "True" } else { "False" };
    let before = all.iter_mut().find(|c| c.type_ == kind);
    let since = before.as_ref().filter(|c| c.status == status).and_then(|c| c.last_transition_time.clone());
    let condition = PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        message,
        last_transition_time: Some(since.unwrap_or(Time(now))),
        last_probe_time: None,
        observed_generation: generation,
    };
    match before {
        Some(place) => *place = condition,
        None => all.push(condition),
    }
}

fn initialized(pod: &Pod) -> Say {
    let (mut unknown, mut incomplete, mut main_started) = (Vec::new(), Vec::new(), false);
    for (role, container) in containers(pod) {
        let status = status_of(pod, &container.name);
        match (role, status) {
            (Role::Main, Some(s)) => main_started |= s.started == Some(true),
            (Role::Main, None) => {}
            (_, None) => unknown.push(container.name.as_str()),
            (Role::Init, Some(s)) if !s.ready => incomplete.push(container.name.as_str()),
            (Role::Sidecar, Some(s)) if s.started != Some(true) => incomplete.push(container.name.as_str()),
            _ => {}
        }
    }
    if phase::of(pod) == Some(SUCCEEDED) && unknown.is_empty() {
        return Say { reason: Some("PodCompleted"), ..Say::yes(INITIALIZED) };
    }
    // A restart of all containers does not undo it (KEP-5532).
    let stays = restart_all::could(pod) && holds(pod, INITIALIZED);
    if main_started || stays || (unknown.is_empty() && incomplete.is_empty()) {
        return Say::yes(INITIALIZED);
    }
    Say::no(INITIALIZED, Some("ContainersNotInitialized"), Some(listing("incomplete", &unknown, &incomplete)))
}

fn containers_ready(pod: &Pod, kind: &'static str) -> Say {
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for (_, container) in containers(pod).filter(|(role, _)| *role != Role::Init) {
        match status_of(pod, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(s) if !s.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    match phase::of(pod) {
        Some(SUCCEEDED) if unknown.is_empty() => Say::no(kind, Some("PodCompleted"), None),
        Some(FAILED) => Say::no(kind, Some("PodFailed"), None),
        _ if unknown.is_empty() && unready.is_empty() => Say::yes(kind),
        _ => Say::no(kind, Some("ContainersNotReady"), Some(listing("unready", &unknown, &unready))),
    }
}

fn ready(pod: &Pod) -> Say {
    let containers = containers_ready(pod, READY);
    if !containers.holds {
        return containers;
    }
    let gates = pod.spec.as_ref().and_then(|s| s.readiness_gates.as_deref()).unwrap_or_default();
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let closed = gates.iter().filter_map(|gate| {
        let kind = &gate.condition_type;
        match conditions.iter().find(|c| &c.type_ == kind) {
            None => Some(format!("corresponding condition of pod readiness gate {kind:?} does not exist.")),
            Some(c) if c.status != "True" => Some(format!("the status of pod readiness gate {kind:?} is not \"True\", but {}", c.status)),
            Some(_) => None,
        }
    });
    let messages: Vec<String> = closed.collect();
    if messages.is_empty() { Say::yes(READY) } else { Say::no(READY, Some("ReadinessGatesNotReady"), Some(messages.join(", "))) }
}

/// Lists as Go prints a slice: `containers with unready status: [a b]`.
fn listing(word: &str, unknown: &[&str], others: &[&str]) -> String {
    let part = |word: &str, names: &[&str]| (!names.is_empty()).then(|| format!("containers with {word} status: [{}]", names.join(" ")));
    [part("unknown", unknown), part(word, others)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
