//! A Job that goes on: how many pods it wants, which surplus ones go, which new ones come (manageJob).
//!
//! Guarantees: one step deletes or creates, never both; at most [`MOST_PER_STEP`] either way (the next step goes on).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

use super::facts::completion_index;
use super::step::Step;
use super::{per_index, replicas, verdict};
use crate::controllers::pods;

/// MaxPodCreateDeletePerSync.
const MOST_PER_STEP: usize = 500;

/// Brings the pods to what the Job wants, then sees whether that was all. `admitted`: whether this node may get new pods.
pub(super) fn manage(step: &mut Step, admitted: bool) {
    let facts = step.facts;
    let surplus = surplus(step);
    let removes = !surplus.is_empty();
    for pod in surplus {
        // Given up, not failed: it is not counted.
        step.release(pod);
        step.delete(pod, false);
    }
    if !facts.limits.suspended && !removes && admitted {
        create(step);
    }
    let active = step.still_active().count() + step.plan.create.len();
    match verdict::completions_reached(facts, active) {
        Some(finish) => step.finish(&finish),
        None if facts.limits.suspended => step.suspend(),
        None => {}
    }
}

/// How many pods should be active.
fn wanted(step: &Step) -> usize {
    let facts = step.facts;
    let wanted = match facts.limits.completions {
        _ if facts.limits.suspended => 0,
        Some(completions) => facts.limits.parallelism.min(completions.saturating_sub(facts.succeeded)),
        // A work queue with a success starts no more, and lets those that are left end.
        None if facts.succeeded > 0 => return facts.active.len(),
        None => facts.limits.parallelism,
    };
    usize::try_from(wanted).unwrap_or(0)
}

/// The active pods to give up: those with a foreign or repeated index, then as many as are too many.
fn surplus<'a>(step: &Step<'a, '_, '_>) -> Vec<&'a Pod> {
    let facts = step.facts;
    let mut candidates = facts.active.clone();
    candidates.sort_by_cached_key(|p| pods::removal_order(p));
    let at_least = facts.active.len().saturating_sub(wanted(step));
    let (mut gone, mut left) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    // From the pod worth most to the one worth least, so that the better of two with one index stays.
    for pod in candidates.into_iter().rev() {
        let repeated = facts.limits.indexed && !completion_index(pod).is_some_and(|index| seen.insert(index));
        if repeated || !facts.valid(pod) { gone.push(pod) } else { left.push(pod) }
    }
    while gone.len() < at_least {
        let Some(pod) = left.pop() else { break };
        gone.push(pod);
    }
    gone.truncate(MOST_PER_STEP);
    gone
}

/// Makes the missing pods, once the back-off is over.
fn create(step: &mut Step) {
    let facts = step.facts;
    let held = if facts.limits.replaces_only_failed { facts.terminating.len() } else { 0 };
    let missing = wanted(step).saturating_sub(facts.active.len() + held).min(MOST_PER_STEP);
    if missing == 0 {
        return;
    }
    if let Some(until) = facts.backoff.until(facts.now) {
        return step.plan.wake(until);
    }
    let indexes = if facts.limits.indexed { free_indexes(step, missing) } else { vec![None; missing] };
    for index in indexes {
        let replaced = index.and_then(|index| step.replaced(index));
        let pod = replicas::new_pod(facts, index, replaced, step.cx);
        step.event(false, "SuccessfulCreate", format!("Created pod: {}", pod.metadata.name.as_deref().unwrap_or_default()));
        step.plan.create.push(pod.into());
    }
}

/// The lowest `most` pending indexes, without those that wait for their own back-off: these hold their places, and the plan wakes for them.
fn free_indexes(step: &mut Step, most: usize) -> Vec<Option<i32>> {
    let facts = step.facts;
    let replaced = if facts.limits.replaces_only_failed { facts.terminating.as_slice() } else { &[] };
    let busy: BTreeSet<i32> = facts.active.iter().chain(replaced).filter_map(|p| completion_index(p)).collect();
    let over = facts.completed.union(&facts.failed_indexes);
    let mut free = over.lowest_missing(&busy, facts.limits.completions.unwrap_or(0), most);
    free.retain(|index| {
        let wait = facts.to_replace.get(index).and_then(|p| per_index::until(p, &facts.outcome(p), facts.now));
        if let Some(until) = wait {
            step.plan.wake(until);
        }
        wait.is_none()
    });
    free.into_iter().map(Some).collect()
}
