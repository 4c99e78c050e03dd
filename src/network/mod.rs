//! A pod's namespaces and addresses. No pause container: namespaces are pinned by bind mounts, containers join them by path.
//!
//! [`Network`] is the contract, [`CniNetwork`] its driver: [`NetworkConfig`] says where everything is. Addresses come from CNI
//! plugins called as libcni calls them; without a CNI configuration the driver brings its own bridge. Nothing here decides
//! which pods get a network: that is the agent's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::api::quantity;
use crate::api::user_namespace::IdRange;

mod addresses;
mod attach;
mod bridge;
mod cache;
mod cni;
mod conflist;
mod dial;
mod driver;
mod masquerade;
mod namespaces;
mod netlink;
mod orphans;
mod pinning;
mod plugin;
pub mod pod_init;
mod result;
mod upkeep;
pub mod user_namespace;

pub use dial::dial;
pub use driver::{BridgeConfig, CniNetwork, NetworkConfig};

/// A namespace a pod's containers join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// The host's own.
    Host,
    /// The one pinned at this path.
    Pinned(PathBuf),
}

/// A user namespace that a pod's containers join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNamespace {
    /// Where it is pinned.
    pub path: PathBuf,
    /// The host's ids that are its own, root first.
    pub ids: IdRange,
}

/// A port of the pod that answers on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The port in the pod.
    pub container_port: u16,
    /// The port on the host.
    pub host_port: u16,
    /// The host address it is bound to, "" for all.
    pub host_ip: String,
}

/// What a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSpec {
    /// The pod's uid: names the pins and is CNI's container id.
    pub uid: String,
    /// The pod's namespace (CNI argument K8S_POD_NAMESPACE).
    pub namespace: String,
    /// The pod's name (CNI argument K8S_POD_NAME).
    pub name: String,
    /// The hostname inside; unused with the host's network.
    pub hostname: String,
    /// Shares the host's network and UTS namespaces.
    pub host_network: bool,
    /// Shares the host's IPC namespace.
    pub host_ipc: bool,
    /// Has one PID namespace for all containers (shareProcessNamespace).
    pub share_processes: bool,
    /// Has a user namespace with these ids, which owns its other namespaces (`hostUsers: false`). Not with a namespace of the host's.
    pub ids: Option<IdRange>,
    /// Ports to publish; empty with the host's network.
    pub ports: Vec<PortMapping>,
    /// Bits a second into and out of the pod, for plugins with the capability `bandwidth`.
    pub bandwidth: Bandwidth,
}

/// What a pod's annotations `kubernetes.io/ingress-bandwidth` and `kubernetes.io/egress-bandwidth` ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// Into the pod; `None`: as much as there is.
    pub ingress: Option<u64>,
    /// Out of it.
    pub egress: Option<u64>,
}

impl Bandwidth {
    /// Reads the annotations (pkg/util/bandwidth/utils.go ExtractPodBandwidthResources). Errors: no quantity, or one outside 1k to 1P.
    pub fn of(annotations: Option<&BTreeMap<String, String>>) -> Result<Bandwidth, String> {
        let read = |direction: &str| {
            let key = format!("kubernetes.io/{direction}-bandwidth");
            let Some(text) = annotations.and_then(|a| a.get(&key)) else { return Ok(None) };
            let value = quantity::parse(text).map_err(|e| format!("annotation {key}: {text:?}: {e}"))?.value();
            match u64::try_from(value).unwrap_or(0) {
                0..1_000 => Err(format!("annotation {key}: {text:?}: resource is unreasonably small (< 1kbit)")),
                1_000_000_000_000_001.. => Err(format!("annotation {key}: {text:?}: resource is unreasonably large (> 1Pbit)")),
                bits => Ok(Some(bits)),
            }
        };
        Ok(Bandwidth { ingress: read("ingress")?, egress: read("egress")? })
    }
}

