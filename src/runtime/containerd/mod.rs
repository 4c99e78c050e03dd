//! The driver for containerd 1.6 and later: [`Runtime`] over its gRPC socket, with plain containers (no CRI, no sandboxes).
//!
//! ```text
//! create: Containers.Create (a GC root that names the snapshot) ─▶ Snapshots.Prepare ─▶ Tasks.Create (shim, runc, logger)
//! remove: Tasks.Kill ─▶ Tasks.Wait ─▶ Tasks.Delete ─▶ Snapshots.Remove ─▶ Containers.Delete (last: it is what a retry finds)
//! ```
//!
//! Guarantees: every call may be repeated; every call but `wait` ends in bounded time; nothing is decided here; a containerd that is
//! away is [`RuntimeError::Unavailable`] and is found again by itself. Leaves to others: what to run, when to retry, and the logs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OnceCell, broadcast};
use tokio::task::JoinHandle;

use super::images::Images;
use super::images::gc::{DiskSpace, StoredImage};
use super::{
    ContainerConfig, ContainerState, ExecOnce, ExecOutput, Exit, Image, ImageError, ImageRequest, ImageUsers, ImageVolume, PullNote,
    Runtime, RuntimeError, RuntimeEvent,
};
use crate::controllers::pressure::DiskUsage;

pub(crate) mod connection;
mod containers;
mod disk;
mod errors;
mod events;
mod exec;
mod exec_fifos;
mod exec_once;
mod exec_process;
mod idmap;
mod leftovers;
mod listing;
mod logger_uri;
mod options;
mod root;
mod tasks;
pub(crate) mod timestamps;

pub use options::{RuntimeFeatures, probe_runtime_binary, user_namespaces};

use connection::Connection;
use errors::Subject;
pub(crate) use errors::{is_away, unavailable, words as connection_words};
pub use exec::Execs;

/// How many events a slow receiver may lag behind before it is told so (`RecvError::Lagged`; it then lists again).
const EVENT_BACKLOG: usize = 1024;

/// How long a pull may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullLimits {
    /// No byte from the registry for this long ends the pull.
    pub stall: Duration,
    /// The whole pull, unpacking included.
    pub total: Duration,
}

impl Default for PullLimits {
    fn default() -> Self {
        Self { stall: Duration::from_secs(30), total: Duration::from_secs(30 * 60) }
    }
}

/// Which containerd, and how containers are run by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerdConfig {
    /// Its gRPC socket (`/run/containerd/containerd.sock`).
    pub socket: PathBuf,
    /// The containerd namespace all containers and images live in. It is created when missing.
    pub namespace: String,
    /// The agent's run directory: runc's state goes to `<run_dir>/runc`, passing mounts to `<run_dir>/images`.
    pub run_dir: PathBuf,
    /// The snapshotter (`overlayfs`).
    pub snapshotter: String,
    /// The shim (`io.containerd.runc.v2`).
    pub runtime: String,
    /// Whether runc asks systemd for cgroups; must agree with the form of the specs' cgroupsPath.
    pub systemd_cgroup: bool,
    /// The binary the shims start as `<binary> minik8s-logger <config>`: this very program.
    pub logger_binary: PathBuf,
    /// runc, crun or another OCI runtime by path; none: what the shim finds (`runc`). See [`probe_runtime_binary`].
    pub runtime_binary: Option<PathBuf>,
    /// How long pulls may take.
    pub pull: PullLimits,
    /// Where each registry's `hosts.toml` is (`/etc/containerd/certs.d`).
    pub registry_hosts: PathBuf,
    /// The node's own logins at registries, in the form of Docker's `config.json`.
    pub registry_config: PathBuf,
}

impl ContainerdConfig {
    /// A configuration with containerd's usual snapshotter and shim, the cgroupfs driver, and this program as the logger.
    pub fn new(socket: impl Into<PathBuf>, namespace: impl Into<String>, run_dir: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            namespace: namespace.into(),
            run_dir: run_dir.into(),
            snapshotter: "overlayfs".into(),
            runtime: "io.containerd.runc.v2".into(),
            systemd_cgroup: false,
            logger_binary: own_binary(),
            runtime_binary: None,
            pull: PullLimits::default(),
            registry_hosts: "/etc/containerd/certs.d".into(),
            registry_config: "/var/lib/minik8s/config.json".into(),
        }
    }
}

/// The path of this program, also where it was replaced (upgraded) since it started.
fn own_binary() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/minik8s"));
    match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(replaced) => PathBuf::from(replaced),
        None => path,
    }
}

/// The driver. Cheap to share behind an `Arc`; dropping it ends its event task.
pub struct Containerd {
    config: ContainerdConfig,
    connection: Arc<Connection>,
    images: Arc<Images>,
    execs: Arc<Execs>,
    events: broadcast::Sender<RuntimeEvent>,
    listener: JoinHandle<()>,
    snapshots: OnceCell<PathBuf>,
}

