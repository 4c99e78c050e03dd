//! `minik8s agent`: builds the real drivers, wires them to the agent, runs until told to stop, and drains.
//!
//! Order: state file (one agent per state) → host facts → drivers → API → manifests → reconcile loop → containerd (waited for, adopted) →
//! pod workers. What needs no containerd works without it; what runs is not touched when the agent ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use minik8s::agent::manifests::ManifestSet;
use minik8s::agent::reconcile::{Inputs, Reconciler};
use minik8s::agent::worker::PodWorkers;
use minik8s::agent::{Drivers, housekeeping, manifests, recover};
use minik8s::api::fault::{Fault, Severity};
use minik8s::api::{Kind, Object};
use minik8s::cli::agent_args::{AgentConfig, CgroupDriverChoice};
use minik8s::clock::SystemClock;
use minik8s::grpc::{self, ApiState, FileLogs};
use minik8s::host::{self, CgroupDriver, HostFacts};
use minik8s::network::{CniNetwork, NetworkConfig};
use minik8s::runtime::containerd::{Containerd, ContainerdConfig, probe_runtime_binary};
use minik8s::store::Store;
use minik8s::store::embedded::EmbeddedStore;
use minik8s::volumes::{HostVolumes, VolumesConfig};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// How long the agent waits between two attempts to reach containerd.
const CONTAINERD_RETRY: Duration = Duration::from_secs(1);
/// How long ending may take; the containers live on whatever happens.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs the agent until `stop` says so. Errors: what prevents it from starting at all, with what to do.
pub async fn run(config: AgentConfig, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    for dir in [&config.paths.state, &config.paths.run] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
    }
    let _alone = alone(&config)?;
    let store = EmbeddedStore::open(config.paths.state.join("state.redb"))?;
    let daemon = Daemon::build(config, store).await?;
    daemon.serve(stop).await
}

struct Daemon {
    drivers: Drivers,
    containerd: Arc<Containerd>,
    network: Arc<CniNetwork>,
    socket: PathBuf,
    cgroup_root: String,
}

impl Daemon {
    async fn build(config: AgentConfig, store: Arc<dyn Store>) -> anyhow::Result<Daemon> {
        let facts = facts(&config);
        let network = CniNetwork::new(network(&config)).context("cannot prepare the pods' namespaces; the agent must run as root")?;
        let network = Arc::new(network);
        for sentence in host::describe(&facts, &network.describe().await) {
            tracing::warn!("on this host: {sentence}");
        }
        let mut runtime = ContainerdConfig::new(&config.containerd, &config.containerd_namespace, &config.paths.run);
        runtime.systemd_cgroup = facts.cgroup_driver == CgroupDriver::Systemd;
        runtime.snapshotter = config.snapshotter;
        runtime.runtime_binary = usable(config.runtime, &config.paths.run).await;
        let containerd = Arc::new(Containerd::connect(runtime).await?);
        let drivers = Drivers {
            store,
            runtime: containerd.clone(),
            network: network.clone(),
            volumes: Arc::new(HostVolumes::new(VolumesConfig::new(&config.paths, &facts))),
            cgroups: host::pod_cgroups(&facts, &config.cgroup_root).context("cannot use this host's cgroups")?,
            clock: Arc::new(SystemClock),
            host: Arc::new(facts),
            paths: Arc::new(config.paths),
            settings: Arc::new(config.settings),
        };
        Ok(Daemon { drivers, containerd, network, socket: config.containerd, cgroup_root: config.cgroup_root })
    }

    async fn serve(self, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let watcher = manifests::spawn(self.drivers.paths.manifests.clone()).context("cannot watch the manifests directory")?;
        let (version, containerd_version) = watch::channel(String::new());
        let mut api = tokio::spawn(grpc::serve(self.api(&watcher, containerd_version.clone()), stopped(stop.clone())));
        let workers = PodWorkers::new(self.drivers.clone());
        let adopted = Arc::new(AtomicBool::new(false));
        let inputs = self.inputs(&watcher, &workers, &adopted, containerd_version);
        let reconciler = Reconciler::new(self.drivers.clone(), inputs).await?;
        let mut reconciling = tokio::spawn(reconciler.run(stop.clone()));
        let housekeeping = tokio::spawn(housekeeping::run(self.drivers.store.clone(), self.drivers.clock.clone()));
        let telling = tokio::spawn(tell_faults(watcher.sets.clone()));
        tracing::info!(node = self.drivers.settings.node_name, manifests = %self.drivers.paths.manifests.display(), "minik8s is running");
        // Nobody listens where the agent was not started by systemd.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let adopting =
            tokio::spawn(adopt(self.drivers.clone(), self.containerd.clone(), self.socket.clone(), version, workers.clone(), adopted));
        // Told to stop, all three end: that must be seen first. Nothing else is cancelled here.
        let outcome = tokio::select! {
            biased;
            () = stopped(stop.clone()) => Ok(()),
            ended = &mut api => ended.context("the API ended unexpectedly")?.context("cannot serve the API"),
            ended = &mut reconciling => match (ended, *stop.borrow()) {
                (Ok(()), true) => Ok(()),
                (Ok(()), false) => Err(anyhow::anyhow!("the reconcile loop ended unexpectedly")),
                (Err(panic), _) => Err(anyhow::Error::from(panic).context("the reconcile loop failed")),
            },
        };
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        for task in [adopting, housekeeping, telling] {
            task.abort();
        }
        let drain = async {
            if !reconciling.is_finished() {
                // Its outcome no longer matters: what it had decided is committed or will be decided again.
                let _ = (&mut reconciling).await;
            }
            workers.shutdown().await;
        };
        if outcome.is_ok() && tokio::time::timeout(DRAIN, drain).await.is_err() {
            tracing::warn!("not everything ended within {} s; the containers live on", DRAIN.as_secs());
        }
        self.leave_nothing_unused().await;
        outcome
    }

