//! Containers and init containers as kube-state-metrics tells of them (docs/metrics/workload/pod-metrics.md). Pure.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodSpec, PodStatus};

use super::exposition::Family;
use super::labels::{Labels, amounts, flag, with};
use crate::api::quantity::{limits_of, requests_of};

/// What is told of containers, and under a name of its own of init containers.
pub struct Containers {
    main: [Family; 11],
    init: [Family; 11],
}

/// In the order that [`status`] and [`resources`] fill them in.
macro_rules! families {
    ($kind:literal, $a:literal, $the:literal) => {
        [
            Family::gauge(concat!("kube_pod_", $kind, "_info"), concat!("Information about ", $a, " in a pod.")),
            Family::gauge(
                concat!("kube_pod_", $kind, "_status_ready"),
                concat!("Describes whether the readiness check of ", $the, " succeeded."),
            ),
            Family::gauge(
                concat!("kube_pod_", $kind, "_status_running"),
                concat!("Describes whether ", $the, " is currently in running state."),
            ),
            Family::gauge(
                concat!("kube_pod_", $kind, "_status_waiting"),
                concat!("Describes whether ", $the, " is currently in waiting state."),
            ),
            Family::gauge(
                concat!("kube_pod_", $kind, "_status_waiting_reason"),
                concat!("Describes the reason ", $the, " is currently in waiting state."),
            ),
            Family::gauge(
                concat!("kube_pod_", $kind, "_status_terminated"),
                concat!("Describes whether ", $the, " is currently in terminated state."),
            ),
            Family::gauge(
                concat!("kube_pod_", $kind, "_status_terminated_reason"),
                concat!("Describes the reason ", $the, " is currently in terminated state."),
            ),
            Family::gauge(
                concat!("kube_pod_", $kind, "_status_last_terminated_reason"),
                concat!("Describes the last reason ", $the, " was in terminated state."),
            ),
            Family::counter(concat!("kube_pod_", $kind, "_status_restarts_total"), concat!("The number of restarts of ", $the, ".")),
            Family::gauge(
                concat!("kube_pod_", $kind, "_resource_requests"),
                concat!("The number of requested request resource by ", $a, "."),
            ),
            Family::gauge(concat!("kube_pod_", $kind, "_resource_limits"), concat!("The number of requested limit resource by ", $a, ".")),
        ]
    };
}

impl Containers {
    /// None yet.
    pub fn new() -> Containers {
        Containers {
            main: families!("container", "a container", "the container"),
            init: families!("init_container", "an init container", "the init container"),
        }
    }

    /// Tells of those of a pod with the labels `of`.
    pub fn add(&mut self, of: &Labels, spec: &PodSpec, told: &PodStatus) {
        let inits = spec.init_containers.as_deref().unwrap_or_default();
        for (families, containers, statuses) in
            [(&mut self.main, spec.containers.as_slice(), &told.container_statuses), (&mut self.init, inits, &told.init_container_statuses)]
        {
            for one in statuses.iter().flatten() {
                let image = containers.iter().find(|c| c.name == one.name).and_then(|c| c.image.as_deref()).unwrap_or_default();
                status(families, &with(of, "container", &one.name), one, image);
            }
            containers.iter().for_each(|one| resources(families, &with(of, "container", &one.name), one));
        }
    }

    /// All of them.
    pub fn families(self) -> impl Iterator<Item = Family> {
        self.main.into_iter().chain(self.init)
    }
}

/// `image`: as the manifest has it.
fn status(families: &mut [Family; 11], of: &Labels, one: &ContainerStatus, image: &str) {
    let [info, ready, running, waiting, waiting_reason, terminated, terminated_reason, last_reason, restarts, ..] = families;
    let id = one.container_id.as_deref().unwrap_or_default();
    let about = [("image_spec", image), ("image", &one.image), ("image_id", &one.image_id), ("container_id", id)];
    info.add(about.into_iter().fold(of.clone(), |labels, (name, value)| with(&labels, name, value)), 1.0);
    ready.add(of.clone(), flag(one.ready));
    let state = one.state.clone().unwrap_or_default();
    running.add(of.clone(), flag(state.running.is_some()));
    waiting.add(of.clone(), flag(state.waiting.is_some()));
    terminated.add(of.clone(), flag(state.terminated.is_some()));
    let last = one.last_state.as_ref().and_then(|s| s.terminated.as_ref()).and_then(|t| t.reason.clone());
    let reasons = [
        (waiting_reason, state.waiting.and_then(|w| w.reason)),
        (terminated_reason, state.terminated.and_then(|t| t.reason)),
        (last_reason, last),
    ];
    for (family, reason) in reasons {
        reason.iter().for_each(|reason| family.add(with(of, "reason", reason), 1.0));
    }
    restarts.add(of.clone(), f64::from(one.restart_count));
}

fn resources(families: &mut [Family; 11], of: &Labels, one: &Container) {
    let [.., requests, limits] = families;
    amounts(requests, of, &requests_of(one));
    amounts(limits, of, &limits_of(one));
}
