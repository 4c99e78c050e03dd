//! cgroup limits and the OOM score, from requests and limits.
//!
//! Numbers: pkg/kubelet/cm/helpers_linux.go (shares, quota), pkg/kubelet/qos/policy.go (OOM score), kuberuntime_container_linux.go.
//! Memory swap is held to the limit where the host's `controllers` name `memsw`; otherwise swap is left to the kernel.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use oci_spec::runtime::{
    LinuxCpu, LinuxCpuBuilder, LinuxHugepageLimit, LinuxHugepageLimitBuilder, LinuxMemory, LinuxMemoryBuilder, LinuxResources,
    LinuxResourcesBuilder,
};

use super::{Inputs, OciError, devices};
use crate::api::quantity;
use crate::host::CgroupVersion;
use crate::pod::qos::{BEST_EFFORT, GUARANTEED, qos_class};

/// CFS period in µs.
pub const CPU_PERIOD: u64 = 100_000;
/// The least quota in µs: 1 ms, the kernel's own minimum.
const MIN_QUOTA: i64 = 1_000;
const SHARES: std::ops::RangeInclusive<i64> = 2..=262_144;

/// CPU shares for millicores, in [2, 262144] (MilliCPUToShares). On cgroup v2 too they stand in an OCI spec: the runtime converts.
pub fn cpu_shares(millis: i64) -> u64 {
    let shares = millis.max(0).saturating_mul(1024) / 1000;
    shares.clamp(*SHARES.start(), *SHARES.end()).unsigned_abs()
}

/// CFS quota in µs per [`CPU_PERIOD`] for millicores; `None` = unlimited.
pub fn cpu_quota(millis: i64) -> Option<i64> {
    (millis > 0).then(|| millis.saturating_mul(100).max(MIN_QUOTA))
}

/// linux.resources.
pub(super) fn resources(inputs: &Inputs) -> Result<LinuxResources, OciError> {
    let mut out = LinuxResourcesBuilder::default()
        .devices(devices::allowed(inputs))
        .cpu(cpu(inputs)?)
        .memory(memory(inputs)?)
        .build()
        .expect("every field of resources has a default");
    out.set_hugepage_limits(Some(hugepages(inputs)?).filter(|h| !h.is_empty()));
    if inputs.host.cgroup_version == CgroupVersion::V2 {
        // One process out of memory takes the container with it.
        out.set_unified(Some(HashMap::from([("memory.oom.group".to_owned(), "1".to_owned())])));
    }
    Ok(out)
}

/// The container's limit; where it has none, the pod's (kuberuntime_container_linux.go getCPULimit, getMemoryLimit).
fn effective_limit(inputs: &Inputs, name: &str) -> Option<Quantity> {
    let of_pod = || get(inputs.spec()?.resources.as_ref()?.limits.as_ref(), name);
    limit(inputs.container, name).or_else(of_pod)
}

fn cpu(inputs: &Inputs) -> Result<LinuxCpu, OciError> {
    let container = inputs.container;
    let limit = amount(container, "limits", effective_limit(inputs, "cpu"), "cpu", quantity::milli)?;
    let own = get(container.resources.as_ref().and_then(|r| r.requests.as_ref()), "cpu");
    let request = amount(container, "requests", own.or_else(|| effective_limit(inputs, "cpu")), "cpu", quantity::milli)?;
    let mut cpu =
        LinuxCpuBuilder::default().shares(cpu_shares(request)).period(CPU_PERIOD).build().expect("every field of cpu has a default");
    cpu.set_quota(cpu_quota(limit));
    Ok(cpu)
}

fn memory(inputs: &Inputs) -> Result<LinuxMemory, OciError> {
    let limit = amount(inputs.container, "limits", effective_limit(inputs, "memory"), "memory", quantity::whole)?;
    let mut memory = LinuxMemoryBuilder::default().build().expect("every field of memory has a default");
    if limit > 0 {
        memory.set_limit(Some(limit));
        if inputs.host.controllers.iter().any(|c| c == "memsw") {
            memory.set_swap(Some(limit));
        }
    }
    Ok(memory)
}

