//! What a pod asks for as a whole: its QoS class and the limits of its cgroup. Pure.
//!
//! After pkg/kubelet/cm/helpers_linux.go (ResourceConfigForPod), staging/src/k8s.io/component-helpers/resource/helpers.go
//! (PodRequests, PodLimits). The class itself is `oci::qos_class`'s. Hugepage limits are left out.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::quantity;
use crate::oci::qos_class;

/// The least and the most cpu.shares the kernel takes.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// The CFS period in microseconds.
pub const CPU_PERIOD_US: u64 = 100_000;
/// The least CFS quota in microseconds.
const MIN_QUOTA_US: u64 = 1_000;

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
    /// CFS quota in microseconds per [`CPU_PERIOD_US`]; `None` unless every container has a cpu limit.
    pub cpu_quota_us: Option<u64>,
    /// Memory limit in bytes; `None` unless every container has a memory limit.
    pub memory_bytes: Option<u64>,
}

/// The limits of this pod's cgroup.
pub fn pod_limits(pod: &Pod) -> PodLimits {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let qos = qos(pod);
    let request_millis = total(spec, "cpu", Side::Requests, millis);
    let limit = |resource, read: fn(&Quantity) -> u64| {
        let declared = pod_level(spec, resource, Side::Limits).is_some()
            || containers(spec).all(|c| of(c.resources.as_ref(), resource, Side::Limits).is_some_and(|q| read(q) > 0));
        (declared && qos != Qos::BestEffort).then(|| total(spec, resource, Side::Limits, read)).filter(|total| *total > 0)
    };
    PodLimits {
        qos,
        cpu_request_millis: request_millis,
        cpu_shares: if qos == Qos::BestEffort { *SHARES.start() } else { shares(request_millis) },
        cpu_quota_us: limit("cpu", millis).map(quota_us),
        memory_bytes: limit("memory", bytes),
    }
}

/// A quantity in whole units (bytes), rounded up; 0 for what is no quantity or below zero (validation refused it).
pub fn bytes(quantity: &Quantity) -> u64 {
    quantity::parse(&quantity.0).map_or(0, |q| u64::try_from(q.value()).unwrap_or(0))
}

/// A quantity in thousandths (millicores), likewise.
fn millis(quantity: &Quantity) -> u64 {
    quantity::parse(&quantity.0).map_or(0, |q| u64::try_from(q.milli_value()).unwrap_or(0))
}

/// cpu.shares of a cpu request (MilliCPUToShares).
pub fn shares(millis: u64) -> u64 {
    (millis.saturating_mul(1024) / 1000).clamp(*SHARES.start(), *SHARES.end())
}

/// cgroup v2's cpu.weight of cpu.shares (cpuSharesToCPUWeight).
pub fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(*SHARES.start(), *SHARES.end()) - 2) * 9999 / 262_142
}

fn quota_us(millis: u64) -> u64 {
    (millis.saturating_mul(CPU_PERIOD_US) / 1000).max(MIN_QUOTA_US)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Requests,
    Limits,
}

fn of<'a>(resources: Option<&'a ResourceRequirements>, resource: &str, side: Side) -> Option<&'a Quantity> {
    let resources = resources?;
    let limit = || resources.limits.as_ref()?.get(resource);
    match side {
        Side::Limits => limit(),
        // Requests default to limits (SetDefaults_Pod).
        Side::Requests => resources.requests.as_ref().and_then(|r| r.get(resource)).or_else(limit),
    }
}

fn pod_level<'a>(spec: &'a PodSpec, resource: &str, side: Side) -> Option<&'a Quantity> {
    of(spec.resources.as_ref(), resource, side)
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// The sum over containers and sidecars, or what the greediest init container needs beside the sidecars started before it.
fn total(spec: &PodSpec, resource: &str, side: Side, read: fn(&Quantity) -> u64) -> u64 {
    let need = |c: &Container| of(c.resources.as_ref(), resource, side).map_or(0, read);
    let mut sidecars = 0_u64;
    let mut greediest = 0_u64;
    for init in spec.init_containers.iter().flatten() {
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars = sidecars.saturating_add(need(init));
            greediest = greediest.max(sidecars);
        } else {
            greediest = greediest.max(sidecars.saturating_add(need(init)));
        }
    }
    let running = spec.containers.iter().map(need).fold(sidecars, u64::saturating_add);
    let containers = pod_level(spec, resource, side).map_or(running.max(greediest), read);
    let overhead = spec.overhead.as_ref().and_then(|o| o.get(resource)).map_or(0, read);
    containers.saturating_add(overhead)
}

fn qos(pod: &Pod) -> Qos {
    match qos_class(pod) {
        crate::oci::qos::GUARANTEED => Qos::Guaranteed,
        crate::oci::qos::BURSTABLE => Qos::Burstable,
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
    fn shares_weights_and_quotas_are_clamped() {
        assert_eq!((shares(0), shares(1000), shares(u64::MAX)), (2, 1024, 262_144));
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
        assert_eq!((quota_us(1), quota_us(500)), (1_000, 50_000));
    }
}
