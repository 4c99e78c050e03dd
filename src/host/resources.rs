//! What a pod asks for as a whole: its QoS class and the limits of its cgroup. Pure.
//!
//! After pkg/kubelet/cm/helpers_linux.go (ResourceConfigForPod). The class is `pod::qos`'s, the sums are `api::quantity`'s.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::quantity::{self, Amounts};
use crate::oci::resources::{cpu_quota, cpu_shares, page_size, page_size_name};
use crate::pod::qos;

/// A pod's QoS class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// Every container has cpu and memory limits equal to its requests.
    Guaranteed,
    /// Something is asked for.
    Burstable,
    /// Nothing is asked for.
    BestEffort,
}

impl Qos {
    /// Every class.
    pub const ALL: [Qos; 3] = [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort];
}

/// The limits of a pod's cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodLimits {
    /// The class.
    pub qos: Qos,
    /// The sum of cpu requests in millicores.
    pub cpu_request_millis: u64,
    /// cpu.shares.
    pub cpu_shares: u64,
    /// CFS quota in microseconds per `oci::resources::CPU_PERIOD`; `None` unless every container has a cpu limit.
    pub cpu_quota_us: Option<u64>,
    /// Memory limit in bytes; `None` unless every container has a memory limit.
    pub memory_bytes: Option<u64>,
}

/// The limits of this pod's cgroup.
pub fn pod_limits(pod: &Pod) -> PodLimits {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let qos = qos(pod);
    let (requests, limits) = (quantity::pod_requests(spec), quantity::pod_limits(spec));
    let limit = |name| Some(positive(&limits, name)).filter(|limit| *limit > 0 && qos != Qos::BestEffort && is_limited(spec, name));
    let request_millis = positive(&requests, "cpu");
    PodLimits {
        qos,
        cpu_request_millis: request_millis,
        cpu_shares: if qos == Qos::BestEffort { shares(0) } else { shares(request_millis) },
        cpu_quota_us: limit("cpu").and_then(|millis| cpu_quota(signed(millis))).map(i64::unsigned_abs),
        memory_bytes: limit("memory"),
    }
}

/// The pod's limit of huge pages of each size the host has, by the kernel's name of the size (`2MB`): what it asks for, else 0 (HugePageLimits, and
/// pkg/kubelet/cm/cgroup_manager_linux.go toResources).
pub fn hugepage_limits(pod: &Pod, sizes: &[u64]) -> Vec<(String, u64)> {
    let requests = pod.spec.as_ref().map(quantity::pod_requests).unwrap_or_default();
    let asked: std::collections::BTreeMap<String, u64> =
        requests.keys().filter_map(|name| Some((page_size(name.strip_prefix("hugepages-")?)?, positive(&requests, name)))).collect();
    let names = sizes.iter().map(|size| page_size_name(*size));
    names.map(|name| (name.clone(), asked.get(&name).copied().unwrap_or(0))).collect()
}

/// Whether the pod says so itself, or every container limits this.
fn is_limited(spec: &PodSpec, name: &str) -> bool {
    let of_pod = spec.resources.as_ref().and_then(|r| r.limits.as_ref()).is_some_and(|limits| limits.contains_key(name));
    let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    of_pod || containers.all(|c| positive(&quantity::limits_of(c), name) > 0)
}

/// 0 for what is absent or below zero (validation refused it).
fn positive(amounts: &Amounts, name: &str) -> u64 {
    amounts.get(name).map_or(0, |amount| u64::try_from(*amount).unwrap_or(0))
}

/// A quantity in whole units (bytes), rounded up; 0 for what is no quantity or below zero (validation refused it).
pub fn bytes(written: &Quantity) -> u64 {
    quantity::whole(written).map_or(0, |bytes| u64::try_from(bytes).unwrap_or(0))
}

