//! Facts folded into a Pod's status: a container was announced, started, ended, could not be made.
//!
//! Each function changes a Pod in memory; the worker commits it. The statuses keep the order of the spec.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodIP,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::attempt::{Role, bare_id, container_id, containers, status_id, status_of, uid};
use super::{backoff, phase, qos};

/// The waiting reason before the first start.
pub const CONTAINER_CREATING: &str = "ContainerCreating";
/// The waiting reason before the first start while init containers run.
pub const POD_INITIALIZING: &str = "PodInitializing";
/// The reason where nobody knows how a container ended; exit code 137.
pub const CONTAINER_STATUS_UNKNOWN: &str = "ContainerStatusUnknown";
/// The waiting reason during a restart back-off.
pub const CRASH_LOOP_BACK_OFF: &str = "CrashLoopBackOff";
/// The waiting reason of an attempt that is being ended because its postStart hook failed.
pub const POST_START_HOOK_ERROR: &str = "PostStartHookError";
/// The reason of an attempt whose process could not be started; exit code 128.
pub const START_ERROR: &str = "StartError";

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; 128+n for signal n.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// The termination message; "" for none.
    pub message: String,
    /// When it started; `None` = as the status has it.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
}

impl Ended {
    /// Nobody can tell any more how it ended.
    pub fn unknown(message: &str, finished: Timestamp) -> Ended {
        Ended { code: 137, reason: CONTAINER_STATUS_UNKNOWN.to_owned(), message: message.to_owned(), started: None, finished }
    }

    /// The reason by exit code and what the container's cgroup says of memory.
    pub fn reason_for(code: i32, oom_killed: bool) -> &'static str {
        match (oom_killed, code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            (false, _) => "Error",
        }
    }
}

/// A state that waits.
pub fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

/// What a container waits for, if it does.
pub fn waiting_reason(status: &ContainerStatus) -> Option<&str> {
    status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

/// Gives every container a status, in the spec's order, and the Pod its start time, QoS class, phase and addresses.
pub fn complete(pod: &mut Pod, pod_ips: &[String], host_ips: &[String], now: Timestamp) {
    let has_inits = containers(pod).any(|(role, _)| role != Role::Main);
    let reason = if has_inits { POD_INITIALIZING } else { CONTAINER_CREATING };
    let of = |wanted: bool| -> Vec<ContainerStatus> {
        let chosen = containers(pod).filter(|(role, _)| (*role == Role::Main) == wanted);
        chosen.map(|(_, c)| status_of(pod, &c.name).cloned().unwrap_or_else(|| blank(c, reason))).collect()
    };
    let (inits, mains, class) = (of(false), of(true), qos::qos_class(pod));
    let generation = pod.metadata.generation;
    let status = pod.status.get_or_insert_default();
    status.init_container_statuses = (!inits.is_empty()).then_some(inits);
    status.container_statuses = (!mains.is_empty()).then_some(mains);
    status.start_time.get_or_insert(Time(now));
    status.qos_class.get_or_insert_with(|| class.to_owned());
    status.phase.get_or_insert_with(|| phase::PENDING.to_owned());
    status.observed_generation = generation;
    if let Some(first) = pod_ips.first() {
        status.pod_ip = Some(first.clone());
        status.pod_ips = Some(pod_ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect());
    }
    if let Some(first) = host_ips.first() {
        status.host_ip = Some(first.clone());
        status.host_ips = Some(host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect());
    }
}

fn blank(container: &Container, reason: &str) -> ContainerStatus {
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        state: Some(waiting(reason, None)),
        started: Some(false),
        ..ContainerStatus::default()
    }
}

/// The status of this container, to change.
pub fn edit<'a>(pod: &'a mut Pod, name: &str) -> Option<&'a mut ContainerStatus> {
    let status = pod.status.as_mut()?;
    let (inits, mains) = (status.init_container_statuses.iter_mut().flatten(), status.container_statuses.iter_mut().flatten());
    inits.chain(mains).find(|s| s.name == name)
}

/// Announces an attempt. What the one before it ended with becomes lastState.
pub fn announce(pod: &mut Pod, name: &str, attempt: u32) {
    let id = status_id(&container_id(uid(pod), name, attempt));
    let Some(status) = edit(pod, name) else { return };
    if status.container_id.as_deref() == Some(&id) {
        // Tried again after containerd was away: what it waited for is over.
        if waiting_reason(status) == Some(CONTAINER_CREATING) {
            status.state = Some(waiting(CONTAINER_CREATING, None));
        }
        return;
    }
    retire(status);
    status.container_id = Some(id);
    status.restart_count = i32::try_from(attempt).unwrap_or(i32::MAX);
    status.state = Some(waiting(CONTAINER_CREATING, None));
    (status.ready, status.started) = (false, Some(false));
}

/// Moves a terminated state to lastState.
pub fn retire(status: &mut ContainerStatus) {
    if let Some(end) = status.state.as_mut().and_then(|s| s.terminated.take()) {
        status.last_state = Some(ContainerState { terminated: Some(end), ..ContainerState::default() });
    }
}

