//! Private stand-in for the oci room (its engineer's version replaces this file): only the signatures the worker calls.

use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Node, Pod};
use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::Spec;

use crate::host::HostFacts;
use crate::network::Sandbox;
use crate::runtime::ImageUsers;
use crate::volumes::PodFiles;

/// What a container's spec is made from.
pub struct Inputs<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// The image's configuration.
    pub image: &'a ImageConfiguration,
    /// The image's users.
    pub users: &'a ImageUsers,
    /// The pod's files.
    pub files: &'a PodFiles,
    /// The pod's namespaces.
    pub sandbox: &'a Sandbox,
    /// The host.
    pub host: &'a HostFacts,
    /// linux.cgroupsPath.
    pub cgroups_path: String,
    /// The file mounted at terminationMessagePath.
    pub termination_log: Option<PathBuf>,
    /// status.podIPs.
    pub pod_ips: &'a [IpAddr],
    /// status.hostIPs.
    pub host_ips: &'a [IpAddr],
    /// This node.
    pub node: &'a Node,
    /// Whether it is an init container.
    pub is_init: bool,
}

/// Why there is no spec; shown as CreateContainerConfigError.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OciError(pub String);

/// The container's OCI runtime spec.
pub fn build(inputs: &Inputs) -> Result<Spec, OciError> {
    if inputs.container.env.iter().flatten().any(|e| e.name == "STAND_IN_REFUSES") {
        return Err(OciError("couldn't find key mode in ConfigMap default/app".to_owned()));
    }
    Ok(Spec::default())
}

/// The signal that asks the container to stop.
pub fn stop_signal(_container: &Container, _image: &ImageConfiguration) -> i32 {
    15
}

/// Whether the environment holds status.podIP(s).
pub fn needs_pod_ip(container: &Container) -> bool {
    let field = |e: &k8s_openapi::api::core::v1::EnvVar| {
        let source = e.value_from.as_ref()?.field_ref.as_ref()?;
        Some(source.field_path.starts_with("status.podIP"))
    };
    container.env.iter().flatten().any(|e| field(e).unwrap_or(false))
}
