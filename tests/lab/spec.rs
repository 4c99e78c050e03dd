//! The least OCI spec that runs a command, for tests that do not go through the `oci` room.

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::Lab;

/// Runs `args` as root in new namespaces (no network), with the usual mounts, in a cgroup below the lab's.
pub fn spec(lab: &Lab, id: &str, args: &[&str]) -> Spec {
    serde_json::from_value(spec_json(lab, id, args)).unwrap()
}

/// The same, in a shim together with the group's other containers.
pub fn grouped(lab: &Lab, id: &str, group: &str, args: &[&str]) -> Spec {
    let mut json = spec_json(lab, id, args);
    json["annotations"] = json!({"io.containerd.runc.v2.group": group});
    serde_json::from_value(json).unwrap()
}

pub fn spec_json(lab: &Lab, id: &str, args: &[&str]) -> Value {
    let capabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/",
            "env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/root"],
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": "rootfs"},
        "hostname": "lab",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "cgroupsPath": format!("{}/{id}", lab.cgroup_parent()),
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network"}],
        },
    })
}