/// The announced attempt runs.
pub fn started(pod: &mut Pod, name: &str, at: Timestamp) {
    let Some(status) = edit(pod, name) else { return };
    if phase::running(status) {
        return;
    }
    let running = ContainerStateRunning { started_at: Some(Time(at)) };
    status.state = Some(ContainerState { running: Some(running), ..ContainerState::default() });
}

/// The announced attempt's image, as the runtime knows it.
pub fn image(pod: &mut Pod, name: &str, image: &str, image_id: &str) {
    if let Some(status) = edit(pod, name) {
        (status.image, status.image_id) = (image.to_owned(), image_id.to_owned());
    }
}

/// The announced attempt cannot be made yet, and why.
pub fn refused(pod: &mut Pod, name: &str, reason: &str, message: String) {
    if let Some(status) = edit(pod, name) {
        status.state = Some(waiting(reason, Some(message)));
        (status.ready, status.started) = (false, Some(false));
    }
}

/// The announced attempt has ended; its back-off is decided here, once. `None`: its end was recorded before, nothing changes.
pub fn ended(pod: &mut Pod, name: &str, end: Ended, cap: Duration) -> Option<()> {
    let (role, container) = containers(pod).find(|(_, c)| c.name == name)?;
    let (key, mut entries) = (backoff::key(container), backoff::read(pod));
    let status = edit(pod, name)?;
    let id = status.container_id.clone()?;
    if phase::last_end(status).is_some_and(|t| t.container_id.as_deref() == Some(&id)) {
        return None;
    }
    let ran_since = status.state.as_ref().and_then(|s| s.running.as_ref()).and_then(|r| r.started_at.clone()).map(|t| t.0);
    let started = ran_since.or(end.started);
    let state = terminated(&end, started, id);
    (status.ready, status.started) = (role == Role::Init && end.code == 0, Some(false));
    status.state = Some(state);
    let entry = backoff::after_exit(entries.get(name), key, started, end.finished, cap);
    entries.insert(name.to_owned(), entry);
    backoff::write(pod, &entries);
    Some(())
}

fn terminated(end: &Ended, started: Option<Timestamp>, id: String) -> ContainerState {
    let terminated = ContainerStateTerminated {
        container_id: Some(id),
        exit_code: end.code,
        reason: Some(end.reason.clone()),
        message: (!end.message.is_empty()).then(|| end.message.clone()),
        started_at: started.map(Time),
        finished_at: Some(Time(end.finished)),
        signal: None,
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// Gives every container an end when the Pod was ended (pkg/kubelet/status/status_manager.go, TerminatePod). A restart that waited is none: as
/// in the kubelet, where a deleted Pod's containers are not restarted (pkg/kubelet/container/helpers.go, ShouldContainerBeRestarted), the run
/// before it was the last, with its exit code and its log. What never ran, or was lost, is `ContainerStatusUnknown`.
pub fn close_unfinished(pod: &mut Pod) {
    let status = pod.status.get_or_insert_default();
    let all = status.init_container_statuses.iter_mut().flatten().chain(status.container_statuses.iter_mut().flatten());
    for status in all.filter(|s| phase::ended(s).is_none()) {
        (status.ready, status.started) = (false, Some(false));
        let crashed = status.last_state.as_mut().and_then(|s| s.terminated.take());
        let announced = status.state.as_ref().is_none_or(|s| s.running.is_none());
        match crashed {
            Some(end) if announced => {
                if end.container_id != status.container_id {
                    status.restart_count = (status.restart_count - 1).max(0);
                    status.container_id.clone_from(&end.container_id);
                }
                (status.state, status.last_state) = (Some(ContainerState { terminated: Some(end), ..ContainerState::default() }), None);
            }
            crashed => {
                status.last_state = crashed.map(|t| ContainerState { terminated: Some(t), ..ContainerState::default() });
                status.state = Some(unlocated(status.container_id.clone()));
            }
        }
    }
}

fn unlocated(container_id: Option<String>) -> ContainerState {
    let unknown = ContainerStateTerminated {
        container_id,
        exit_code: 137,
        reason: Some(CONTAINER_STATUS_UNKNOWN.to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        ..ContainerStateTerminated::default()
    };
    ContainerState { terminated: Some(unknown), ..ContainerState::default() }
}

/// The ids of all attempts that are announced and not recorded as ended: (container, id, attempt).
pub fn open_attempts(pod: &Pod) -> Vec<(String, String, u32)> {
    let open = |name: &str| {
        let status = status_of(pod, name)?;
        match super::Attempt::of(Some(status)) {
            super::Attempt::Open(n) => Some((name.to_owned(), bare_id(status.container_id.as_deref()?).to_owned(), n)),
            _ => None,
        }
    };
    containers(pod).filter_map(|(_, c)| open(&c.name)).collect()
}
