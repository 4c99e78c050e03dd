//! Requests and limits of a pod as a whole, where a manifest sets only some: `defaultHugePagePodLimits` and `defaultPodRequests` in
//! `pkg/apis/core/v1/defaults.go`. Runs after the containers have their requests.

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::api::resource;

use super::pod::round_up;
use crate::api::quantity::{self, ResourceList};

/// Completes `spec.resources`, if it says anything at all.
pub(super) fn apply(spec: &mut PodSpec) {
    let (requested, limited) = (quantity::container_requests(spec), quantity::container_limits(spec));
    let Some(resources) = &mut spec.resources else { return };
    for list in [&mut resources.limits, &mut resources.requests].into_iter().flatten() {
        round_up(list);
    }
    let (mut limits, mut requests) = (resources.limits.take().unwrap_or_default(), resources.requests.take().unwrap_or_default());
    if !limits.is_empty() || !requests.is_empty() {
        let huge = limited.iter().filter(|(name, _)| is_huge(name) && !requests.contains_key(*name));
        huge.for_each(|(name, sum)| complete(&mut limits, name, *sum));
    }
    if !limits.is_empty() {
        let shared = requested.iter().filter(|(name, _)| quantity::of_whole_pods(name) && !is_huge(name));
        shared.for_each(|(name, sum)| complete(&mut requests, name, *sum));
        for (name, limit) in limits.iter().filter(|(name, _)| quantity::of_whole_pods(name)) {
            requests.entry(name.clone()).or_insert_with(|| limit.clone());
        }
    }
    resources.limits = Some(limits).filter(|l| !l.is_empty());
    resources.requests = Some(requests).filter(|r| !r.is_empty());
}

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn complete(list: &mut ResourceList, name: &str, sum: quantity::Quantity) {
    list.entry(name.to_owned()).or_insert_with(|| resource::Quantity(sum.to_string()));
}
