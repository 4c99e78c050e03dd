//! Pods as kube-state-metrics tells of them (docs/metrics/workload/pod-metrics.md). Pure.

use k8s_openapi::api::core::v1::Pod;

use super::containers::Containers;
use super::exposition::Family;
use super::labels::{Labels, amounts, flag, object, owners, seconds, with};
use crate::api::quantity::pod_requests;
use crate::controllers::pods::{holds_resources, phase, ready};

const PHASES: [&str; 5] = ["Pending", "Succeeded", "Failed", "Unknown", "Running"];

/// All families about pods and their containers.
pub fn families(pods: &[&Pod]) -> Vec<Family> {
    let (mut all, mut containers) = (Families::new(), Containers::new());
    for pod in pods {
        let of = object("pod", &pod.metadata);
        all.pod(&of, pod);
        containers.add(&of, &pod.spec.clone().unwrap_or_default(), &pod.status.clone().unwrap_or_default());
    }
    all.0.into_iter().chain(containers.families()).collect()
}

/// In the order of [`Families::new`].
struct Families([Family; 8]);

impl Families {
    fn new() -> Families {
        Families([
            Family::gauge("kube_pod_info", "Information about pod."),
            Family::gauge("kube_pod_owner", "Information about the Pod's owner."),
            Family::gauge("kube_pod_created", "Unix creation timestamp."),
            Family::gauge("kube_pod_start_time", "Start time in unix timestamp for a pod."),
            Family::gauge("kube_pod_deletion_timestamp", "Unix deletion timestamp."),
            Family::gauge("kube_pod_status_phase", "The pods current phase."),
            Family::gauge("kube_pod_status_ready", "Describes whether the pod is ready to serve requests."),
            Family::gauge(
                "minik8s_pod_resource_requests",
                "What a pod that is bound and has not ended takes of the node, its containers summed as the scheduler sums them.",
            ),
        ])
    }

    fn pod(&mut self, of: &Labels, pod: &Pod) {
        let [infos, owned, created, start, deletion, phases, is_ready, requests] = &mut self.0;
        let status = pod.status.clone().unwrap_or_default();
        infos.add(info(of, pod), 1.0);
        owners(owned, of, &pod.metadata);
        seconds(created, of, pod.metadata.creation_timestamp.as_ref());
        seconds(start, of, status.start_time.as_ref());
        seconds(deletion, of, pod.metadata.deletion_timestamp.as_ref());
        for name in PHASES {
            phases.add(with(of, "phase", name), flag(phase(pod) == name));
        }
        for (condition, holds) in [("true", ready(pod)), ("false", !ready(pod)), ("unknown", false)] {
            is_ready.add(with(of, "condition", condition), flag(holds));
        }
        if let Some(spec) = pod.spec.as_ref().filter(|_| holds_resources(pod)) {
            amounts(requests, of, &pod_requests(spec));
        }
    }
}

fn info(of: &Labels, pod: &Pod) -> Labels {
    let (spec, status) = (pod.spec.clone().unwrap_or_default(), pod.status.clone().unwrap_or_default());
    let owner = pod.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true));
    let more = [
        ("host_ip", status.host_ip.unwrap_or_default()),
        ("pod_ip", status.pod_ip.unwrap_or_default()),
        ("node", spec.node_name.unwrap_or_default()),
        ("created_by_kind", owner.map(|o| o.kind.clone()).unwrap_or_default()),
        ("created_by_name", owner.map(|o| o.name.clone()).unwrap_or_default()),
        ("priority_class", spec.priority_class_name.unwrap_or_default()),
        ("host_network", (spec.host_network == Some(true)).to_string()),
    ];
    of.iter().cloned().chain(more).collect()
}
