//! The host that tests change only where it matters.

use super::{CgroupDriver, CgroupVersion, HostFacts};

impl HostFacts {
    /// 2 cores and 1 GiB on cgroup v1, with seccomp and without privileges.
    pub(crate) fn for_tests() -> HostFacts {
        HostFacts {
            hostname: "node".into(),
            arch: "amd64".into(),
            kernel: "6.1".into(),
            os_image: "Debian".into(),
            machine_id: "m".into(),
            boot_id: "b".into(),
            cpu_millis: 2000,
            memory_bytes: 1 << 30,
            ephemeral_storage_bytes: 1 << 33,
            hugepages: std::collections::BTreeMap::new(),
            cgroup_version: CgroupVersion::V1,
            cgroup_driver: CgroupDriver::Cgroupfs,
            controllers: vec![],
            min_oom_score_adj: 0,
            sys_resource: false,
            capabilities: vec![],
            apparmor: false,
            selinux: false,
            seccomp: true,
            user_namespaces: Ok(()),
        }
    }
}
