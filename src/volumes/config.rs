//! What the volumes driver is told of the host: where things are, and how much there is.

use std::path::PathBuf;

use super::nfs::MountProgram;
use crate::host::{HostFacts, Paths};

/// Where the driver's things are; all of it relocatable, so that tests run side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumesConfig {
    /// `/run/minik8s`.
    pub run: PathBuf,
    /// `/var/lib/minik8s`.
    pub state: PathBuf,
    /// The node's memory in bytes: no memory emptyDir is larger.
    pub memory_bytes: u64,
    /// The host's `/etc/hosts`.
    pub hosts: PathBuf,
    /// The host's `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// What mounts nfs volumes.
    pub mount: MountProgram,
    /// Used in place of `resolv_conf` where that only names systemd-resolved's stub (`/run/systemd/resolve/resolv.conf`).
    pub resolved_conf: PathBuf,
}

impl VolumesConfig {
    /// The defaults of an install with these paths.
    pub fn new(paths: &Paths, facts: &HostFacts) -> VolumesConfig {
        VolumesConfig {
            run: paths.run.clone(),
            state: paths.state.clone(),
            memory_bytes: facts.memory_bytes,
            mount: MountProgram::default(),
            hosts: "/etc/hosts".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            resolved_conf: "/run/systemd/resolve/resolv.conf".into(),
        }
    }
}
