//! [`CniNetwork`]: the driver of [`Network`] over pins, CNI plugins and the record of what was asked of them.
//!
//! ```text
//! create: pin namespaces ─▶ attach: record "ADD begun" ─▶ ADD … ADD ─▶ record result ─▶ addresses
//! remove: DEL … DEL by the record (netns "" where the pin is gone) ─▶ forget the record ─▶ unpin
//! ```
//! The pins are made in `pinning`, ADD and DEL are `attach`'s; what is asked of a network besides (CHECK, GC, STATUS) is in `upkeep`. Here is what
//! they have in common, and which network a pod gets. Pins go in any case, so a failed DEL holds an address, never a process or a link.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, OnceCell, RwLock};

use super::bridge::{self, Abilities};
use super::cache::Cache;
use super::cni::Plugins;
use super::conflist::{self, ConfList};
use super::namespaces::{Kind, Pins, check_uid};
use super::upkeep::Readiness;
use super::{Network, NetworkError, Sandbox, SandboxSpec, addresses, masquerade, netlink, orphans, plugin};
use crate::host::Paths;

/// The bridge used where no CNI configuration exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// The link's name, at most 15 bytes (`mk8s0`).
    pub name: String,
    /// The pods' IPv4 subnet (`10.244.7.0/24`); `None`: a /24 of 10.244.0.0/16 by the host's machine id that clashes with no route.
    pub subnet: Option<String>,
    /// Where host-local keeps which address is whose. Does not survive a reboot, as no pod's namespaces do.
    pub ipam_dir: PathBuf,
}

/// Where the network's things are; all of it relocatable, so that tests run side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Pins and volatile records go here (`/run/minik8s`).
    pub run: PathBuf,
    /// Records that must survive a reboot go here (`/var/lib/minik8s`).
    pub state: PathBuf,
    /// Where CNI configurations are (`/etc/cni/net.d`); the first valid file of the first directory that has one is used.
    pub conf_dirs: Vec<PathBuf>,
    /// Where plugins are.
    pub plugin_dirs: Vec<PathBuf>,
    /// After this a plugin is killed.
    pub plugin_timeout: Duration,
    /// Where libcni keeps the results of other runtimes' attachments (`/var/lib/cni/results`).
    pub foreign_results: PathBuf,
    /// What is used where there is no CNI configuration.
    pub bridge: BridgeConfig,
}

impl NetworkConfig {
    /// The defaults of an install with these paths.
    pub fn new(paths: &Paths) -> NetworkConfig {
        NetworkConfig {
            run: paths.run.clone(),
            state: paths.state.clone(),
            conf_dirs: vec!["/etc/cni/net.d".into()],
            plugin_dirs: ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"].map(PathBuf::from).to_vec(),
            plugin_timeout: Duration::from_secs(60),
            foreign_results: "/var/lib/cni/results".into(),
            bridge: BridgeConfig { name: "mk8s0".into(), subnet: None, ipam_dir: paths.run.join("ipam") },
        }
    }
}

/// The network driver of a real host.
#[derive(Debug)]
pub struct CniNetwork {
    pub(super) config: NetworkConfig,
    pub(super) pins: Pins,
    pub(super) cache: Cache,
    pub(super) plugins: Plugins,
    builtin: OnceCell<Builtin>,
    /// Set once the bridge's masquerading rules are written.
    masquerades: OnceCell<()>,
    /// Held for reading by ADD and DEL, for writing by GC: no attachment may come or go while plugins are told of all there are (SPEC.md).
    pub(super) attachments: RwLock<()>,
    /// Whether the plugins are ready, as they last said.
    pub(super) ready: Mutex<Option<Readiness>>,
}

/// What the built-in bridge is on this host; found out once, when first needed.
#[derive(Clone, Debug)]
struct Builtin {
    subnet: String,
    can: Abilities,
}

