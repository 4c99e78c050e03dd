//! Pods as kube-state-metrics tells of them (docs/metrics/workload/pod-metrics.md). Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::exposition::Family;
use super::labels::{Labels, flag, object, seconds};
use crate::api::quantity::{Amounts, limits_of, pod_requests};
use crate::controllers::pods::{phase, ready};

const PHASES: [&str; 5] = ["Pending", "Succeeded", "Failed", "Unknown", "Running"];

/// All families about pods.
pub fn families(pods: &[&Pod]) -> Vec<Family> {
    let mut all = Families::new();
    pods.iter().for_each(|pod| all.pod(pod));
    all.0.into_iter().collect()
}

/// In the order of [`Families::new`].
struct Families([Family; 13]);

impl Families {
    fn new() -> Families {
        Families([
            Family::gauge("kube_pod_info", "Information about pod."),
            Family::gauge("kube_pod_created", "Unix creation timestamp."),
            Family::gauge("kube_pod_start_time", "Start time in unix timestamp for a pod."),
            Family::gauge("kube_pod_deletion_timestamp", "Unix deletion timestamp."),
            Family::gauge("kube_pod_status_phase", "The pods current phase."),
            Family::gauge("kube_pod_status_ready", "Describes whether the pod is ready to serve requests."),
            Family::gauge("kube_pod_container_status_ready", "Describes whether the containers readiness check succeeded."),
            Family::gauge("kube_pod_container_status_running", "Describes whether the container is currently in running state."),
            Family::gauge("kube_pod_container_status_waiting_reason", "Describes the reason the container is currently in waiting state."),
            Family::counter("kube_pod_container_status_restarts_total", "The number of container restarts per container."),
            Family::gauge(
                "kube_pod_container_status_last_terminated_reason",
                "Describes the last reason the container was in terminated state.",
            ),
            Family::gauge("kube_pod_container_resource_limits", "The number of requested limit resource by a container."),
            Family::gauge(
                "minik8s_pod_resource_requests",
                "What a pod asks of the node, its containers summed as the scheduler sums them.",
            ),
        ])
    }

    fn pod(&mut self, pod: &Pod) {
        let of = object("pod", &pod.metadata);
        let [info, created, start, deletion, phases, is_ready, ..] = &mut self.0;
        let status = pod.status.clone().unwrap_or_default();
        let owner = pod.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true));
        let own = |text: Option<&String>| text.cloned().unwrap_or_default();
        let more = vec![
            ("host_ip", own(status.host_ip.as_ref())),
            ("pod_ip", own(status.pod_ip.as_ref())),
            ("node", own(pod.spec.as_ref().and_then(|s| s.node_name.as_ref()))),
            ("created_by_kind", own(owner.map(|o| &o.kind))),
            ("created_by_name", own(owner.map(|o| &o.name))),
        ];
        info.add(of.clone().into_iter().chain(more).collect(), 1.0);
        seconds(created, &of, pod.metadata.creation_timestamp.as_ref());
        seconds(start, &of, status.start_time.as_ref());
        seconds(deletion, &of, pod.metadata.deletion_timestamp.as_ref());
        for name in PHASES {
            phases.add(with(&of, "phase", name), flag(phase(pod) == name));
        }
        for (condition, holds) in [("true", ready(pod)), ("false", !ready(pod)), ("unknown", false)] {
            is_ready.add(with(&of, "condition", condition), flag(holds));
        }
        status.container_statuses.iter().flatten().for_each(|container| self.container(&of, container));
        self.resources(&of, pod);
    }

    fn container(&mut self, of: &Labels, container: &ContainerStatus) {
        let of = with(of, "container", &container.name);
        let [_, _, _, _, _, _, ready, running, waiting, restarts, terminated, ..] = &mut self.0;
        ready.add(of.clone(), flag(container.ready));
        let state = container.state.clone().unwrap_or_default();
        running.add(of.clone(), flag(state.running.is_some()));
        if let Some(reason) = state.waiting.and_then(|w| w.reason) {
            waiting.add(with(&of, "reason", &reason), 1.0);
        }
        restarts.add(of.clone(), f64::from(container.restart_count));
        let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref()).and_then(|t| t.reason.as_ref());
        if let Some(reason) = last {
            terminated.add(with(&of, "reason", reason), 1.0);
        }
    }

    fn resources(&mut self, of: &Labels, pod: &Pod) {
        let Some(spec) = &pod.spec else { return };
        let [.., limits, requests] = &mut self.0;
        for container in &spec.containers {
            amounts(limits, &with(of, "container", &container.name), &limits_of(container));
        }
        amounts(requests, of, &pod_requests(spec));
    }
}

/// Amounts with the labels `resource` and `unit`, in whole units: cores, bytes, pieces.
pub(super) fn amounts(family: &mut Family, of: &Labels, amounts: &Amounts) {
    for (name, amount) in amounts {
        // Sizes beyond 2^53 bytes lose their last digits, which nobody reads.
        let amount = *amount as f64;
        let (unit, value) = match name.as_str() {
            "cpu" => ("core", amount / 1000.0),
            "memory" | "ephemeral-storage" => ("byte", amount),
            other if other.starts_with("hugepages-") => ("byte", amount),
            _ => ("integer", amount),
        };
        let resource = name.replace(['-', '.', '/'], "_");
        family.add(with(&with(of, "resource", &resource), "unit", unit), value);
    }
}

pub(super) fn with(of: &Labels, name: &'static str, value: &str) -> Labels {
    of.iter().cloned().chain([(name, value.to_owned())]).collect()
}
