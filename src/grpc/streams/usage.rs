//! Usage: what running containers, or the node, use: two samples of their cgroups about a second apart.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use tonic::Status;

use super::Live;
use crate::api::Kind;
use crate::grpc::ApiState;
use crate::grpc::pb::{PodUsage, Usage, UsageRequest, UsageResponse};
use crate::grpc::selector::Selector;
use crate::grpc::status::not_found;
use crate::host::usage::{Sample, rate};
use crate::pod::{attempt, phase};

/// Between the samples: the kernel counts CPU exactly, so a short window only means that it is the last second's use.
const WINDOW: Duration = Duration::from_secs(1);

/// Measures. Errors: NOT_FOUND for a pod that was named, INVALID_ARGUMENT for a selector that cannot be read.
pub(super) async fn usage(state: &ApiState, live: &Live, request: UsageRequest) -> Result<UsageResponse, Status> {
    let pods = if request.node { Vec::new() } else { pods(state, live, &request)? };
    let begun = Instant::now();
    let first: Vec<Vec<Option<Sample>>> = pods.iter().map(|pod| pod.sample(live)).collect();
    let node_first = request.node.then(|| live.usage.node()).flatten();
    tokio::time::sleep(WINDOW).await;
    let window = begun.elapsed();
    let pods = pods.iter().zip(first).map(|(pod, first)| pod.usage(live, &first, window)).filter(|p| !p.containers.is_empty());
    let pods: Vec<PodUsage> = pods.collect();
    let node = node_first.zip(live.usage.node()).map(|(before, after)| used(state.node_name.clone(), before, after, window));
    Ok(UsageResponse { pods, node, window_millis: u64::try_from(window.as_millis()).unwrap_or(u64::MAX) })
}

/// A pod and its running containers: name and cgroup.
struct Measured {
    namespace: String,
    name: String,
    containers: Vec<(String, String)>,
}

impl Measured {
    fn of(pod: &Pod, live: &Live) -> Measured {
        let running = attempt::containers(pod).filter_map(|(_, container)| {
            let status = attempt::status_of(pod, &container.name).filter(|status| phase::running(status))?;
            let id = attempt::bare_id(status.container_id.as_deref()?);
            Some((container.name.clone(), live.cgroups.container_path(pod, id)))
        });
        let meta = &pod.metadata;
        Measured {
            containers: running.collect(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }

    fn sample(&self, live: &Live) -> Vec<Option<Sample>> {
        self.containers.iter().map(|(_, cgroup)| live.usage.container(cgroup)).collect()
    }

    /// Of the containers that ran all the while.
    fn usage(&self, live: &Live, first: &[Option<Sample>], window: Duration) -> PodUsage {
        let second = self.sample(live);
        let both = self.containers.iter().zip(first).zip(second);
        let containers = both.filter_map(|(((name, _), before), after)| Some(used(name.clone(), (*before)?, after?, window)));
        PodUsage { containers: containers.collect(), namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

fn used(name: String, before: Sample, after: Sample, window: Duration) -> Usage {
    Usage { name, cpu_nanocores: rate(before, after, window), memory_bytes: after.memory_bytes }
}

fn pods(state: &ApiState, live: &Live, request: &UsageRequest) -> Result<Vec<Measured>, Status> {
    let selector = Selector::parse(&request.label_selector).map_err(Status::invalid_argument)?;
    let objects = state.store.list(Kind::Pod);
    let meant = objects.iter().filter_map(|object| object.as_pod()).filter(|pod| {
        let meta = &pod.metadata;
        (request.namespace.is_empty() || meta.namespace.as_ref() == Some(&request.namespace))
            && (request.pod.is_empty() || meta.name.as_ref() == Some(&request.pod))
            && selector.matches(meta.labels.as_ref())
    });
    let meant: Vec<Measured> = meant.map(|pod| Measured::of(pod, live)).collect();
    if meant.is_empty() && !request.pod.is_empty() {
        return Err(not_found(Kind::Pod, &request.pod));
    }
    Ok(meant)
}
