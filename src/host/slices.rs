//! The names and properties systemd knows pods' cgroups by. Pure. After pkg/kubelet/cm/cgroup_manager_linux.go (CgroupName.ToSystemd)
//! and opencontainers/cgroups systemd/common.go (ExpandSlice).

use std::path::PathBuf;

use super::CgroupVersion;
use super::resources::{PodLimits, Qos, weight};
use crate::oci::resources::CPU_PERIOD;

/// The slice's name of a class: `kubepods.slice`, `kubepods-burstable.slice`; with a root in front `<root>-kubepods.slice`.
pub(super) fn parent(root: &str, qos: Qos) -> String {
    let class = match qos {
        Qos::Guaranteed => "",
        Qos::Burstable => "-burstable",
        Qos::BestEffort => "-besteffort",
    };
    match root {
        "" => format!("kubepods{class}.slice"),
        root => format!("{}-kubepods{class}.slice", escape(root)),
    }
}

/// The slices above one, outermost first: systemd reads them off its name.
pub(super) fn above(slice: &str) -> Vec<String> {
    slice.match_indices('-').map(|(end, _)| format!("{}.slice", &slice[..end])).collect()
}

/// A pod's slice: `kubepods-burstable-pod<uid, its - as _>.slice`.
pub(super) fn pod(root: &str, qos: Qos, uid: &str) -> String {
    let parent = parent(root, qos);
    format!("{}-pod{}.slice", parent.trim_end_matches(".slice"), escape(uid))
}

/// The uid in a pod slice's name, if it is a pod's of this root. Kubernetes' uids have no `_`, so every one stands for `-`.
pub(super) fn uid_of(root: &str, slice: &str) -> Option<String> {
    let stem = slice.strip_suffix(".slice")?;
    let of = |qos| stem.strip_prefix(parent(root, qos).trim_end_matches(".slice"))?.strip_prefix("-pod");
    let escaped = Qos::ALL.into_iter().find_map(of)?;
    Some(escaped.replace('_', "-"))
}

fn escape(part: &str) -> String {
    part.replace('-', "_")
}

/// Where a slice is below a hierarchy: `a-b.slice` is `a.slice/a-b.slice`.
pub(super) fn path(slice: &str) -> PathBuf {
    let stem = slice.trim_end_matches(".slice");
    let ends = stem.match_indices('-').map(|(i, _)| i).chain([stem.len()]);
    ends.map(|end| format!("{}.slice", &stem[..end])).collect()
}

/// Where runc's systemd driver puts `slice:prefix:name`; an ordinary path as it is.
pub(super) fn container_path(cgroups_path: &str) -> PathBuf {
    let mut parts = cgroups_path.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(slice), Some(prefix), Some(name)) => path(slice).join(format!("{prefix}-{name}.scope")),
        _ => cgroups_path.trim_start_matches('/').into(),
    }
}

/// A unit property: name, D-Bus type, value.
pub(super) type Property = (&'static str, &'static str, String);

/// The properties that limit a slice. `pids`: the most processes.
pub(super) fn properties(version: CgroupVersion, limits: &PodLimits, pids: Option<u64>) -> Vec<Property> {
    let mut properties = vec![cpu_shares(version, limits.cpu_shares)];
    if let Some(quota) = limits.cpu_quota_us {
        // systemd wants µs per second, and takes whole hundredths of a percent (libcontainer rounds up to 10 ms).
        let per_second = (quota * (1_000_000 / CPU_PERIOD)).next_multiple_of(10_000);
        properties.push(("CPUQuotaPerSecUSec", "t", per_second.to_string()));
    }
    if let Some(bytes) = limits.memory_bytes {
        let name = if version == CgroupVersion::V1 { "MemoryLimit" } else { "MemoryMax" };
        properties.push((name, "t", bytes.to_string()));
    }
    properties.extend(pids.map(|pids| ("TasksMax", "t", pids.to_string())));
    properties
}

/// The weight of a slice.
pub(super) fn cpu_shares(version: CgroupVersion, shares: u64) -> Property {
    match version {
        CgroupVersion::V1 => ("CPUShares", "t", shares.to_string()),
        CgroupVersion::V2 => ("CPUWeight", "t", weight(shares).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0f3c7a1e-7c1b-4a5e-9d55-0242ac120002";

    #[test]
    fn every_slice_above_is_known_by_name() {
        assert_eq!(above("kubepods-burstable-poda_b.slice"), ["kubepods.slice", "kubepods-burstable.slice"]);
        assert_eq!(above(&pod("my-test", Qos::Guaranteed, "a")), ["my_test.slice", "my_test-kubepods.slice"]);
        assert_eq!(above("kubepods.slice"), Vec::<String>::new());
    }

    #[test]
    fn names_are_the_kubelet_s() {
        let slice = pod("", Qos::Burstable, UID);
        assert_eq!(slice, "kubepods-burstable-pod0f3c7a1e_7c1b_4a5e_9d55_0242ac120002.slice");
        assert_eq!(uid_of("", &slice).as_deref(), Some(UID));
        assert_eq!(pod("", Qos::Guaranteed, "a-b"), "kubepods-poda_b.slice");
        assert_eq!(pod("my-test", Qos::BestEffort, "a"), "my_test-kubepods-besteffort-poda.slice");
        assert_eq!(uid_of("my-test", "my_test-kubepods-besteffort-poda.slice").as_deref(), Some("a"));
        for other in ["kubepods.slice", "kubepods-burstable.slice", "system.slice", "x"] {
            assert_eq!(uid_of("", other), None, "{other}");
        }
    }

    #[test]
    fn slices_nest_by_their_dashes() {
        let expected = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice/cri-containerd-id.scope";
        assert_eq!(container_path("kubepods-burstable-poda_b.slice:cri-containerd:id"), PathBuf::from(expected));
        assert_eq!(container_path("/kubepods/pod1/id"), PathBuf::from("kubepods/pod1/id"));
    }

    #[test]
    fn limits_become_properties() {
        let limits = PodLimits {
            qos: Qos::Guaranteed,
            cpu_request_millis: 500,
            cpu_shares: 512,
            cpu_quota_us: Some(50_000),
            memory_bytes: Some(1 << 20),
        };
        let named = |version| properties(version, &limits, None).into_iter().map(|(n, _, v)| format!("{n}={v}")).collect::<Vec<_>>();
        assert_eq!(named(CgroupVersion::V1), ["CPUShares=512", "CPUQuotaPerSecUSec=500000", "MemoryLimit=1048576"]);
        assert_eq!(named(CgroupVersion::V2), ["CPUWeight=20", "CPUQuotaPerSecUSec=500000", "MemoryMax=1048576"]);
        assert_eq!(properties(CgroupVersion::V2, &limits, Some(64)).last(), Some(&("TasksMax", "t", "64".to_owned())));
    }
}
