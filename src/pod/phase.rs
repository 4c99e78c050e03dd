//! A Pod's phase from its containers' statuses (pkg/kubelet/kubelet_pods.go, getPhase). Sidecars do not count for the terminal phases.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::attempt::{Role, containers, status_of};
use super::restart::should_restart;
use super::restart_all;

/// Not all containers run yet, or one waits for its first start.
pub const PENDING: &str = "Pending";
/// Something runs, or will run again.
pub const RUNNING: &str = "Running";
/// Every container ended with exit code 0 and none runs again.
pub const SUCCEEDED: &str = "Succeeded";
/// Every container ended, one of them badly, and none runs again.
pub const FAILED: &str = "Failed";

/// Whether the phase is one a Pod never leaves.
pub fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some(SUCCEEDED | FAILED))
}

/// The Pod's stored phase, if it has one.
pub fn of(pod: &Pod) -> Option<&str> {
    pod.status.as_ref().and_then(|s| s.phase.as_deref())
}

/// How the newest attempt that ended has ended.
pub fn last_end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let now = status.state.as_ref().and_then(|s| s.terminated.as_ref());
    now.or_else(|| status.last_state.as_ref().and_then(|s| s.terminated.as_ref()))
}

/// How the container ended, if it neither runs nor waits.
pub fn ended(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref().and_then(|s| s.terminated.as_ref())
}

/// Whether the container runs.
pub fn running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.running.is_some())
}

#[derive(Default)]
struct Count {
    pending_inits: usize,
    pending_sidecars: usize,
    init_failed: bool,
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    succeeded: usize,
    restarting: usize,
}

/// The phase that the containers' statuses amount to. `initialized`: whether the regular containers were ever let start.
pub fn compute(pod: &Pod, initialized: bool) -> &'static str {
    let mut n = Count::default();
    let could_reset = restart_all::could(pod);
    for (role, container) in containers(pod) {
        let status = status_of(pod, &container.name);
        let again = |code| should_restart(pod, role, container, code);
        match role {
            // With all the others it was made to start over, whatever it ended with.
            Role::Init if could_reset && status.is_some_and(|s| ended(s).is_none() && !running(s)) => n.pending_inits += 1,
            Role::Init => count_init(&mut n, status, again),
            Role::Sidecar => count_sidecar(&mut n, status),
            Role::Main => count_main(&mut n, status, again),
        }
    }
    if n.init_failed {
        FAILED
    } else if n.pending_inits > 0 || (n.pending_sidecars > 0 && !initialized) || n.waiting > 0 {
        PENDING
    } else if n.running > 0 && n.unknown == 0 {
        RUNNING
    } else if n.running == 0 && n.stopped > 0 && n.unknown == 0 {
        match n {
            Count { restarting: 1.., .. } => RUNNING,
            Count { stopped, succeeded, .. } if stopped == succeeded => SUCCEEDED,
            _ => FAILED,
        }
    } else {
        PENDING
    }
}

fn count_init(n: &mut Count, status: Option<&ContainerStatus>, again: impl Fn(i32) -> bool) {
    match status.map(|s| (ended(s), running(s), last_end(s))) {
        Some((Some(end), ..)) => n.init_failed |= end.exit_code != 0 && !again(end.exit_code),
        Some((None, false, Some(end))) if end.exit_code != 0 => n.init_failed |= !again(end.exit_code),
        _ => n.pending_inits += 1,
    }
}

fn count_sidecar(n: &mut Count, status: Option<&ContainerStatus>) {
    match status {
        None => n.unknown += 1,
        Some(s) if running(s) => {
            n.running += 1;
            n.pending_sidecars += usize::from(s.started != Some(true));
        }
        Some(s) if last_end(s).is_some() => {}
        Some(_) => {
            n.pending_sidecars += 1;
            n.waiting += 1;
        }
    }
}

fn count_main(n: &mut Count, status: Option<&ContainerStatus>, again: impl Fn(i32) -> bool) {
    match status {
        None => n.unknown += 1,
        Some(s) if running(s) => n.running += 1,
        Some(s) => match (ended(s), last_end(s)) {
            (Some(end), _) => {
                n.stopped += 1;
                n.succeeded += usize::from(end.exit_code == 0);
                n.restarting += usize::from(again(end.exit_code));
            }
            (None, Some(_)) => {
                n.stopped += 1;
                n.restarting += 1;
            }
            (None, None) => n.waiting += 1,
        },
    }
}