impl CniNetwork {
    /// The driver; makes `<run>/ns` a shared mount (take it away again with [`CniNetwork::remove_root`]) and ends plugins that an earlier one called.
    pub fn new(config: NetworkConfig) -> Result<CniNetwork, NetworkError> {
        let network = CniNetwork::unprepared(config);
        network.pins.prepare()?;
        let ended = orphans::end(&network.plugins.dirs, &network.config.run, &network.cache.list());
        if ended > 0 {
            tracing::warn!(ended, "ended CNI plugins that an earlier agent had called");
        }
        Ok(network)
    }

    fn unprepared(config: NetworkConfig) -> CniNetwork {
        let pins = Pins::new(&config.run);
        let cache = Cache { volatile: config.run.join("cni"), durable: config.state.join("cni") };
        let plugins = Plugins { dirs: config.plugin_dirs.clone(), run: config.run.clone(), timeout: config.plugin_timeout };
        let (attachments, ready) = (RwLock::default(), Mutex::default());
        CniNetwork { config, pins, cache, plugins, builtin: OnceCell::new(), masquerades: OnceCell::new(), attachments, ready }
    }

    /// What pods would go without on this host with this configuration, as [`CniNetwork::describe`], and now; changes nothing.
    pub async fn examine(config: NetworkConfig) -> Vec<String> {
        let network = CniNetwork::unprepared(config);
        let lacking = network.describe().await;
        if lacking.is_empty() { network.describe_readiness().await.into_iter().collect() } else { lacking }
    }

    /// What pods go without on this host, a sentence each; to be said once at start. No plugin is asked.
    pub async fn describe(&self) -> Vec<String> {
        match self.blocking(|n| conflist::load(&n.config.conf_dirs)).await {
            Err(e) => vec![format!("pods without hostNetwork cannot start: {e}")],
            Ok(Some(list)) => {
                let needed = list.plugins.iter().flat_map(conflist::executables);
                let wrong = needed.filter_map(|t| plugin::find(t, &self.config.plugin_dirs).err());
                wrong.map(|e| format!("pods without hostNetwork cannot start: {e}")).collect()
            }
            Ok(None) => self.describe_builtin(&self.builtin().await),
        }
    }

    fn describe_builtin(&self, builtin: &Builtin) -> Vec<String> {
        let mut said = Vec::new();
        for name in bridge::missing_plugins(&self.config.plugin_dirs, builtin.can) {
            let error = plugin::find(name, &self.config.plugin_dirs).err().map(|e| e.to_string()).unwrap_or_default();
            let lost = if name == "portmap" { "hostPorts cannot be published" } else { "pods without hostNetwork cannot start" };
            said.push(format!("{lost}: {error}"));
        }
        if !builtin.can.masquerade {
            said.push(format!(
                "pods on the built-in bridge {} reach the host and each other, but nothing beyond: iptables cannot masquerade here",
                self.config.bridge.name
            ));
        }
        said
    }

    /// Takes away what is left when no pod is: the bridge, its rules, its address book and the mount at `<run>/ns`. For tests and `make run`.
    pub async fn remove_root(&self) -> Result<(), NetworkError> {
        self.blocking(|n| {
            let name = &n.config.bridge.name;
            netlink::delete_link(name).map_err(|e| super::namespaces::failed("remove link", name.as_ref(), e))?;
            let rules = masquerade::uninstall(name).map_err(std::io::Error::other);
            rules.map_err(|e| super::namespaces::failed("remove the masquerading rules of", name.as_ref(), e))?;
            for dir in [&n.config.bridge.ipam_dir, &n.cache.volatile, &n.cache.durable] {
                match std::fs::remove_dir_all(dir) {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    other => other.map_err(|e| super::namespaces::failed("remove", dir, e))?,
                }
            }
            n.pins.remove_root()
        })
        .await
    }

    /// Where the pod's network namespace is pinned, if it has one of its own. Errors: the uid is none.
    pub fn network_namespace(&self, uid: &str) -> Result<Option<PathBuf>, NetworkError> {
        check_uid(uid, &self.config.run)?;
        Ok(self.pins.is_pinned(uid, Kind::Net).then(|| self.pins.path(uid, Kind::Net)))
    }

