//! Which pods this node should have (podsShouldBeOnNode), and how they follow the template (rollingUpdate).

use k8s_openapi::api::apps::v1::{DaemonSetSpec, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{REVISION_HASH, Step, backoff};
use crate::controllers::pods;

/// RollingUpdate, the default.
pub(super) fn is_rolling(spec: &DaemonSetSpec) -> bool {
    spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref()).unwrap_or("RollingUpdate") == "RollingUpdate"
}

/// (maxUnavailable, maxSurge) of `nodes` nodes; percentages round up; both zero means one unavailable.
fn limits(spec: &DaemonSetSpec, nodes: i64) -> (i64, i64) {
    let none = RollingUpdateDaemonSet::default();
    let rolling = spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref()).unwrap_or(&none);
    let surge = rolling.max_surge.as_ref().map_or(0, |v| scaled(v, nodes));
    let unavailable = rolling.max_unavailable.as_ref().map_or(1, |v| scaled(v, nodes));
    if unavailable == 0 && surge == 0 { (1, 0) } else { (unavailable, surge) }
}

fn scaled(value: &IntOrString, of: i64) -> i64 {
    match value {
        IntOrString::Int(n) => i64::from(*n).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|n| n.parse().ok()).unwrap_or(0);
            (percent.clamp(0, 100) * of + 99) / 100
        }
    }
}

/// Whether a second pod may stand beside the old one (AllowsSurge).
fn surges(spec: &DaemonSetSpec) -> bool {
    is_rolling(spec) && limits(spec, 1).1 > 0
}

/// Makes the pod that should be here; deletes what should not, what has ended and what is too much.
pub(super) fn manage(step: &mut Step) {
    let (should_run, should_continue) = (step.verdict.should_run, step.verdict.should_continue);
    if should_run && step.pods.is_empty() {
        return step.create();
    }
    let standing: Vec<&Pod> = step.pods.iter().copied().filter(|p| !pods::deleting(p)).collect();
    if !should_continue {
        return standing.into_iter().for_each(|pod| step.delete(pod));
    }
    let (ended, mut running): (Vec<&Pod>, Vec<&Pod>) = standing.into_iter().partition(|p| pods::terminal(p));
    ended.into_iter().for_each(|pod| end(step, pod));
    // Ours: also while surging, a failed pod that waits for its back-off is not replaced yet, or every failure would add one.
    if should_run && running.is_empty() && !remains(step) {
        return step.create();
    }
    running.sort_by_cached_key(|p| pods::age_order(p));
    if !surges(step.spec) {
        running.into_iter().skip(1).for_each(|pod| step.delete(pod));
    } else {
        one_old_one_new(step, &running);
    }
}

/// Whether a pod stands in the way of a new one: one that has ended and is deleted now does not, nor, while surging, one being deleted.
fn remains(step: &Step) -> bool {
    let surges = surges(step.spec);
    let doomed = |p: &Pod| step.doomed.contains(p.metadata.name.as_deref().unwrap_or_default());
    step.pods.iter().any(|p| !(doomed(p) || surges && pods::deleting(p)))
}

/// A pod that has ended goes once the back-off lets it; one the host's shutdown ended goes at once.
fn end<'a>(step: &mut Step<'a, '_, '_>, pod: &'a Pod) {
    let now = step.cx.now;
    if !pods::interrupted(pod) {
        if let Some(until) = backoff::until(&step.next.metadata, now) {
            return step.plan.wake(until);
        }
        backoff::raise(&mut step.next.metadata, now);
        tell_end(step, pod);
    }
    step.delete(pod);
}

fn tell_end(step: &mut Step, pod: &Pod) {
    let name = format!("{}/{}", step.key.namespace, pod.metadata.name.as_deref().unwrap_or_default());
    let node = step.cx.node.metadata.name.clone().unwrap_or_default();
    if pods::phase(pod) == "Failed" {
        step.event(true, "FailedDaemonPod", format!("Found failed daemon pod {name} on node {node}, will try to kill it"));
    } else {
        step.event(false, "SucceededDaemonPod", format!("Found succeeded daemon pod {name} on node {node}, will try to delete it"));
    }
}

/// While surging, of more than one pod the oldest of the current template and the oldest of another may stay; the latter goes when it is not ready or
/// the former is available.
fn one_old_one_new<'a>(step: &mut Step<'a, '_, '_>, running: &[&'a Pod]) {
    if running.len() <= 1 {
        return;
    }
    let (new, old): (Vec<&Pod>, Vec<&Pod>) = running.iter().copied().partition(|p| is_of(p, &step.hash));
    new.iter().skip(1).chain(old.iter().skip(1)).for_each(|pod| step.delete(pod));
    if let (Some(new), Some(old)) = (new.first(), old.first())
        && (!pods::ready(old) || step.available(new))
    {
        step.delete(old);
    }
}

/// Whether the pod is of the template with this hash.
pub(super) fn is_of(pod: &Pod, hash: &str) -> bool {
    pod.metadata.labels.as_ref().and_then(|l| l.get(REVISION_HASH)).is_some_and(|h| h == hash)
}

/// Replaces the pod of an older template within maxUnavailable and maxSurge.
pub(super) fn rolling_update(step: &mut Step) {
    let doomed = |p: &Pod| step.doomed.contains(p.metadata.name.as_deref().unwrap_or_default());
    let standing: Vec<&Pod> = step.pods.iter().copied().filter(|p| !pods::deleting(p) && !doomed(p)).collect();
    let (new, old): (Vec<&Pod>, Vec<&Pod>) = standing.into_iter().partition(|p| is_of(p, &step.hash));
    let (&[], &[old]) = (new.as_slice(), old.as_slice()) else { return };
    if pods::terminal(old) {
        return; // Waits for its back-off.
    }
    let (unavailable, surge) = limits(step.spec, i64::from(step.verdict.should_run));
    let available = step.available(old);
    match () {
        () if !surges(step.spec) && (!available || unavailable > 0) => step.delete(old),
        () if !surges(step.spec) => {}
        () if !step.verdict.should_run => step.delete(old),
        () if !available || surge > 0 => {
            step.create();
            if !pods::ready(old) {
                step.delete(old);
            }
        }
        () => {}
    }
}