/// For each size the host has: what is asked for, else 0 (kuberuntime_container_linux.go GetHugepageLimitsFromResources). Where the host has no hugetlb
/// controller, nothing is limited, as containerd does it (tolerate_missing_hugetlb_controller).
fn hugepages(inputs: &Inputs) -> Result<Vec<LinuxHugepageLimit>, OciError> {
    let asked = asked_hugepages(inputs)?;
    if !inputs.host.controllers.iter().any(|c| c == "hugetlb") {
        return Ok(Vec::new());
    }
    let mut limits: BTreeMap<String, i64> = inputs.host.hugepages.keys().map(|size| (page_size_name(*size), 0)).collect();
    limits.extend(asked);
    let limit = |(size, limit)| LinuxHugepageLimitBuilder::default().page_size(size).limit(limit).build().expect("size and limit are set");
    Ok(limits.into_iter().map(limit).collect())
}

/// Kernel's name of the size → bytes.
fn asked_hugepages(inputs: &Inputs) -> Result<Vec<(String, i64)>, OciError> {
    let container = inputs.container;
    let of_pod = inputs.spec().and_then(|s| s.resources.as_ref()).and_then(|r| r.limits.as_ref());
    let own = container.resources.as_ref().and_then(|r| r.limits.as_ref());
    // The container's own stand above the pod's.
    let limits: BTreeMap<String, Quantity> = [of_pod, own].into_iter().flatten().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    let pages = limits.iter().filter_map(|(name, q)| Some((name, name.strip_prefix("hugepages-")?, q)));
    pages
        .map(|(name, size, quantity)| {
            let limit = amount(container, "limits", Some(quantity.clone()), name, quantity::whole)?;
            let size = page_size(size).ok_or_else(|| OciError::invalid(format!("resources.limits[{name}]"), size, "no huge page size"))?;
            Ok((size, limit))
        })
        .collect()
}

/// `2Mi` as the kernel names it: `2MB`.
pub fn page_size(text: &str) -> Option<String> {
    let bytes = quantity::whole(&Quantity(text.to_owned())).filter(|b| *b > 0)?;
    Some(page_size_name(bytes.unsigned_abs()))
}

/// A size of huge pages in bytes as the kernel names it: `2MB`.
pub fn page_size_name(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes, "B");
    for next in ["KB", "MB", "GB"] {
        if value < 1024 || value % 1024 != 0 {
            break;
        }
        (value, unit) = (value / 1024, next);
    }
    format!("{value}{unit}")
}

/// A resource's request; its limit where none is set (API defaulting).
pub(super) fn request(container: &Container, name: &str) -> Option<Quantity> {
    let requests = container.resources.as_ref().and_then(|r| r.requests.as_ref());
    get(requests, name).or_else(|| limit(container, name))
}

fn limit(container: &Container, name: &str) -> Option<Quantity> {
    get(container.resources.as_ref().and_then(|r| r.limits.as_ref()), name)
}

fn get(map: Option<&BTreeMap<String, Quantity>>, name: &str) -> Option<Quantity> {
    map.and_then(|m| m.get(name)).cloned()
}

/// The amount of a quantity; 0 where there is none.
fn amount(
    container: &Container,
    kind: &str,
    quantity: Option<Quantity>,
    name: &str,
    unit: impl Fn(&Quantity) -> Option<i64>,
) -> Result<i64, OciError> {
    let Some(quantity) = quantity else { return Ok(0) };
    let field = || format!("containers[{}].resources.{kind}[{name}]", container.name);
    let amount = unit(&quantity).ok_or_else(|| OciError::invalid(field(), quantity.0.clone(), "no quantity"))?;
    if amount < 0 { Err(OciError::invalid(field(), quantity.0, "must be greater than or equal to 0")) } else { Ok(amount) }
}

/// process.oomScoreAdj, no lower than this host allows.
pub(super) fn oom_score_adj(inputs: &Inputs) -> i32 {
    let critical = inputs.spec().and_then(|s| s.priority_class_name.as_deref()) == Some("system-node-critical");
    let score = match qos_class(inputs.pod) {
        _ if critical => -997,
        GUARANTEED => -997,
        BEST_EFFORT => 1000,
        _ => burstable_score(inputs),
    };
    score.max(inputs.host.min_oom_score_adj)
}

