//! Resource lists: what a container or a pod asks for and may use, as the integers Kubernetes counts with.
//!
//! cpu is counted in thousandths of a core, everything else in whole units (bytes, pieces). Rules of
//! `staging/src/k8s.io/component-helpers/resource/helpers.go`. A quantity that does not parse counts as absent: validation has refused it before.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource;

use super::aggregate::{at_worst, of_whole_pods};
use super::{Quantity, parse};

/// Kubernetes' ResourceList: resource name → quantity as written.
pub type ResourceList = BTreeMap<String, resource::Quantity>;

/// Resource name → what of it, as [`amounts`] counts.
pub type Amounts = BTreeMap<String, i64>;

/// A quantity as written in thousandths, rounded up; `None`: it is none.
pub fn milli(written: &resource::Quantity) -> Option<i64> {
    parse(&written.0).ok().map(Quantity::milli_value)
}

/// A quantity as written in whole units (bytes, pieces), rounded up; `None`: it is none.
pub fn whole(written: &resource::Quantity) -> Option<i64> {
    parse(&written.0).ok().map(Quantity::value)
}

/// Each quantity as the integer its resource is counted in: milli for `cpu`, whole units else.
pub fn amounts(list: &ResourceList) -> Amounts {
    let count = |name: &str, written| if name == "cpu" { milli(written) } else { whole(written) };
    list.iter().filter_map(|(name, written)| Some((name.clone(), count(name, written)?))).collect()
}

/// What the container may use at most; absent = unlimited.
pub fn limits_of(container: &Container) -> Amounts {
    container.resources.as_ref().map(limits).unwrap_or_default()
}

/// What the container asks for; a limit without a request is one.
pub fn requests_of(container: &Container) -> Amounts {
    container.resources.as_ref().map(requests).unwrap_or_default()
}

/// What a pod of this spec asks of the node (`PodRequests`): the sum over its containers and sidecars, or what its init containers need at their
/// worst moment, whichever is more; pod-level requests replace both; overhead is added.
pub fn pod_requests(spec: &PodSpec) -> Amounts {
    let mut total = total(spec, requests);
    add(&mut total, &spec.overhead.as_ref().map(amounts).unwrap_or_default());
    total
}

/// What a pod of this spec may use at most of the resources that any container limits (`PodLimits`), summed as [`pod_requests`] is. Whether
/// every container limits a resource, so that the pod as a whole is limited, is for the caller to ask.
pub fn pod_limits(spec: &PodSpec) -> Amounts {
    let mut total = total(spec, limits);
    let mut overhead = spec.overhead.as_ref().map(amounts).unwrap_or_default();
    overhead.retain(|name, _| total.contains_key(name));
    add(&mut total, &overhead);
    total
}

/// Requests; a resource with a limit and no request asks for the limit.
fn requests(resources: &ResourceRequirements) -> Amounts {
    let mut requests = limits(resources);
    requests.extend(resources.requests.as_ref().map(amounts).unwrap_or_default());
    requests
}

fn limits(resources: &ResourceRequirements) -> Amounts {
    resources.limits.as_ref().map(amounts).unwrap_or_default()
}

fn total(spec: &PodSpec, side: fn(&ResourceRequirements) -> Amounts) -> Amounts {
    let of = |container: &Container| container.resources.as_ref().map(side).unwrap_or_default();
    let mut total = at_worst(spec, of, i64::saturating_add);
    let whole_pod = spec.resources.as_ref().map(side).unwrap_or_default();
    total.extend(whole_pod.into_iter().filter(|(name, _)| of_whole_pods(name)));
    total
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, value) in more {
        let sum = total.entry(name.clone()).or_insert(0);
        *sum = sum.saturating_add(*value);
    }
}