    /// Without any pod, the bridge, its rules and the QoS cgroups serve nobody until the next start makes them again.
    async fn leave_nothing_unused(&self) {
        let networks = self.drivers.network.list().await.unwrap_or_else(|_| vec![String::new()]);
        let cgroups = self.drivers.cgroups.list().unwrap_or_else(|_| vec![String::new()]);
        if !networks.is_empty() || !cgroups.is_empty() {
            return;
        }
        if let Err(error) = self.network.remove_root().await {
            tracing::warn!("the pods' network stays: {error}");
        }
        if let Err(error) = host::remove_cgroup_root(&self.drivers.host, &self.cgroup_root) {
            tracing::warn!("the pods' cgroups stay: {error}");
        }
    }

    fn api(&self, watcher: &manifests::Watcher, containerd_version: watch::Receiver<String>) -> ApiState {
        let (tell, faults) = watch::channel(Vec::new());
        let mut sets = watcher.sets.clone();
        tokio::spawn(async move {
            while sets.changed().await.is_ok() {
                let now = sets.borrow_and_update().as_ref().map(|s| s.faults.clone()).unwrap_or_default();
                tell.send_replace(now);
            }
        });
        ApiState {
            store: self.drivers.store.clone(),
            clock: self.drivers.clock.clone(),
            paths: self.drivers.paths.clone(),
            node_name: self.drivers.settings.node_name.clone(),
            started_at: self.drivers.clock.now(),
            containerd_version,
            faults,
            logs: Arc::new(FileLogs),
            edits: Arc::default(),
        }
    }

    fn inputs(
        &self,
        watcher: &manifests::Watcher,
        workers: &Arc<PodWorkers>,
        adopted: &Arc<AtomicBool>,
        runtime: watch::Receiver<String>,
    ) -> Inputs {
        let (workers, adopted) = (workers.clone(), adopted.clone());
        let pods = move |_, pod: Arc<Object>| {
            // Before adoption nothing is known about what runs; afterwards every pod is told once more.
            if adopted.load(Ordering::Acquire) {
                workers.changed(pod);
            }
        };
        let beat = || {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        };
        Inputs { sets: watcher.sets.clone(), pods: Arc::new(pods), runtime, beat: Arc::new(beat) }
    }
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

/// Makes sure that no other agent takes this containerd namespace for its own: it would remove our containers as orphans. The name is held as
/// an abstract socket, which goes with the process however that ends.
fn alone(config: &AgentConfig) -> anyhow::Result<std::os::unix::net::UnixListener> {
    use std::os::linux::net::SocketAddrExt;
    let containerd = std::fs::canonicalize(&config.containerd).unwrap_or_else(|_| config.containerd.clone());
    let name = format!("minik8s/{}/{}", config.containerd_namespace, containerd.display());
    let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(format!("minik8s/{digest}"))?;
    std::os::unix::net::UnixListener::bind_addr(&address).map_err(|_| {
        anyhow::anyhow!(
            "the namespace {} of the containerd at {} is in use by another minik8s agent; stop that one, or give this one its own --containerd-namespace",
            config.containerd_namespace,
            config.containerd.display()
        )
    })
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // The sender lives as long as the process; should it be gone, that is a reason to stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits for containerd, takes over what runs, then lets the workers loose.
async fn adopt(
    drivers: Drivers,
    containerd: Arc<Containerd>,
    socket: PathBuf,
    version: watch::Sender<String>,
    workers: Arc<PodWorkers>,
    adopted: Arc<AtomicBool>,
) {
    let mut told = false;
    loop {
        let outcome = async {
            let found = containerd.version().await?;
            version.send_replace(format!("containerd://{found}"));
            recover::adopt(&drivers).await.map_err(anyhow::Error::from)
        };
        match outcome.await {
            Ok(found) => {
                tracing::info!(kept = found.kept, removed = found.removed, orphans = found.orphans, "took over what runs");
                break;
            }
            Err(error) if !told => {
                told = true;
                tracing::error!("waiting for containerd: {error:#}; is it running? --containerd is {}", socket.display());
            }
            Err(_) => {}
        }
        tokio::time::sleep(CONTAINERD_RETRY).await;
    }
    adopted.store(true, Ordering::Release);
    for pod in drivers.store.list(Kind::Pod) {
        if pod.as_pod().is_some_and(|p| p.spec.as_ref().is_some_and(|s| s.node_name.is_some())) {
            workers.pod_changed(pod);
        }
    }
}

/// Says what is wrong with the manifests, each thing once as long as it stays.
async fn tell_faults(mut sets: watch::Receiver<Option<Arc<ManifestSet>>>) {
    let mut told: Vec<Fault> = Vec::new();
    while sets.changed().await.is_ok() {
        let now = sets.borrow_and_update().as_ref().map(|s| s.faults.clone()).unwrap_or_default();
        for fault in now.iter().filter(|f| !told.contains(f)) {
            match fault.severity {
                Severity::Error => tracing::error!("{fault}"),
                Severity::Warning => tracing::warn!("{fault}"),
                Severity::Info => tracing::info!("{fault}"),
            }
        }
        told = now;
    }
}