/// A pod's namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Network.
    pub network: Namespace,
    /// UTS (hostname).
    pub uts: Namespace,
    /// IPC.
    pub ipc: Namespace,
    /// Where the PID namespace that all containers join is pinned; `None`: each has its own, or the host's.
    pub pid: Option<PathBuf>,
    /// The user namespace that owns the others; `None`: the host's.
    pub user: Option<UserNamespace>,
}

/// Why a pod has no namespaces or no address; shown as `FailedCreatePodSandBox`.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A namespace could not be made or pinned.
    #[error("failed to {action} {path}: {source}")]
    Namespace {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// No plugin of this name in any plugin directory.
    #[error(
        "CNI plugin {plugin:?} not found in {dirs}; install it (Debian: apt-get install containernetworking-plugins) or use hostNetwork: true"
    )]
    PluginMissing {
        /// The plugin.
        plugin: String,
        /// The directories looked in.
        dirs: String,
    },
    /// A plugin failed, hung or printed what is no CNI result.
    #[error("CNI plugin {plugin:?} failed ({command}): {message}")]
    Plugin {
        /// The plugin.
        plugin: String,
        /// ADD, DEL, CHECK, GC or STATUS.
        command: &'static str,
        /// The CNI error code, if it printed one.
        code: Option<u64>,
        /// Its own words.
        message: String,
    },
    /// A plugin says that it cannot attach anything now (CNI STATUS). containerd's and the kubelet's words for a network that is not ready.
    #[error(
        "network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: {0}"
    )]
    NotReady(Arc<NetworkError>),
    /// The CNI configuration cannot be used.
    #[error("CNI configuration {path}: {message}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// More than one of these: teardown goes on past errors and returns them all.
    #[error("{}", several(.0))]
    Several(Vec<NetworkError>),
}

fn several(errors: &[NetworkError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl NetworkError {
    /// Whether all it says is that plugins did not give addresses back: the pod's namespaces are gone, and with them what ran there.
    pub fn is_of_addresses(&self) -> bool {
        match self {
            NetworkError::Plugin { .. } | NetworkError::PluginMissing { .. } | NetworkError::Config { .. } => true,
            NetworkError::Namespace { .. } | NetworkError::NotReady(_) => false,
            NetworkError::Several(all) => all.iter().all(NetworkError::is_of_addresses),
        }
    }

    /// No error, the only one, or all of them.
    fn collect(mut errors: Vec<NetworkError>) -> Result<(), NetworkError> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(NetworkError::Several(errors)),
        }
    }
}

/// The network driver. Every call is safe to repeat.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Makes and pins the pod's namespaces (about 1 ms); finds them again if they are there.
    async fn create(&self, spec: &SandboxSpec) -> Result<Sandbox, NetworkError>;
    /// Gives the pod its addresses (CNI ADD); the cached result if that was done before. Host network: the host's addresses.
    async fn attach(&self, spec: &SandboxSpec) -> Result<Vec<IpAddr>, NetworkError>;
    /// Takes the addresses away (CNI DEL, also after a half-done ADD) and unpins. Removing what is not there is no error.
    async fn remove(&self, uid: &str) -> Result<(), NetworkError>;
    /// Sees to it that the namespaces of a pod that runs are pinned, from its process `pid` where a pin was lost. True: one was.
    async fn keep(&self, spec: &SandboxSpec, pid: u32) -> Result<bool, NetworkError>;
    /// Whether what ADD made is still there (CNI CHECK). Fine, too, where nobody can tell: no network of its own, a configuration older than
    /// CHECK or that forbids it, a plugin that knows no CHECK. An error changes nothing: it is for somebody to read.
    async fn check(&self, uid: &str) -> Result<(), NetworkError>;
    /// Tells the plugins of the configured network which attachments there are, so that they give back all others (CNI GC), where its version
    /// has that and the administrator has not forbidden it. Nothing is attached or detached meanwhile.
    async fn collect(&self) -> Result<(), NetworkError>;
    /// The uids of all pods that have pins or cached CNI results.
    async fn list(&self) -> Result<Vec<String>, NetworkError>;
    /// The host's own addresses, the primary one first.
    fn host_ips(&self) -> Vec<IpAddr>;
}
