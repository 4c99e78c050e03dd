//! Resource lists: what a container or a pod asks for and may use, as the integers Kubernetes counts with.
//!
//! cpu is counted in thousandths of a core, everything else in whole units (bytes, pieces). Rules of
//! `staging/src/k8s.io/component-helpers/resource/helpers.go`. A quantity that does not parse counts as absent: validation has refused it before.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource;

use super::{Quantity, parse};

/// Kubernetes' ResourceList: resource name → quantity as written.
pub type ResourceList = BTreeMap<String, resource::Quantity>;

/// The resource in thousandths, if the list has it.
pub fn milli_cpu(list: &ResourceList, name: &str) -> Option<i64> {
    get(list, name).map(Quantity::milli_value)
}

/// The resource in whole units (bytes, pieces), if the list has it.
pub fn whole(list: &ResourceList, name: &str) -> Option<i64> {
    get(list, name).map(Quantity::value)
}

/// A quantity as the integer its resource is counted in: milli for `cpu`, whole units else.
pub fn canonical(name: &str, quantity: Quantity) -> i64 {
    if name == "cpu" { quantity.milli_value() } else { quantity.value() }
}

/// What the container asks for; a resource with a limit and no request asks for the limit.
pub fn requests_of(container: &Container) -> BTreeMap<String, i64> {
    let Some(resources) = &container.resources else { return BTreeMap::new() };
    let mut requests = canonical_list(resources.limits.as_ref());
    requests.extend(canonical_list(resources.requests.as_ref()));
    requests
}

/// What the container may use at most; absent = unlimited.
pub fn limits_of(container: &Container) -> BTreeMap<String, i64> {
    canonical_list(container.resources.as_ref().and_then(|r| r.limits.as_ref()))
}

/// What the pod asks of the node: [`pod_spec_requests`] of its spec.
pub fn pod_requests(pod: &Pod) -> BTreeMap<String, i64> {
    pod.spec.as_ref().map(pod_spec_requests).unwrap_or_default()
}

/// What a pod of this spec asks of the node: the sum over its containers and sidecars, or what its init containers need at their worst moment,
/// whichever is more; pod-level requests replace both; overhead is added (`PodRequests`).
pub fn pod_spec_requests(spec: &PodSpec) -> BTreeMap<String, i64> {
    let mut total = BTreeMap::new();
    for container in &spec.containers {
        add(&mut total, &requests_of(container));
    }
    let (mut sidecars, mut worst) = (BTreeMap::new(), BTreeMap::new());
    for init in spec.init_containers.iter().flatten() {
        let mut moment = requests_of(init);
        if init.restart_policy.as_deref() == Some("Always") {
            add(&mut total, &moment);
            add(&mut sidecars, &moment);
            moment.clone_from(&sidecars);
        } else {
            add(&mut moment, &sidecars);
        }
        raise(&mut worst, moment);
    }
    raise(&mut total, worst);
    if let Some(resources) = &spec.resources {
        let mut whole_pod = canonical_list(resources.limits.as_ref());
        whole_pod.extend(canonical_list(resources.requests.as_ref()));
        total.extend(whole_pod.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-")));
    }
    add(&mut total, &canonical_list(spec.overhead.as_ref()));
    total
}

/// What the pod as a whole may use: only the resources that every container (and sidecar) limits, as the pod's cgroup needs it
/// (`pkg/kubelet/cm/helpers_linux.go` ResourceConfigForPod).
pub fn pod_limits(spec: &PodSpec) -> BTreeMap<String, i64> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let lasting: Vec<_> = spec.containers.iter().chain(sidecars).map(limits_of).collect();
    let mut total = BTreeMap::new();
    for limits in &lasting {
        add(&mut total, limits);
    }
    total.retain(|name, _| lasting.iter().all(|limits| limits.contains_key(name)));
    let once = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() != Some("Always"));
    for limits in once.map(limits_of) {
        for (name, most) in &mut total {
            *most = (*most).max(limits.get(name).copied().unwrap_or(0));
        }
    }
    total
}

fn get(list: &ResourceList, name: &str) -> Option<Quantity> {
    list.get(name).and_then(|q| parse(&q.0).ok())
}

fn canonical_list(list: Option<&ResourceList>) -> BTreeMap<String, i64> {
    let parsed = list.into_iter().flatten().filter_map(|(name, q)| Some((name, parse(&q.0).ok()?)));
    parsed.map(|(name, q)| (name.clone(), canonical(name, q))).collect()
}

fn add(total: &mut BTreeMap<String, i64>, more: &BTreeMap<String, i64>) {
    for (name, value) in more {
        let sum = total.entry(name.clone()).or_insert(0);
        *sum = sum.saturating_add(*value);
    }
}

fn raise(total: &mut BTreeMap<String, i64>, at_least: BTreeMap<String, i64>) {
    for (name, value) in at_least {
        let most = total.entry(name).or_insert(0);
        *most = (*most).max(value);
    }
}
