//! All of a Pod's containers anew, because one of them ended with a code for which its restartPolicyRules say `RestartAllContainers`
//! (KEP-5532, on by default since 1.36; pkg/kubelet/container/helpers.go `ShouldAllContainersRestart`, kuberuntime_manager.go).
//!
//! ```text
//!   an end that a rule names ─▶ condition AllContainersRestarting=True ─▶ all that runs is ended: no preStop hook, no grace but 2 s
//!        ─▶ nothing lives: every end becomes lastState, the condition False ─▶ as at first: init containers, sidecars, regular ones
//! ```
//!
//! Namespaces, addresses, volumes, uid and the condition Initialized stay; restart counts go on; each container waits for its own back-off.
//! Meanwhile the Pod is Pending. Guarantee: all of it follows from the durable status, so a crash at any point changes nothing.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::actions::{Live, Step};
use super::attempt::{Attempt, Role, containers, status_of};
use super::conditions::{self, ALL_CONTAINERS_RESTARTING};
use super::signals::{self, Order};
use super::{phase, restart, status};

/// pkg/kubelet/status/generate.go, `GenerateAllContainersRestartingCondition`.
const REASON: &str = "RestartAllContainersStarted";
const MESSAGE: &str = "container exited with restart policy rule";

/// Whether some end of some container would restart all (pkg/api/v1/pod/util.go, `AllContainersCouldRestart`).
pub(super) fn could(pod: &Pod) -> bool {
    containers(pod).any(|(_, c)| c.restart_policy_rules.iter().flatten().any(|rule| rule.action == restart::ALL))
}

/// Whether all are to be restarted, or are being ended for that.
pub fn wanted(pod: &Pod) -> bool {
    let asks = |name: &str, container| {
        let end = status_of(pod, name).and_then(phase::ended);
        end.is_some_and(|end| restart::rule_for(container, end.exit_code) == Some(restart::ALL))
    };
    conditions::holds(pod, ALL_CONTAINERS_RESTARTING) || containers(pod).any(|(_, c)| asks(&c.name, c))
}

/// Whether the regular containers were let start, as far as their statuses tell: those that were reset were not.
pub(super) fn initialized(pod: &Pod) -> bool {
    containers(pod).filter(|(role, _)| *role == Role::Main).filter_map(|(_, c)| status_of(pod, &c.name)).any(|status| {
        let crashed = status::waiting_reason(status) == Some(status::CRASH_LOOP_BACK_OFF);
        crashed || matches!(Attempt::of(Some(status)), Attempt::Open(_)) || phase::ended(status).is_some()
    })
}

/// One step of the ending. Whether it is over, and the Pod may start as at first.
pub(super) fn step(step: &mut Step<'_>, pod: &Pod) -> bool {
    step.out.pod.status.get_or_insert_default().phase = Some(phase::PENDING.to_owned());
    if !conditions::holds(pod, ALL_CONTAINERS_RESTARTING) || !step.seen.live.is_empty() {
        conditions::set(&mut step.out.pod, ALL_CONTAINERS_RESTARTING, true, Some(REASON), Some(MESSAGE.to_owned()), step.now);
        end_all(step, pod);
        return false;
    }
    conditions::set(&mut step.out.pod, ALL_CONTAINERS_RESTARTING, false, None, None, step.now);
    reset(&mut step.out.pod);
    true
}

fn end_all(step: &mut Step<'_>, pod: &Pod) {
    if step.seen.live.is_empty() {
        // The condition is seen first, and at once what follows from it.
        step.wake(step.now);
    }
    step.out.cancel = step.seen.live.values().any(|live| *live == Live::Starting);
    let since = step.seen.signalled.values().map(|s| s.first).min().unwrap_or(step.now);
    let order = Order { kill_at: signals::later(since, 0), hook: false, turn: true };
    for (_, container) in containers(pod) {
        signals::advance(step, &container.name, &order, format!("Stopping container {}", container.name));
    }
}

/// Makes every end the last state of a container that waits for its first start.
fn reset(pod: &mut Pod) {
    let has_inits = containers(pod).any(|(role, _)| role != Role::Main);
    let reason = if has_inits { status::POD_INITIALIZING } else { status::CONTAINER_CREATING };
    let names: Vec<String> = containers(pod).map(|(_, c)| c.name.clone()).collect();
    for name in names {
        let Some(status) = status::edit(pod, &name) else { continue };
        status::retire(status);
        status.state = Some(status::waiting(reason, None));
        (status.ready, status.started) = (false, Some(false));
    }
}

/// The condition of a Pod that may ever have it, where nothing else said so in this step.
pub(super) fn refresh(pod: &mut Pod, now: Timestamp) {
    if !could(pod) {
        return;
    }
    let reason = match phase::of(pod) {
        Some(phase::SUCCEEDED) => Some("PodCompleted"),
        Some(phase::FAILED) => Some("PodFailed"),
        _ if conditions::holds(pod, ALL_CONTAINERS_RESTARTING) => return,
        _ => None,
    };
    conditions::set(pod, ALL_CONTAINERS_RESTARTING, false, reason, None, now);
}