/// cpu.shares of a cpu request.
pub fn shares(millis: u64) -> u64 {
    cpu_shares(signed(millis))
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// cgroup v2's cpu.weight of cpu.shares (cpuSharesToCPUWeight).
pub fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn qos(pod: &Pod) -> Qos {
    match qos::qos_class(pod) {
        qos::GUARANTEED => Qos::Guaranteed,
        qos::BURSTABLE => Qos::Burstable,
        _ => Qos::BestEffort,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limits(spec: serde_json::Value) -> PodLimits {
        pod_limits(&serde_json::from_value(json!({"metadata": {"uid": "u"}, "spec": spec})).unwrap())
    }

    fn container(resources: serde_json::Value) -> serde_json::Value {
        json!({"name": "c", "resources": resources})
    }

    #[test]
    fn besteffort_has_two_shares_and_no_limit() {
        let l = limits(json!({"containers": [{"name": "c"}]}));
        let expected = PodLimits { qos: Qos::BestEffort, cpu_request_millis: 0, cpu_shares: 2, cpu_quota_us: None, memory_bytes: None };
        assert_eq!(l, expected);
    }

    #[test]
    fn guaranteed_has_all_limits_requests_defaulting() {
        let l = limits(json!({"containers": [container(json!({"limits": {"cpu": "500m", "memory": "64Mi"}}))]}));
        assert_eq!((l.qos, l.cpu_shares, l.cpu_quota_us, l.memory_bytes), (Qos::Guaranteed, 512, Some(50_000), Some(64 << 20)));
    }

    #[test]
    fn burstable_is_limited_only_where_every_container_is() {
        let limited = container(json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "1Gi"}}));
        let cpu_only = container(json!({"limits": {"cpu": "1"}}));
        let l = limits(json!({"containers": [limited, cpu_only]}));
        assert_eq!((l.qos, l.cpu_shares, l.cpu_quota_us, l.memory_bytes), (Qos::Burstable, 1126, Some(200_000), None));
    }

    #[test]
    fn init_containers_count_as_the_greediest_and_sidecars_as_containers() {
        let request = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let spec = json!({
            "initContainers": [
                {"name": "side", "restartPolicy": "Always", "resources": request("100m")},
                {"name": "init", "resources": request("2")},
            ],
            "containers": [container(request("500m")), container(request("500m"))],
        });
        assert_eq!(limits(spec.clone()).cpu_request_millis, 2100);
        let mut small = spec;
        small["initContainers"][1]["resources"] = request("200m");
        assert_eq!(limits(small).cpu_request_millis, 1100);
    }

    #[test]
    fn a_pod_s_own_limits_hold_for_all_of_it_and_its_overhead_is_added() {
        let own = json!({"requests": {"cpu": "250m"}, "limits": {"cpu": "1", "memory": "64Mi"}});
        let containers = json!([{"name": "a"}, container(json!({"limits": {"cpu": "100m"}}))]);
        let l = limits(json!({"resources": own, "containers": containers, "overhead": {"cpu": "50m", "memory": "1Mi"}}));
        assert_eq!((l.qos, l.cpu_request_millis, l.cpu_shares), (Qos::Burstable, 300, 307));
        assert_eq!((l.cpu_quota_us, l.memory_bytes), (Some(105_000), Some(65 << 20)));
        let full = json!({"limits": {"cpu": "2m", "memory": "1Mi"}});
        let l = limits(json!({"resources": full, "containers": [{"name": "a"}]}));
        assert_eq!((l.qos, l.cpu_quota_us), (Qos::Guaranteed, Some(1000)), "a quota of less than 1 ms is none to the kernel");
        let devices = json!({"limits": {"a.com/x": "1", "ephemeral-storage": "1Gi"}});
        let l = limits(json!({"containers": [container(devices)]}));
        assert_eq!((l.qos, l.cpu_shares, l.cpu_quota_us, l.memory_bytes), (Qos::BestEffort, 2, None, None));
    }

    #[test]
    fn huge_pages_are_limited_to_what_is_asked_for_of_each_size() {
        let of = |spec: serde_json::Value| hugepage_limits(&serde_json::from_value(json!({"spec": spec})).unwrap(), &[2 << 20, 1 << 30]);
        let named = |small: u64, large: u64| vec![("2MB".to_owned(), small), ("1GB".to_owned(), large)];
        assert_eq!(of(json!({"containers": [{"name": "c"}]})), named(0, 0), "no pod takes what it does not ask for");
        let two = json!({"limits": {"memory": "1Gi", "hugepages-2Mi": "4Mi"}});
        assert_eq!(of(json!({"containers": [container(two.clone()), container(two.clone())]})), named(8 << 20, 0));
        let init = json!({"name": "i", "resources": {"limits": {"cpu": "1", "hugepages-2Mi": "16Mi", "hugepages-1Gi": "1Gi"}}});
        assert_eq!(of(json!({"initContainers": [init], "containers": [container(two.clone())]})), named(16 << 20, 1 << 30));
        let whole = json!({"resources": {"limits": {"cpu": "1", "hugepages-2Mi": "64Mi"}}, "containers": [container(two)]});
        assert_eq!(of(whole), named(64 << 20, 0), "the pod's own word counts");
        assert_eq!(hugepage_limits(&Pod::default(), &[]), [], "a host without huge pages");
    }

    #[test]
    fn shares_and_weights_are_clamped() {
        assert_eq!((shares(0), shares(1000), shares(u64::MAX)), (2, 1024, 262_144));
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
    }
}
