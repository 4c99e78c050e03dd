//! A container → the OCI runtime spec it runs by: process, environment, user, security, mounts, namespaces, cgroup limits.
//!
//! Pure: everything the spec depends on stands in [`Inputs`]. Guarantees: the same inputs give the same spec; a field that cannot be
//! honoured on this host is an [`OciError`], never passed over; nothing of the agent's own environment gets in. Left to others:
//! `root.path` (the runtime driver), the files and namespaces themselves, the host's device nodes of a privileged container
//! ([`wants_host_devices`], [`grant_host_devices`]), and the devices of extended resources ([`HandedOut`]).
//!
//! One file a concept. The rules are the kubelet's (pkg/kubelet/kuberuntime, pkg/kubelet/kubelet_pods.go) followed by what containerd's
//! CRI plugin makes of them (internal/cri/server/container_create.go, internal/cri/opts).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec};
use oci_spec::image::{Config, ImageConfiguration};
use oci_spec::runtime::{Linux, LinuxBuilder, LinuxDevice, RootBuilder, Spec};

use crate::config::{ConfigError, Downward, Objects};
use crate::host::HostFacts;
use crate::network::Sandbox;
use crate::runtime::ImageUsers;
use crate::volumes::PodFiles;

mod annotations;
mod capabilities;
pub mod cdi;
mod devices;
mod env;
mod expansion;
#[cfg(test)]
mod golden;
mod handed_out;
mod labels;
mod mounts;
mod namespaces;
mod process;
pub mod resources;
mod seccomp;
mod seccomp_profile;
mod seccomp_table;
mod security;
mod signal;
mod sub_path;
mod sysctls;
#[cfg(test)]
mod testing;
mod user;

pub use devices::{grant_host_devices, wants_host_devices};
pub use expansion::expand_static;
pub use handed_out::{HandedOut, OnHost, wants_cdi};
pub use seccomp::localhost_profile;
pub use signal::stop_signal;
pub use sub_path::sub_paths;

/// Everything a container's spec is made from.
pub struct Inputs<'a> {
    /// The pod, with metadata and spec.
    pub pod: &'a Pod,
    /// The container of that pod (init containers too).
    pub container: &'a Container,
    /// The image's configuration: Entrypoint, Cmd, Env, User, WorkingDir.
    pub image: &'a ImageConfiguration,
    /// The image's user databases.
    pub users: &'a ImageUsers,
    /// Where the pod's volumes and files are on the host.
    pub files: &'a PodFiles,
    /// The pod's namespaces.
    pub sandbox: &'a Sandbox,
    /// What the host is and allows.
    pub host: &'a HostFacts,
    /// linux.cgroupsPath, from `PodCgroups::container_path`.
    pub cgroups_path: String,
    /// The file bound at terminationMessagePath.
    pub termination_log: Option<PathBuf>,
    /// The pod's addresses; may be empty while [`needs_pod_ip`] is false.
    pub pod_ips: &'a [IpAddr],
    /// The host's addresses, the primary one first.
    pub host_ips: &'a [IpAddr],
    /// This node: allocatable is the fallback of `limits.*` in resourceFieldRef.
    pub node: &'a Node,
    /// The ConfigMaps and Secrets the pod names, as far as they are there.
    pub config: &'a Objects,
    /// volumeMount (from 0) → where its subPath, as [`sub_paths`] names it, is ready to be mounted.
    pub sub_paths: BTreeMap<usize, PathBuf>,
    /// What is in the file that [`localhost_profile`] names.
    pub seccomp_profile: Option<String>,
    /// Whether this is an init container (with restartPolicy Always: a sidecar).
    pub is_init: bool,
}

