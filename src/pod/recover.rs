//! What a crash of the agent, of containerd or of the host left: judged by what is durably recorded and what is found.
//!
//! ```text
//!   found            marker of a start    verdict
//!   no task          none                 Remake   it never ran: the same attempt again
//!   no task          there                Lost     its shim is gone: ContainerStatusUnknown, counted as any exit
//!   no task          with its end         Noted    its task was deleted for its last words: recorded as noted
//!   created          either               Remake   a created task has not started
//!   running          either               Adopt    untouched
//!   exited           there                Record   now, once
//!   exited           none                 Remake   created and ended, never started: containerd died while it created the task
//! ```

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, Role, containers, status_of};
use super::{backoff, conditions, phase, restart, restart_all, status};
use crate::api::well_known::BOOT_ID;

/// What the runtime knows of an announced attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No record, or a record without a task.
    NoTask,
    /// Created, not started.
    Created,
    /// Running.
    Running,
    /// Ended, and how is still known.
    Exited {
        /// Exit code.
        code: u32,
        /// When.
        at: Timestamp,
    },
}

/// What the file on tmpfs says of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Its start was not asked for in this boot.
    Absent,
    /// Its start was asked for.
    Started,
    /// It has ended like this, and its task may be deleted already.
    Ended(NotedEnd),
}

/// How an attempt ended, noted before its task is deleted and before the Store has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedEnd {
    /// Exit code.
    pub code: u32,
    /// When.
    pub at: Timestamp,
    /// Whether its cgroup said that it ran out of memory.
    pub oom_killed: bool,
}

/// What to do about an announced attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It never ran: remove what is left and make the same attempt.
    Remake,
    /// It runs: wait for its exit.
    Adopt,
    /// It ended: record it.
    Record {
        /// Exit code.
        code: u32,
        /// When.
        at: Timestamp,
    },
    /// It ended, its task is deleted, and this was noted before.
    Noted(NotedEnd),
    /// It ran and is gone: nobody knows how it ended.
    Lost,
}

/// The verdict on an attempt of this boot.
pub fn examine(seen: &Seen, marker: &Marker) -> Verdict {
    match (seen, marker) {
        (Seen::Running, _) => Verdict::Adopt,
        (Seen::NoTask, Marker::Started) => Verdict::Lost,
        (Seen::NoTask, Marker::Ended(end)) => Verdict::Noted(end.clone()),
        (Seen::Exited { code, at }, Marker::Started | Marker::Ended(_)) => Verdict::Record { code: *code, at: *at },
        (Seen::NoTask | Seen::Exited { .. }, Marker::Absent) | (Seen::Created, _) => Verdict::Remake,
    }
}

/// Whether the Pod was last seen under another boot of the host.
pub fn rebooted(pod: &Pod, boot_id: &str) -> bool {
    let seen = pod.metadata.annotations.as_ref().and_then(|a| a.get(BOOT_ID));
    seen.is_some_and(|seen| seen != boot_id) && !phase::is_terminal(phase::of(pod))
}

/// Notes the boot the Pod is seen under.
pub fn note_boot(pod: &mut Pod, boot_id: &str) {
    pod.metadata.annotations.get_or_insert_default().insert(BOOT_ID.to_owned(), boot_id.to_owned());
}

/// Accounts for a reboot: every container is gone, none crashed. Init containers run again; a Pod with a container that may not run
/// again has Failed as a disruption, which its Job does not count.
pub fn after_reboot(pod: &mut Pod, boot_id: &str, now: Timestamp) {
    note_boot(pod, boot_id);
    let lost = status::open_attempts(pod);
    let may_not = |name: &str| containers(pod).any(|(role, c)| c.name == name && !restart::should_restart(pod, role, c, 137));
    // What was being restarted with all the others goes on with that.
    let failed = !restart_all::wanted(pod) && lost.iter().any(|(name, ..)| may_not(name));
    let mut entries = backoff::read(pod);
    for (name, ..) in &lost {
        entries.remove(name);
        end_unknown(pod, name, now);
    }
    backoff::write(pod, &entries);
    let status = pod.status.get_or_insert_default();
    (status.pod_ip, status.pod_ips) = (None, None);
    conditions::set(pod, conditions::READY_TO_START, false, None, None, now);
    if pod.metadata.deletion_timestamp.is_some() {
        return;
    }
    if failed { fail_as_disrupted(pod, "Pod was terminated because the host was rebooted.", now) } else { rerun_inits(pod, now) }
}

fn end_unknown(pod: &mut Pod, name: &str, now: Timestamp) {
    let Some(status) = status::edit(pod, name) else { return };
    let started = status.state.take().and_then(|s| s.running).and_then(|r| r.started_at);
    let end = ContainerStateTerminated {
        container_id: status.container_id.clone(),
        exit_code: 137,
        reason: Some(status::CONTAINER_STATUS_UNKNOWN.to_owned()),
        message: Some("The host was rebooted while the container was running".to_owned()),
        started_at: started,
        finished_at: Some(Time(now)),
        signal: None,
    };
    status.state = Some(ContainerState { terminated: Some(end), ..ContainerState::default() });
    (status.ready, status.started) = (false, Some(false));
}

/// Failed by no fault of its own (nodeshutdown_manager.go, killPods): its Job does not count it, its DaemonSet replaces it without a back-off.
pub(super) fn fail_as_disrupted(pod: &mut Pod, message: &str, now: Timestamp) {
    status::close_unfinished(pod);
    let status = pod.status.get_or_insert_default();
    status.phase = Some(phase::FAILED.to_owned());
    status.reason = Some("Terminated".to_owned());
    status.message = Some(message.to_owned());
    conditions::set(pod, conditions::DISRUPTION_TARGET, true, Some("TerminationByKubelet"), Some(message.to_owned()), now);
}

/// Makes init containers that were done wait for another run, unless no regular container will run any more.
fn rerun_inits(pod: &mut Pod, now: Timestamp) {
    let done = |role: Role, name: &str| role != Role::Main && matches!(Attempt::of(status_of(pod, name)), Attempt::Over(_));
    let names: Vec<String> = containers(pod).filter(|(role, c)| done(*role, &c.name)).map(|(_, c)| c.name.clone()).collect();
    for name in &names {
        if let Some(status) = status::edit(pod, name) {
            status::retire(status);
            status.state = Some(status::waiting(status::POD_INITIALIZING, None));
            (status.ready, status.started) = (false, Some(false));
        }
    }
    if containers(pod).any(|(role, _)| role != Role::Main) {
        conditions::set(pod, conditions::INITIALIZED, false, Some("ContainersNotInitialized"), None, now);
    }
}
