//! A Pod's quality of service class: Guaranteed, Burstable or BestEffort (pkg/apis/core/v1/helper/qos/qos.go ComputePodQOS).

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};

use super::attempt::containers;
use crate::api::quantity::{self, Quantity, ResourceList};

/// Every container has cpu and memory limits equal to its requests.
pub const GUARANTEED: &str = "Guaranteed";
/// Something is requested or limited.
pub const BURSTABLE: &str = "Burstable";
/// Nothing is.
pub const BEST_EFFORT: &str = "BestEffort";

/// The class, from cpu and memory of containers and init containers, or of the pod where `spec.resources` says so. Requests default to limits.
pub fn qos_class(pod: &Pod) -> &'static str {
    let of_pod = pod.spec.as_ref().and_then(|s| s.resources.as_ref()).filter(|r| r.limits.is_some() || r.requests.is_some());
    let all: Vec<Compute> = match of_pod {
        Some(resources) => vec![Compute::of(Some(resources))],
        None => containers(pod).map(|(_, c)| Compute::of(c.resources.as_ref())).collect(),
    };
    if all.iter().all(Compute::is_empty) {
        BEST_EFFORT
    } else if all.iter().all(Compute::is_guaranteed) {
        GUARANTEED
    } else {
        BURSTABLE
    }
}

/// cpu and memory; zero counts as unset.
struct Compute {
    limits: [Option<Quantity>; 2],
    requests: [Option<Quantity>; 2],
}

impl Compute {
    fn of(resources: Option<&ResourceRequirements>) -> Compute {
        let pair = |side: Option<&ResourceList>| {
            let get = |name| side.and_then(|s| quantity::parse(&s.get(name)?.0).ok()).filter(|q| *q > Quantity::ZERO);
            ["cpu", "memory"].map(get)
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
    use serde_json::{Value, json};

    use super::*;

    fn class(containers: &[Value], inits: &[Value], whole_pod: Option<Value>) -> &'static str {
        let all = |resources: &[Value]| resources.iter().map(|r| json!({"name": "c", "resources": r})).collect::<Vec<_>>();
        let mut spec = json!({"containers": all(containers), "initContainers": all(inits)});
        spec["resources"] = whole_pod.unwrap_or_default();
        qos_class(&serde_json::from_value(json!({"spec": spec})).unwrap())
    }

    #[test]
    fn classes() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let none = json!({});
        let limits_and = |requests: Value| json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": requests});
        for (containers, inits, whole_pod, expected) in [
            (vec![none.clone()], vec![], None, BEST_EFFORT),
            (vec![json!({"limits": {"cpu": "0"}})], vec![], None, BEST_EFFORT),
            (vec![json!({"limits": {"nvidia.com/gpu": "1"}})], vec![], None, BEST_EFFORT),
            (vec![full.clone()], vec![], None, GUARANTEED),
            (vec![limits_and(json!({"cpu": "1000m", "memory": "1024Mi"}))], vec![], None, GUARANTEED),
            (vec![limits_and(json!({"cpu": "500m"}))], vec![], None, BURSTABLE),
            (vec![json!({"limits": {"memory": "1Gi"}})], vec![], None, BURSTABLE),
            (vec![json!({"requests": {"cpu": "1m"}})], vec![], None, BURSTABLE),
            (vec![full.clone(), none.clone()], vec![], None, BURSTABLE),
            (vec![full.clone()], vec![none.clone()], None, BURSTABLE),
            (vec![full.clone()], vec![full.clone()], None, GUARANTEED),
            (vec![none], vec![], Some(full.clone()), GUARANTEED),
            (vec![full], vec![], Some(json!({"requests": {"cpu": "1"}})), BURSTABLE),
        ] {
            assert_eq!(class(&containers, &inits, whole_pod.clone()), expected, "{containers:?} {inits:?} {whole_pod:?}");
        }
    }
}
