//! What a pod's containers come to together: the one rule by which their requests and their limits are summed.
//!
//! `AggregateContainerRequests` and `AggregateContainerLimits` of `staging/src/k8s.io/component-helpers/resource/helpers.go`. Exact quantities, for what is
//! written and shown; [`super::pod_requests`] counts in integers by the same rule.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{Quantity, ResourceList, parse};

/// What the main containers and the sidecars take together, or what the init containers need at their worst moment (each beside the sidecars started
/// before it), whichever is more, resource by resource.
pub(super) fn at_worst<V: Copy + Ord>(
    spec: &PodSpec,
    of: impl Fn(&Container) -> BTreeMap<String, V>,
    plus: fn(V, V) -> V,
) -> BTreeMap<String, V> {
    let add = |total: &mut BTreeMap<String, V>, more: &BTreeMap<String, V>| {
        for (name, value) in more {
            total.entry(name.clone()).and_modify(|sum| *sum = plus(*sum, *value)).or_insert(*value);
        }
    };
    let mut total = BTreeMap::new();
    for container in &spec.containers {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut worst) = (BTreeMap::new(), BTreeMap::<String, V>::new());
    for init in spec.init_containers.iter().flatten() {
        let mut moment = of(init);
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
    total
}

fn raise<V: Copy + Ord>(total: &mut BTreeMap<String, V>, at_least: BTreeMap<String, V>) {
    for (name, value) in at_least {
        total.entry(name).and_modify(|most| *most = (*most).max(value)).or_insert(value);
    }
}

/// Whether pods as a whole can ask for the resource (IsSupportedPodLevelResource).
pub fn of_whole_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// What the containers request together. A quantity that does not parse counts as absent.
pub fn container_requests(spec: &PodSpec) -> BTreeMap<String, Quantity> {
    at_worst(spec, |c| quantities(c.resources.as_ref().and_then(|r| r.requests.as_ref())), Quantity::plus)
}

/// What the containers are limited to together, of what any of them limits.
pub fn container_limits(spec: &PodSpec) -> BTreeMap<String, Quantity> {
    at_worst(spec, |c| quantities(c.resources.as_ref().and_then(|r| r.limits.as_ref())), Quantity::plus)
}

fn quantities(list: Option<&ResourceList>) -> BTreeMap<String, Quantity> {
    list.into_iter().flatten().filter_map(|(name, text)| Some((name.clone(), parse(&text.0).ok()?))).collect()
}
