//! The files a pod sees that are not its image: volumes, and the agent's own (hosts, resolv.conf, hostname, termination log, shm).
//!
//! [`Volumes`] is the contract, [`HostVolumes`] its driver. What need not survive a reboot is under `<run>/pods/<uid>`, emptyDirs on
//! disk under `<state>/pods/<uid>`. Kinds of volumes that are not honoured are refused by name, never passed over.
//! Claims are directories under `<state>/claims/<namespace>/<name>`, which nothing here removes. Secrets are on tmpfs only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;

use crate::controllers::pressure::DiskUsage;

mod atomic_writer;
mod claims;
mod config;
mod configuration;
mod driver;
mod empty_dir;
mod host_path;
mod hosts;
mod nfs;
mod ownership;
mod payload;
mod resolv;
mod sub_path;
mod teardown;
mod termination;
mod turns;
mod usage;

pub use config::VolumesConfig;
pub use driver::HostVolumes;
pub use nfs::MountProgram;
pub use payload::{PayloadFile, Payloads, SubPath};
pub use usage::{disk_usage, limits};

/// Why a volume is not there; shown as the event `FailedMount`.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The volume cannot be set up; the message is Kubernetes' where it has one.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {message}")]
    SetUp {
        /// The volume's name.
        volume: String,
        /// What is wrong.
        message: String,
    },
    /// The pod's own directory or files cannot be written.
    #[error("failed to {action} {path}: {source}")]
    Files {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl VolumeError {
    fn files(action: &'static str, path: &std::path::Path, source: impl Into<std::io::Error>) -> VolumeError {
        VolumeError::Files { action, path: path.to_owned(), source: source.into() }
    }
}

/// Where a pod's files are on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFiles {
    /// Volume name → its directory or file on the host.
    pub volumes: BTreeMap<String, PathBuf>,
    /// Volumes that no container may write to.
    pub read_only: BTreeSet<String>,
    /// The pod's own directory (`<run>/pods/<uid>`).
    pub dir: PathBuf,
    /// The file mounted at `/etc/hosts`; `None` to leave the image's.
    pub hosts: Option<PathBuf>,
    /// The file mounted at `/etc/hostname`.
    pub hostname: Option<PathBuf>,
    /// The file mounted at `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
    /// The directory mounted at `/dev/shm`.
    pub shm: Option<PathBuf>,
    /// What of the pod's DNS configuration did not fit into its `/etc/resolv.conf`, a sentence each.
    pub dns_omitted: Vec<String>,
}

/// The volumes driver. Every call is safe to repeat, and to give up: [`Volumes::remove`] after that leaves nothing of it.
#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// Sets up everything but `/etc/hosts`' addresses; finds again what is there.
    async fn setup(&self, pod: &Pod, hostname: &str, payloads: &Arc<Payloads>) -> Result<PodFiles, VolumeError>;
    /// Brings the configuration volumes that are set up to what `payloads` has, each all at once.
    async fn refresh(&self, pod: &Pod, payloads: &Arc<Payloads>) -> Result<(), VolumeError>;
    /// Makes a subPath of the volume at `volume` safe to mount and returns where. The message is not for users: it may tell of the host.
    async fn sub_path(&self, uid: &str, volume: &Path, wanted: &SubPath) -> Result<PathBuf, VolumeError>;
    /// The first disk emptyDir of the pod that holds more than its sizeLimit.
    async fn over_limit(&self, pod: &Pod) -> Result<Option<String>, VolumeError>;
    /// What the pod's volumes take of the node's disk; nothing before they are set up.
    async fn disk_usage(&self, uid: &str) -> Result<DiskUsage, VolumeError>;
    /// Writes `/etc/hosts` now that the addresses are known (in place: the file may be mounted already).
    async fn write_hosts(&self, pod: &Pod, hostname: &str, ips: &[IpAddr]) -> Result<(), VolumeError>;
    /// Makes the file mounted at terminationMessagePath, empty, and returns its path.
    async fn termination_log(&self, uid: &str, container: &str, attempt: u32) -> Result<PathBuf, VolumeError>;
    /// What a container wrote there: at most 4096 bytes.
    async fn termination_message(&self, uid: &str, container: &str, attempt: u32) -> String;
    /// Unmounts and removes all that is the pod's own. hostPath contents are never touched.
    async fn remove(&self, uid: &str) -> Result<(), VolumeError>;
    /// The uids of all pods that have a directory.
    async fn list(&self) -> Result<Vec<String>, VolumeError>;
}
