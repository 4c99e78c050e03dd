//! The real drivers, as the flags and this host have them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use minik8s::agent::Drivers;
use minik8s::cli::agent_args::{AgentConfig, CgroupDriverChoice};
use minik8s::clock::SystemClock;
use minik8s::grpc::Live;
use minik8s::host::devices::RealDevices;
use minik8s::host::usage::UsageReader;
use minik8s::host::{self, CgroupDriver, Hierarchies, HostFacts};
use minik8s::network::{CniNetwork, NetworkConfig};
use minik8s::runtime::containerd::{Containerd, ContainerdConfig, probe_runtime_binary, user_namespaces};
use minik8s::store::Store;
use minik8s::volumes::{HostVolumes, VolumesConfig};

/// The agent's drivers, and what of them only the start and the end of the process know.
pub(super) struct RealDrivers {
    pub(super) agents: Drivers,
    pub(super) containerd: Arc<Containerd>,
    pub(super) network: Arc<CniNetwork>,
    /// containerd's socket, to name it.
    pub(super) socket: PathBuf,
    pub(super) cgroup_root: String,
}

impl RealDrivers {
    /// Makes them, and says what pods go without on this host. containerd need not answer yet.
    pub(super) async fn new(config: AgentConfig, store: Arc<dyn Store>) -> anyhow::Result<RealDrivers> {
        let mut facts = facts(&config);
        let binary = usable(config.runtime.clone(), &config.paths.run).await;
        let network = CniNetwork::new(network(&config)).context("cannot prepare the pods' namespaces; the agent must run as root")?;
        let network = Arc::new(network);
        let (lacking, runtimes) = tokio::join!(network.describe(), user_namespaces(binary.as_deref(), &config.snapshotter));
        facts.user_namespaces = facts.user_namespaces.and(runtimes);
        for sentence in host::describe(&facts, &lacking) {
            tracing::warn!("on this host: {sentence}");
        }
        if lacking.is_empty() {
            tell_readiness(network.clone());
        }
        let mut runtime = ContainerdConfig::new(&config.containerd, &config.containerd_namespace, &config.paths.run);
        runtime.systemd_cgroup = facts.cgroup_driver == CgroupDriver::Systemd;
        runtime.snapshotter = config.snapshotter;
        runtime.registry_hosts = config.registry_hosts;
        runtime.registry_config = config.registry_config;
        runtime.runtime_binary = binary;
        let containerd = Arc::new(Containerd::connect(runtime).await?);
        containerd.prepare();
        let agents = Drivers {
            store,
            runtime: containerd.clone(),
            network: network.clone(),
            volumes: Arc::new(HostVolumes::new(VolumesConfig::new(&config.paths, &facts))),
            cgroups: host::pod_cgroups(&facts, &config.cgroup_root, config.settings.pod_max_pids)
                .context("cannot use this host's cgroups")?,
            devices: Arc::new(RealDevices { cdi_dirs: config.cdi_spec_dirs }),
            clock: Arc::new(SystemClock),
            host: Arc::new(facts),
            paths: Arc::new(config.paths),
            settings: Arc::new(config.settings),
        };
        Ok(RealDrivers { agents, containerd, network, socket: config.containerd, cgroup_root: config.cgroup_root })
    }

    /// What sessions (exec, port-forward, top) reach running pods through. Errors: the cgroup mounts cannot be read.
    pub(super) fn live(&self) -> anyhow::Result<Live> {
        Ok(Live::new(self.containerd.clone(), self.network.clone(), self.agents.cgroups.clone(), self.usage()?))
    }

    /// What reads cgroups. Errors: their mounts cannot be read.
    pub(super) fn usage(&self) -> anyhow::Result<UsageReader> {
        Ok(UsageReader::new(Hierarchies::read().context("cannot read this host's cgroups")?))
    }

    /// Without any pod, the bridge, its rules and the QoS cgroups serve nobody until the next start makes them again.
    pub(super) async fn leave_nothing_unused(&self) {
        // What cannot be listed may be in use.
        let (Ok(networks), Ok(cgroups)) = (self.agents.network.list().await, self.agents.cgroups.list()) else { return };
        if !networks.is_empty() || !cgroups.is_empty() {
            return;
        }
        if let Err(error) = self.network.remove_root().await {
            tracing::warn!("the pods' network stays: {error}");
        }
        if let Err(error) = host::remove_cgroup_root(&self.agents.host, &self.cgroup_root) {
            tracing::warn!("the pods' cgroups stay: {error}");
        }
    }
}

/// Says whether the network's plugins refuse, once they have answered: what runs is taken over without waiting for them.
fn tell_readiness(network: Arc<CniNetwork>) {
    tokio::spawn(async move {
        if let Some(sentence) = network.describe_readiness().await {
            tracing::warn!("on this host: {sentence}");
        }
    });
}

fn facts(config: &AgentConfig) -> HostFacts {
    let mut facts = host::probe(&config.paths);
    facts.cgroup_driver = match config.cgroup_driver {
        CgroupDriverChoice::Auto => facts.cgroup_driver,
        CgroupDriverChoice::Systemd => CgroupDriver::Systemd,
        CgroupDriverChoice::Cgroupfs => CgroupDriver::Cgroupfs,
    };
    facts
}

fn network(config: &AgentConfig) -> NetworkConfig {
    let mut network = NetworkConfig::new(&config.paths);
    network.conf_dirs.clone_from(&config.cni_conf_dirs);
    network.plugin_dirs.clone_from(&config.cni_bin_dirs);
    network.bridge.name.clone_from(&config.bridge_name);
    network.bridge.subnet.clone_from(&config.pod_cidr);
    network
}

/// The OCI runtime asked for, if it works on this host; the shim's default otherwise, which is said.
async fn usable(runtime: Option<PathBuf>, run: &Path) -> Option<PathBuf> {
    let runtime = runtime?;
    match probe_runtime_binary(&runtime, run).await {
        Ok(_) => Some(runtime),
        Err(why) => {
            tracing::warn!("on this host: {} cannot be used, so containers run with runc: {why}", runtime.display());
            None
        }
    }
}