impl Containerd {
    /// Prepares the driver and starts listening to events. containerd need not be there yet: `Connected` tells when it is.
    ///
    /// # Errors
    /// `Failed` for a socket or namespace that can never work. Must be called within a tokio runtime.
    pub async fn connect(config: ContainerdConfig) -> Result<Self, RuntimeError> {
        let connection = Arc::new(Connection::new(&config.socket, &config.namespace)?);
        let images = Arc::new(Images::new(connection.clone(), &config));
        let execs = Arc::new(Execs::new(connection.clone(), &config.run_dir));
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let listener = tokio::spawn(events::listen_for_ever(connection.clone(), events.clone()));
        Ok(Self { config, connection, images, execs, events, listener, snapshots: OnceCell::new() })
    }

    /// Processes executed in running containers.
    pub fn execs(&self) -> &Execs {
        &self.execs
    }

    /// containerd's version, such as `1.6.20~ds1`; also the way to find out whether it answers.
    pub async fn version(&self) -> Result<String, RuntimeError> {
        self.connection.version().await.map_err(|status| Subject::new(&self.connection, "ask the version of", "containerd").error(status))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Containerd {
    /// Imports the images of an archive (docker-archive or OCI layout, `.tar`) and pins them. `file` names it and `state` tells one state of
    /// it from another, for [`Self::preloaded`]. Returns the images' names.
    ///
    /// # Errors
    /// It is no such archive, or containerd does not take it.
    pub async fn import_archive(&self, path: &std::path::Path, file: &str, state: &str) -> Result<Vec<String>, RuntimeError> {
        self.images.import(path, file, state).await
    }

    /// The archives whose images are here and pinned, each with its state; "" for one that was not imported to its end.
    ///
    /// # Errors
    /// containerd does not answer.
    pub async fn preloaded(&self) -> Result<std::collections::BTreeMap<String, String>, RuntimeError> {
        self.images.preloaded().await
    }

    /// The images of an archive are pinned no longer.
    ///
    /// # Errors
    /// containerd does not answer, or refuses.
    pub async fn unpin_archive(&self, file: &str) -> Result<(), RuntimeError> {
        self.images.unpin(file).await
    }
}

#[async_trait]
impl Runtime for Containerd {
    async fn ensure_image(&self, request: ImageRequest<'_>, tell: &(dyn Fn(PullNote) + Sync)) -> Result<Image, ImageError> {
        self.images.ensure(request, tell).await
    }

    async fn image_users(&self, image: &Image) -> Result<ImageUsers, RuntimeError> {
        self.images.users(image).await
    }

    async fn mount_image(&self, image: &Image, volume: &ImageVolume<'_>) -> Result<(), RuntimeError> {
        self.images.mount_volume(image, volume).await
    }

    async fn release_image_volumes(&self, pod_uid: &str) -> Result<(), RuntimeError> {
        self.images.release_volumes(pod_uid).await
    }

    async fn image_volume_pods(&self) -> Result<BTreeSet<String>, RuntimeError> {
        self.images.volume_pods().await
    }

    async fn images(&self) -> Result<Vec<StoredImage>, RuntimeError> {
        self.images.list().await
    }

    async fn remove_image(&self, id: &str) -> Result<(), RuntimeError> {
        self.images.remove(id).await
    }

    async fn image_disk(&self) -> Result<DiskSpace, RuntimeError> {
        self.measure_disk().await
    }

    async fn create(&self, config: &ContainerConfig) -> Result<(), RuntimeError> {
        self.create_container(config).await
    }

    async fn start(&self, id: &str) -> Result<u32, RuntimeError> {
        self.start_task(id).await
    }

    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError> {
        self.wait_task(id).await
    }

    async fn kill(&self, id: &str, signal: i32, all: bool) -> Result<(), RuntimeError> {
        self.kill_task(id, signal, all).await
    }

    async fn exec_once(&self, id: &str, exec: &ExecOnce) -> Result<ExecOutput, RuntimeError> {
        self.execs.once(id, exec).await
    }

    async fn delete_task(&self, id: &str) -> Result<(), RuntimeError> {
        self.delete_stopped_task(id).await
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        self.remove_container(id).await
    }

    async fn layer_usage(&self, id: &str) -> Result<DiskUsage, RuntimeError> {
        self.measure_layer(id).await
    }

    async fn image_directory(&self) -> Option<PathBuf> {
        self.snapshotter_root().await.ok().cloned()
    }

    async fn list(&self) -> Result<Vec<ContainerState>, RuntimeError> {
        self.list_containers().await
    }

    async fn inspect(&self, id: &str) -> Result<ContainerState, RuntimeError> {
        self.inspect_container(id).await
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }
}
