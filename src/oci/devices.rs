//! Which devices the cgroup allows, and the host's device nodes of a privileged container.
//!
//! runc itself makes /dev/{null,zero,full,random,urandom,tty,ptmx}; the allow list is containerd's (pkg/oci WithDefaultUnixDevices).

use k8s_openapi::api::core::v1::Container;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType as Type, Spec};

use super::{Inputs, security, set_devices};

/// (type, major, minor, access); `None` = any.
const DEFAULT: [(Type, Option<i64>, Option<i64>, &str); 11] = [
    (Type::C, None, None, "m"),
    (Type::B, None, None, "m"),
    (Type::C, Some(1), Some(3), "rwm"),
    (Type::C, Some(1), Some(8), "rwm"),
    (Type::C, Some(1), Some(7), "rwm"),
    (Type::C, Some(5), Some(0), "rwm"),
    (Type::C, Some(1), Some(5), "rwm"),
    (Type::C, Some(1), Some(9), "rwm"),
    (Type::C, Some(5), Some(1), "rwm"),
    (Type::C, Some(136), None, "rwm"),
    (Type::C, Some(5), Some(2), "rwm"),
];

/// linux.resources.devices: deny all, then what every container may use; a privileged one may use everything.
pub(super) fn allowed(inputs: &Inputs) -> Vec<LinuxDeviceCgroup> {
    if security::privileged(inputs.container) {
        return vec![rule(true, None, None, None, "rwm")];
    }
    let mut rules = vec![rule(false, None, None, None, "rwm")];
    rules.extend(DEFAULT.map(|(typ, major, minor, access)| rule(true, Some(typ), major, minor, access)));
    rules
}

/// One rule of the devices cgroup; `None`: any.
pub(super) fn rule(allow: bool, typ: Option<Type>, major: Option<i64>, minor: Option<i64>, access: &str) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroupBuilder::default().allow(allow).access(access).build().expect("every field of a rule has a default");
    rule.set_typ(typ).set_major(major).set_minor(minor);
    rule
}

/// Whether the container is to see the host's devices: the caller lists them (`host::devices`) and hands them to [`grant_host_devices`].
pub fn wants_host_devices(container: &Container) -> bool {
    security::privileged(container)
}

/// Adds the host's device nodes to a privileged container's spec, as containerd's WithHostDevices. Nodes that runc or a mount of the
/// spec makes are left out: /dev/pts, /dev/shm, /dev/mqueue, /dev/console and what a volume covers.
pub fn grant_host_devices(spec: &mut Spec, devices: Vec<LinuxDevice>) {
    let mounts: Vec<_> =
        spec.mounts().iter().flatten().map(|m| m.destination().clone()).filter(|d| d.starts_with("/dev") && d != "/dev").collect();
    let dev_is_a_volume = spec.mounts().iter().flatten().any(|m| m.destination() == "/dev" && m.typ().as_deref() == Some("bind"));
    if dev_is_a_volume {
        return;
    }
    let wanted = devices.into_iter().filter(|d| d.path().starts_with("/dev") && d.path() != "/dev/console" && d.path() != "/dev/ptmx");
    set_devices(spec, wanted.filter(|d| !mounts.iter().any(|m| d.path().starts_with(m))).collect());
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::*;

    #[test]
    fn denied_by_default_and_all_when_privileged() {
        let rules = |yaml: &str| allowed(&Case::new(yaml).inputs()).iter().map(|r| format!("{} {r}", r.allow())).collect::<Vec<_>>();
        let plain = rules("{}");
        assert_eq!((plain[0].as_str(), plain[3].as_str(), plain.len()), ("false a *:* rwm", "true c 1:3 rwm", 12));
        assert_eq!(rules("{securityContext: {privileged: true}}"), ["true a *:* rwm"]);
    }

    #[test]
    fn host_devices_but_for_mounted_ones() {
        let device = |path: &str| {
            let mut device = LinuxDevice::default();
            device.set_path(path.into()).set_typ(Type::C).set_major(1).set_minor(1);
            device
        };
        let all = || ["/dev/kvm", "/dev/pts/0", "/dev/console", "/dev/shm/x", "/dev/ptmx", "/etc/x"].map(device).to_vec();
        let mut spec = Case::new("{securityContext: {privileged: true}}").build();
        grant_host_devices(&mut spec, all());
        let paths = |s: &Spec| s.linux().as_ref().unwrap().devices().iter().flatten().map(|d| d.path().clone()).collect::<Vec<_>>();
        assert_eq!(paths(&spec), [std::path::PathBuf::from("/dev/kvm")]);
        let mut spec =
            Case::new("{securityContext: {privileged: true}, volumeMounts: [{name: dev, mountPath: /dev}]}").volume("dev", "/dev").build();
        grant_host_devices(&mut spec, all());
        assert!(paths(&spec).is_empty());
    }
}