/// Why a container cannot be made as its manifest asks. Display is the message of the waiting reason `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OciError {
    /// Neither the manifest nor the image says what to run.
    #[error("no command specified: the image has neither Entrypoint nor Cmd and the container sets neither command nor args")]
    NoCommand,
    /// `runAsNonRoot` with `runAsUser: 0`.
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    RunAsUserIsRoot {
        /// `name_namespace(uid)`.
        pod: String,
        /// The container.
        container: String,
    },
    /// `runAsNonRoot` with an image that runs as uid 0.
    #[error("container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})")]
    ImageRunsAsRoot {
        /// `name_namespace(uid)`.
        pod: String,
        /// The container.
        container: String,
    },
    /// `runAsNonRoot` with an image whose user is a name.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: {pod:?}, container: {container})"
    )]
    NonNumericUser {
        /// The image's user.
        user: String,
        /// `name_namespace(uid)`.
        pod: String,
        /// The container.
        container: String,
    },
    /// The image names a user that its `/etc/passwd` does not have.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    /// The image names a group that its `/etc/group` does not have.
    #[error("unable to find group {0}: no matching entries in group file")]
    UnknownGroup(String),
    /// No capability of this name.
    #[error("unknown capability {0:?}")]
    UnknownCapability(String),
    /// A capability that this host's bounding set lacks.
    #[error("capability {0:?} cannot be added: minik8s itself does not have it on this host")]
    CapabilityUnavailable(String),
    /// A value that is not to be had.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Variables that subPathExpr names and the container does not have, or has empty.
    #[error("missing value for {0}")]
    NoSubPathValue(String),
    /// A subPath that leads out of its volume.
    #[error("{0}")]
    BadSubPath(String),
    /// A volume that a volumeMount names and the pod does not have.
    #[error("volumeMounts[{index}]: volume {name:?} is not there")]
    VolumeNotFound {
        /// The volume.
        name: String,
        /// Which volumeMount, from 0.
        index: usize,
    },
    /// A seccomp profile of the host's that cannot be used: a `CreateContainerError`, in containerd's words.
    #[error("decoding seccomp profile failed {0:?}: {1}")]
    SeccompProfile(String, String),
    /// A field with a value that cannot be used.
    #[error("{field}: Invalid value: {value:?}: {why}")]
    Invalid {
        /// The field's path.
        field: String,
        /// What it has.
        value: String,
        /// Why not.
        why: String,
    },
    /// A field that cannot be honoured, here or yet.
    #[error("{field}: {why}")]
    Refused {
        /// The field's path.
        field: String,
        /// Why not, and what to do.
        why: String,
    },
}

impl OciError {
    fn refused(field: impl Into<String>, why: impl Into<String>) -> OciError {
        OciError::Refused { field: field.into(), why: why.into() }
    }

    fn invalid(field: impl Into<String>, value: impl Into<String>, why: impl Into<String>) -> OciError {
        OciError::Invalid { field: field.into(), value: value.into(), why: why.into() }
    }
}

/// The OCI runtime spec of a container, complete but for `root.path` (left `rootfs`).
///
/// # Errors
/// The first field that cannot be honoured; the message is for the container's status.
pub fn build(inputs: &Inputs) -> Result<Spec, OciError> {
    security::refuse_unsupported(inputs)?;
    let root = RootBuilder::default().path("rootfs").readonly(security::read_only_root(inputs.container)).build();
    let mut spec = Spec::default();
    spec.set_version("1.0.2".to_owned())
        .set_root(Some(root.expect("every field of root has a default")))
        .set_process(Some(process::process(inputs)?))
        .set_mounts(Some(mounts::mounts(inputs)?))
        .set_hostname(namespaces::own_hostname(inputs))
        .set_annotations(Some(annotations::annotations(inputs)))
        .set_linux(Some(linux(inputs)?));
    Ok(spec)
}

fn linux(inputs: &Inputs) -> Result<Linux, OciError> {
    let linux = LinuxBuilder::default()
        .namespaces(namespaces::namespaces(inputs))
        .cgroups_path(inputs.cgroups_path.clone())
        .resources(resources::resources(inputs)?)
        .masked_paths(security::masked_paths(inputs))
        .readonly_paths(security::readonly_paths(inputs))
        .build();
    let mut linux = linux.expect("every field of linux has a default");
    linux
        .set_devices(None)
        .set_uid_mappings(namespaces::id_mappings(inputs.sandbox))
        .set_gid_mappings(namespaces::id_mappings(inputs.sandbox))
        .set_sysctl(sysctls::sysctls(inputs)?)
        .set_seccomp(seccomp::seccomp(inputs)?)
        .set_rootfs_propagation(mounts::root_propagation(inputs.container))
        .set_mount_label(labels::selinux(inputs)?.map(|l| l.mount));
    Ok(linux)
}

impl<'a> Inputs<'a> {
    /// The pod's spec; a pod without one is treated as one with every default.
    fn spec(&self) -> Option<&'a PodSpec> {
        self.pod.spec.as_ref()
    }

    /// What the downward API tells of.
    fn downward(&self) -> Downward<'a> {
        Downward { pod: self.pod, node: self.node, pod_ips: self.pod_ips, host_ips: self.host_ips }
    }

    /// The image's run configuration, if it has one.
    fn image_config(&self) -> Option<&'a Config> {
        self.image.config().as_ref()
    }
}

/// Gives a spec made by [`build`] extra device nodes; the same call for tests and for [`grant_host_devices`].
fn set_devices(spec: &mut Spec, devices: Vec<LinuxDevice>) {
    if let Some(linux) = spec.linux_mut() {
        linux.set_devices(Some(devices));
    }
}
