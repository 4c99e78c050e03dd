//! A pod's quality of service class: Guaranteed, Burstable or BestEffort (pkg/apis/core/v1/helper/qos/qos.go ComputePodQOS).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::amount;

/// Every container has cpu and memory limits equal to its requests.
pub const GUARANTEED: &str = "Guaranteed";
/// Something is requested or limited.
pub const BURSTABLE: &str = "Burstable";
/// Nothing is.
pub const BEST_EFFORT: &str = "BestEffort";

/// The class, from cpu and memory of containers and init containers, or of the pod where `spec.resources` says so. Requests default to limits.
pub fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else { return BEST_EFFORT };
    let of_pod = spec.resources.as_ref().filter(|r| r.limits.is_some() || r.requests.is_some());
    let all: Vec<Compute> = match of_pod {
        Some(resources) => vec![Compute::of(Some(resources))],
        None => spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|c| Compute::of(c.resources.as_ref())).collect(),
    };
    if all.iter().all(Compute::is_empty) {
        BEST_EFFORT
    } else if all.iter().all(Compute::is_guaranteed) {
        GUARANTEED
    } else {
        BURSTABLE
    }
}

/// cpu in millicores and memory in bytes; zero counts as unset.
struct Compute {
    limits: [Option<i64>; 2],
    requests: [Option<i64>; 2],
}

impl Compute {
    fn of(resources: Option<&ResourceRequirements>) -> Compute {
        let pair = |map: Option<&BTreeMap<String, Quantity>>| {
            let get = |name: &str| map.and_then(|m| m.get(name));
            [get("cpu").and_then(amount::milli), get("memory").and_then(amount::whole)].map(|v| v.filter(|v| *v > 0))
        };
        let limits = pair(resources.and_then(|r| r.limits.as_ref()));
        let requests = pair(resources.and_then(|r| r.requests.as_ref()));
        Compute { limits, requests: [requests[0].or(limits[0]), requests[1].or(limits[1])] }
    }

    fn is_empty(&self) -> bool {
        self.limits.iter().chain(&self.requests).all(Option::is_none)
    }

    /// Per container; Kubernetes compares sums, which is the same since no request may exceed its limit.
    fn is_guaranteed(&self) -> bool {
        self.limits.iter().all(Option::is_some) && self.limits == self.requests
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::pod_with;
    use super::*;

    #[test]
    fn classes() {
        let full = "{limits: {cpu: 1, memory: 1Gi}}";
        for (containers, inits, pod, expected) in [
            (vec!["{}"], vec![], "{}", BEST_EFFORT),
            (vec!["{limits: {cpu: 0}}"], vec![], "{}", BEST_EFFORT),
            (vec!["{limits: {nvidia.com/gpu: 1}}"], vec![], "{}", BEST_EFFORT),
            (vec![full], vec![], "{}", GUARANTEED),
            (vec!["{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1024Mi}}"], vec![], "{}", GUARANTEED),
            (vec!["{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}"], vec![], "{}", BURSTABLE),
            (vec!["{limits: {memory: 1Gi}}"], vec![], "{}", BURSTABLE),
            (vec!["{requests: {cpu: 1m}}"], vec![], "{}", BURSTABLE),
            (vec![full, "{}"], vec![], "{}", BURSTABLE),
            (vec![full], vec!["{}"], "{}", BURSTABLE),
            (vec![full], vec![full], "{}", GUARANTEED),
            (vec!["{}"], vec![], full, GUARANTEED),
            (vec![full], vec![], "{requests: {cpu: 1}}", BURSTABLE),
        ] {
            assert_eq!(qos_class(&pod_with(&containers, &inits, pod)), expected, "{containers:?} {inits:?} {pod}");
        }
    }
}
