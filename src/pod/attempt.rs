//! Containers of a Pod by role, the attempts at running them (numbers, ids, how far one has come by its durable status), and the names a Pod goes by.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};
use sha2::{Digest, Sha256};

/// What a container is to its Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to completion before what comes after it.
    Init,
    /// An init container with restartPolicy Always: runs beside what comes after it.
    Sidecar,
    /// A regular container.
    Main,
}

/// How far the newest attempt at a container has come, as its status durably says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// None was ever announced.
    Never,
    /// This one was announced; how it ended is not recorded.
    Open(u32),
    /// This one has ended, and that is recorded.
    Over(u32),
}

impl Attempt {
    /// Reads it from a container's status. A record of termination belongs to the attempt whose containerID it carries.
    pub fn of(status: Option<&ContainerStatus>) -> Attempt {
        let Some((status, id)) = status.and_then(|s| Some((s, s.container_id.as_deref()?))) else {
            return Attempt::Never;
        };
        let number = u32::try_from(status.restart_count).unwrap_or(0);
        let ended = status.state.as_ref().is_some_and(|s| s.terminated.is_some());
        let last = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
        if ended || last.is_some_and(|t| t.container_id.as_deref() == Some(id)) { Attempt::Over(number) } else { Attempt::Open(number) }
    }

    /// The number the next making of this container has: the same one while an attempt is open.
    pub fn next(self) -> u32 {
        match self {
            Attempt::Never => 0,
            Attempt::Open(number) => number,
            Attempt::Over(number) => number.saturating_add(1),
        }
    }
}

/// The id of one attempt: 64 hex digits, the same whenever it is asked for, so that nothing is ever made twice.
pub fn container_id(pod_uid: &str, container: &str, attempt: u32) -> String {
    let digest = Sha256::digest(format!("{pod_uid}/{container}/{attempt}"));
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// An attempt's id as status.containerID has it.
pub fn status_id(id: &str) -> String {
    format!("containerd://{id}")
}

/// The bare id in a status.containerID.
pub fn bare_id(status_id: &str) -> &str {
    status_id.strip_prefix("containerd://").unwrap_or(status_id)
}

/// Every container of the Pod with its role, init containers first, in the order they start.
pub fn containers(pod: &Pod) -> impl DoubleEndedIterator<Item = (Role, &Container)> {
    let spec = pod.spec.as_ref();
    let inits = spec.and_then(|s| s.init_containers.as_deref()).unwrap_or_default();
    let mains = spec.map(|s| s.containers.as_slice()).unwrap_or_default();
    let role = |c: &Container| if c.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init };
    inits.iter().map(move |c| (role(c), c)).chain(mains.iter().map(|c| (Role::Main, c)))
}

/// The status of the container of this name, whatever its role.
pub fn status_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.into_iter().find(|s| s.name == name)
}

/// The Pod's uid, "" if it has none.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// `name_namespace(uid)`, as the kubelet's messages name a Pod (pkg/kubelet/util/format/pod.go).
pub fn format_pod(pod: &Pod) -> String {
    let meta = &pod.metadata;
    format!("{}_{}({})", meta.name.as_deref().unwrap_or_default(), meta.namespace.as_deref().unwrap_or_default(), uid(pod))
}

/// The domain a Pod with a `subdomain` is in; kubeadm's default, as no cluster says otherwise.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// What the kernel holds.
const LONGEST_HOSTNAME: usize = 64;

/// The Pod's own domain: `<subdomain>.<namespace>.svc.<cluster domain>`, if it has a subdomain (GeneratePodHostNameAndDomain).
pub fn domain(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref().filter(|s| hostname_override(s).is_none())?;
    let subdomain = spec.subdomain.as_deref().filter(|d| !d.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    Some(format!("{subdomain}.{namespace}.svc.{CLUSTER_DOMAIN}"))
}

/// The name the kernel knows inside the Pod: the hostname, with the domain where setHostnameAsFQDN asks for it (GetNodenameForKernel).
///
/// # Errors
/// The full name is longer than the kernel holds, in the kubelet's words.
pub fn kernel_hostname(pod: &Pod) -> Result<String, String> {
    let hostname = hostname(pod);
    let asked = pod.spec.as_ref().is_some_and(|s| s.set_hostname_as_fqdn == Some(true));
    let Some(domain) = domain(pod).filter(|_| asked) else { return Ok(hostname) };
    let fqdn = format!("{hostname}.{domain}");
    if fqdn.len() > LONGEST_HOSTNAME {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long ({LONGEST_HOSTNAME} characters is the max, {} characters requested)",
            fqdn.len()
        ));
    }
    Ok(fqdn)
}

fn hostname_override(spec: &PodSpec) -> Option<&str> {
    spec.hostname_override.as_deref().filter(|name| !name.is_empty())
}

/// The hostname inside the Pod: spec.hostnameOverride, else spec.hostname or the Pod's name, cut to 63 (kubelet_pods.go,
/// truncatePodHostnameIfNeeded).
pub fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    if let Some(name) = spec.and_then(hostname_override) {
        return name.to_owned();
    }
    let wanted = spec.and_then(|s| s.hostname.clone()).filter(|h| !h.is_empty());
    let name = wanted.unwrap_or_else(|| pod.metadata.name.clone().unwrap_or_default());
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_hex_digits_and_differ_by_each_part() {
        let id = container_id("u", "c", 0);
        assert_eq!(id.len(), 64);
        assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(id, container_id("u", "c", 0));
        for other in [container_id("v", "c", 0), container_id("u", "d", 0), container_id("u", "c", 1)] {
            assert_ne!(id, other);
        }
        assert_eq!(bare_id(&status_id(&id)), id);
    }

    #[test]
    fn the_full_name_is_the_kernels_where_asked_for_and_not_too_long() {
        let pod = |name: &str, spec: serde_json::Value| -> Pod {
            serde_json::from_value(serde_json::json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec})).unwrap()
        };
        let full = serde_json::json!({"containers": [], "subdomain": "sub", "setHostnameAsFQDN": true});
        assert_eq!(kernel_hostname(&pod("web", full.clone())).as_deref(), Ok("web.sub.ns.svc.cluster.local"));
        let error = kernel_hostname(&pod(&"w".repeat(40), full)).unwrap_err();
        assert!(error.ends_with("is too long (64 characters is the max, 65 characters requested)"), "{error}");
        for spec in [
            serde_json::json!({"containers": [], "subdomain": "sub"}),
            serde_json::json!({"containers": [], "setHostnameAsFQDN": true}),
            serde_json::json!({"containers": [], "hostnameOverride": "web", "hostname": "x", "subdomain": "sub"}),
        ] {
            assert_eq!(kernel_hostname(&pod("web", spec)).as_deref(), Ok("web"));
        }
    }

    #[test]
    fn a_long_hostname_is_cut_to_63_and_ends_in_no_dash() {
        let mut pod = Pod::default();
        pod.metadata.name = Some(format!("{}-tail", "a".repeat(62)));
        assert_eq!(hostname(&pod), "a".repeat(62));
    }
}