/// `1000 − 1000·request/capacity` in [3, 999]; a sidecar is no likelier to be killed than the least requesting main container.
fn burstable_score(inputs: &Inputs) -> i32 {
    let capacity = i128::from(inputs.host.memory_bytes.max(1));
    let own = |c: &Container| request(c, "memory").as_ref().and_then(quantity::whole).unwrap_or(0).max(0);
    // What the pod as a whole asks for beyond its containers is shared out among them (GetContainerOOMScoreAdjust).
    let mains = inputs.spec().map(|s| s.containers.as_slice()).unwrap_or_default();
    let of_pod = inputs.spec().and_then(|s| get(s.resources.as_ref()?.requests.as_ref(), "memory"));
    let spare = of_pod.as_ref().and_then(quantity::whole).map_or(0, |all| all.saturating_sub(mains.iter().map(own).sum()).max(0));
    let share = spare / i64::try_from(mains.len().max(1)).unwrap_or(1);
    let requested = |c: &Container| own(c).saturating_add(share);
    let score = |bytes: i64| 1000 - 1000 * i128::from(bytes) / capacity;
    let mut adjust = score(requested(inputs.container));
    if inputs.is_init
        && inputs.container.restart_policy.as_deref() == Some("Always")
        && let Some(least) = mains.iter().map(requested).min()
    {
        adjust = adjust.min(score(least));
    }
    i32::try_from(adjust.clamp(3, 999)).expect("between 3 and 999")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, pod_with};
    use super::super::{Inputs, build};
    use super::*;

    #[test]
    fn shares_and_quota() {
        for (millis, shares, quota) in [
            (0, 2, None),
            (1, 2, Some(1000)),
            (5, 5, Some(1000)),
            (10, 10, Some(1000)),
            (100, 102, Some(10_000)),
            (1000, 1024, Some(100_000)),
            (2500, 2560, Some(250_000)),
            (1_000_000, 262_144, Some(100_000_000)),
        ] {
            assert_eq!((cpu_shares(millis), cpu_quota(millis)), (shares, quota), "{millis}");
        }
        assert_eq!(cpu_shares(i64::MAX), 262_144);
        assert_eq!(cpu_quota(i64::MAX), Some(i64::MAX));
    }

    fn with_huge_pages(mut case: Case) -> Case {
        case.host.controllers.push("hugetlb".to_owned());
        case.host.hugepages = BTreeMap::from([(2 << 20, 8), (1 << 30, 1)]);
        case
    }

    fn of(yaml: &str) -> LinuxResources {
        with_huge_pages(Case::new(&format!("{{resources: {yaml}}}"))).build().linux().as_ref().unwrap().resources().clone().unwrap()
    }

    #[test]
    fn limits_and_requests() {
        let r = of("{limits: {cpu: 500m, memory: 64Mi, hugepages-2Mi: 4Mi, hugepages-1Gi: 1Gi}, requests: {cpu: 100m}}");
        let cpu = r.cpu().clone().unwrap();
        assert_eq!((cpu.shares(), cpu.quota(), cpu.period()), (Some(102), Some(50_000), Some(100_000)));
        assert_eq!((r.memory().unwrap().limit(), r.memory().unwrap().swap()), (Some(64 << 20), None));
        let pages: Vec<_> = r.hugepage_limits().iter().flatten().map(|h| (h.page_size().as_str(), h.limit())).collect();
        assert_eq!(pages, [("1GB", 1 << 30), ("2MB", 4 << 20)]);
        assert_eq!((r.pids().as_ref().map(|_| ()), r.unified()), (None, &None));

        let r = of("{limits: {cpu: 2}}");
        assert_eq!((r.cpu().as_ref().unwrap().shares(), r.cpu().as_ref().unwrap().quota()), (Some(2048), Some(200_000)));
        let r = of("{}");
        assert_eq!((r.cpu().as_ref().unwrap().shares(), r.cpu().as_ref().unwrap().quota()), (Some(2), None));
        assert_eq!(r.memory().unwrap().limit(), None);
        let pages: Vec<_> = r.hugepage_limits().iter().flatten().map(|h| h.limit()).collect();
        assert_eq!(pages, [0, 0], "nothing is taken that is not asked for");
        let without = Case::new("{resources: {limits: {memory: 1Gi, hugepages-2Mi: 4Mi}}}").build();
        assert_eq!(without.linux().as_ref().unwrap().resources().as_ref().unwrap().hugepage_limits(), &None, "no controller");
    }

    #[test]
    fn v2_groups_oom_kills_and_swap_is_held_where_it_can_be() {
        let mut case = Case::new("{resources: {limits: {memory: 1Mi}}}");
        case.host.cgroup_version = CgroupVersion::V2;
        case.host.controllers.push("memsw".to_owned());
        let spec = case.build();
        let r = spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
        assert_eq!(r.unified().as_ref().unwrap()["memory.oom.group"], "1");
        assert_eq!(r.memory().unwrap().swap(), Some(1 << 20));
    }

    #[test]
    fn a_container_without_limits_has_the_pod_s() {
        let case = with_huge_pages(Case::new("{}"));
        let mut pod = pod_with(&["{limits: {cpu: 500m}}", "{}"], &[], "{}");
        let of_pod = serde_json::json!({"limits": {"cpu": "2", "memory": "64Mi", "hugepages-2Mi": "4Mi"}, "requests": {"memory": "2Gi"}});
        pod.spec.as_mut().unwrap().resources = Some(serde_json::from_value(of_pod).unwrap());
        let of = |index: usize| {
            let spec = build(&Inputs { pod: &pod, container: &pod.spec.as_ref().unwrap().containers[index], ..case.inputs() }).unwrap();
            let r = spec.linux().as_ref().unwrap().resources().clone().unwrap();
            let pages: Vec<_> = r.hugepage_limits().iter().flatten().map(|h| h.limit()).collect();
            (r.cpu().as_ref().unwrap().quota(), r.memory().unwrap().limit(), pages)
        };
        assert_eq!(of(0), (Some(50_000), Some(64 << 20), vec![0, 4 << 20]));
        assert_eq!(of(1), (Some(200_000), Some(64 << 20), vec![0, 4 << 20]));
        let inputs = Inputs { pod: &pod, container: &pod.spec.as_ref().unwrap().containers[1], ..case.inputs() };
        assert_eq!(burstable_score(&inputs), 750, "half of 2 of 4 GiB is its share");
    }

    #[test]
    fn bad_quantities_are_named() {
        for yaml in ["{limits: {cpu: lots}}", "{limits: {memory: -1}}", "{limits: {hugepages-x: 1}}", "{requests: {cpu: '-1'}}"] {
            let error = build(&Case::new(&format!("{{resources: {yaml}}}")).inputs()).unwrap_err().to_string();
            assert!(error.contains("resources."), "{error}");
        }
    }

    /// SEMANTICS §9 on the tests' host of 4 GiB.
    #[test]
    fn oom_scores() {
        let score = |resources: &str, inits: &[&str], priority: &str, floor: i32| {
            let case = Case::new("{}");
            let mut pod = pod_with(&[resources], inits, "{}");
            pod.spec.as_mut().unwrap().priority_class_name = Some(priority.to_owned());
            let spec = pod.spec.as_ref().unwrap();
            let container = spec.init_containers.as_ref().and_then(|i| i.first()).unwrap_or(&spec.containers[0]);
            let host = crate::host::HostFacts { min_oom_score_adj: floor, ..case.host.clone() };
            oom_score_adj(&Inputs { pod: &pod, container, host: &host, is_init: !inits.is_empty(), ..case.inputs() })
        };
        assert_eq!(score("{}", &[], "", -1000), 1000);
        assert_eq!(score("{limits: {cpu: 1, memory: 1Gi}}", &[], "", -1000), -997);
        assert_eq!(score("{limits: {cpu: 1, memory: 1Gi}}", &[], "", 0), 0);
        assert_eq!(score("{}", &[], "system-node-critical", -1000), -997);
        assert_eq!(score("{requests: {memory: 1Gi}}", &[], "", -1000), 750);
        assert_eq!(score("{requests: {memory: 1}}", &[], "", -1000), 999);
        assert_eq!(score("{requests: {cpu: 1}}", &[], "", -1000), 999);
        assert_eq!(score("{requests: {memory: 4Gi}}", &[], "", -1000), 3);
        assert_eq!(score("{requests: {memory: 64Gi}}", &[], "", -1000), 3);
        // pod_with gives init containers restartPolicy Always: a sidecar follows the main container.
        assert_eq!(score("{requests: {memory: 2Gi}}", &["{requests: {memory: 1Gi}}"], "", -1000), 500);
    }
}