    /// Runs what blocks (mounts, files) where it may. The driver's parts are paths, cheap to copy.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Parts) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let parts = Parts { config: self.config.clone(), pins: self.pins.clone(), cache: self.cache.clone() };
        let run = self.config.run.clone();
        let joined = tokio::task::spawn_blocking(move || work(&parts)).await;
        joined.unwrap_or_else(|e| Err(super::namespaces::failed("work in", &run, std::io::Error::other(e))))
    }

    async fn builtin(&self) -> Builtin {
        let find = || async {
            let bridge = self.config.bridge.clone();
            let found = tokio::task::spawn_blocking(move || find_builtin(&bridge)).await;
            found.unwrap_or_else(|_| Builtin { subnet: "10.244.0.0/24".into(), can: Abilities::default() })
        };
        self.builtin.get_or_init(find).await.clone()
    }

    /// The network a pod gets now, and whether its state survives a reboot.
    pub(super) async fn current(&self, spec: &SandboxSpec) -> Result<(ConfList, bool), NetworkError> {
        if let Some(list) = self.blocking(|n| conflist::load(&n.config.conf_dirs)).await? {
            return Ok((list, true));
        }
        let (bridge, builtin) = (&self.config.bridge, self.builtin().await);
        if builtin.can.masquerade {
            self.masquerades.get_or_init(|| self.masquerade(&builtin.subnet)).await;
        }
        let list = bridge::conflist(&bridge.name, &builtin.subnet, &bridge.ipam_dir, builtin.can, !spec.ports.is_empty())?;
        Ok((list, false))
    }

    /// Writes the bridge's masquerading rules. Pods run without them too, so a failure is said and no error.
    async fn masquerade(&self, subnet: &str) {
        let (bridge, subnet) = (self.config.bridge.name.clone(), subnet.to_owned());
        let written = tokio::task::spawn_blocking(move || masquerade::install(&bridge, &subnet)).await;
        if let Ok(Err(e)) = written {
            tracing::warn!(error = %e, "pods on the built-in bridge reach nothing beyond this host");
        }
    }
}

/// What blocking work is given.
pub(super) struct Parts {
    pub(super) config: NetworkConfig,
    pub(super) pins: Pins,
    pub(super) cache: Cache,
}

fn find_builtin(bridge: &BridgeConfig) -> Builtin {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let machine = std::fs::read("/etc/machine-id").unwrap_or_default();
    let seed = Sha256::digest(machine)[0];
    let subnet = bridge.subnet.clone().unwrap_or_else(|| bridge::choose_subnet(&bridge.name, seed, &routes));
    Builtin { subnet, can: masquerade::probe() }
}

#[async_trait]
impl Network for CniNetwork {
    async fn create(&self, spec: &SandboxSpec) -> Result<Sandbox, NetworkError> {
        self.pin_namespaces(spec).await
    }

    async fn attach(&self, spec: &SandboxSpec) -> Result<Vec<IpAddr>, NetworkError> {
        self.addresses_of(spec).await
    }

    async fn remove(&self, uid: &str) -> Result<(), NetworkError> {
        check_uid(uid, &self.config.run)?;
        let mut errors = Vec::new();
        if let Err(e) = self.undo(uid).await {
            errors.push(e);
        }
        let owned = uid.to_owned();
        if let Err(e) = self.blocking(move |n| n.pins.unpin(&owned)).await {
            errors.push(e);
        }
        NetworkError::collect(errors)
    }

    async fn keep(&self, spec: &SandboxSpec, pid: u32) -> Result<bool, NetworkError> {
        self.pin_again(spec, pid).await
    }

    async fn check(&self, uid: &str) -> Result<(), NetworkError> {
        self.check_attachment(uid).await
    }

    async fn collect(&self) -> Result<(), NetworkError> {
        self.collect_attachments().await
    }

    async fn list(&self) -> Result<Vec<String>, NetworkError> {
        let mut uids = self.blocking(|n| Ok([n.pins.list()?, n.cache.list()].concat())).await?;
        uids.sort();
        uids.dedup();
        Ok(uids)
    }

    fn host_ips(&self) -> Vec<IpAddr> {
        addresses::host_ips()
    }
}
