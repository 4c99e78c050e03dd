//! A DaemonSet's status on a cluster of one node (updateDaemonSetStatus), as it is once the plan is committed.

use k8s_openapi::api::apps::v1::DaemonSetStatus;
use k8s_openapi::api::core::v1::Pod;

use super::{Step, rollout};
use crate::controllers::pods;

/// Writes the status of the pods there will be; the oldest one counts.
pub(super) fn observe(step: &mut Step) {
    let stays = |p: &&Pod| !(pods::terminal(p) && step.doomed.contains(p.metadata.name.as_deref().unwrap_or_default()));
    let mut present: Vec<Pod> = step.pods.iter().copied().filter(stays).chain(step.created()).cloned().collect();
    present.sort_by_cached_key(pods::age_order);
    let wanted = step.verdict.should_run;
    let oldest = present.first().filter(|_| wanted);
    let ready = oldest.is_some_and(pods::ready);
    let available = ready && oldest.is_some_and(|pod| step.available(pod));
    let updated = oldest.is_some_and(|pod| rollout::is_of(pod, &step.hash));
    let some = |yes: bool| yes.then_some(1);
    let status = DaemonSetStatus {
        desired_number_scheduled: i32::from(wanted),
        current_number_scheduled: i32::from(oldest.is_some()),
        number_ready: i32::from(ready),
        number_available: some(available),
        number_unavailable: some(wanted && !available),
        updated_number_scheduled: some(updated),
        number_misscheduled: i32::from(!wanted && !present.is_empty()),
        observed_generation: step.next.metadata.generation,
        ..step.next.status.clone().unwrap_or_default()
    };
    step.next.status = Some(status);
}
