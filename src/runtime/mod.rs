//! The container runtime as the agent sees it: images, containers, exits. `containerd` is the driver; it decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::Spec;
use tokio::sync::broadcast;

use crate::config::Keyring;
use crate::controllers::pressure::DiskUsage;
use crate::network::UserNamespace;
use images::gc::{DiskSpace, StoredImage};

pub mod containerd;
pub mod exec;
pub mod images;
pub mod presence;
pub mod stdin_front;

pub use containerd::{Containerd, ContainerdConfig};

/// When to ask a registry, as Kubernetes' imagePullPolicy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Ask the registry each time; pull what changed. A pinned image (label `io.cri-containerd.pinned=pinned`) is never asked for.
    /// Ours: where no registry answers (offline, 5xx, 429; not a denial, not a 404), a local copy is used, and that is logged.
    Always,
    /// Pull only what is not there.
    IfNotPresent,
    /// Never pull.
    Never,
}

/// An image that a container needs.
#[derive(Clone, Copy, Debug)]
pub struct ImageRequest<'a> {
    /// As the manifest has it.
    pub reference: &'a str,
    /// When to ask a registry.
    pub policy: PullPolicy,
    /// The logins that the pod brings; the node's own come after them.
    pub keyring: &'a Keyring,
}

/// How far a pull is, in bytes of content; what is here already counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullProgress {
    /// Here.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

/// What somebody who waits for an image hears meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullNote {
    /// A registry is about to be asked.
    Begun,
    /// It takes a while, and is so far.
    Progress(PullProgress),
}

/// An image that is here, unpacked and ready to be a container's root.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The full reference it is known by (`docker.io/library/busybox:latest`).
    pub name: String,
    /// The manifest's (or index') digest, `sha256:…`: status.imageID is `<repository>@<digest>`.
    pub digest: String,
    /// The snapshot key of the top layer.
    pub chain_id: String,
    /// The image's own configuration: Entrypoint, Cmd, Env, User, WorkingDir, StopSignal.
    pub config: ImageConfiguration,
    /// Size of the content in bytes.
    pub size: u64,
    /// Whether a registry was asked in this call and has answered: the event Pulled tells of a pull, and not of an image that was there.
    pub pulled: bool,
}

/// Why an image is not to be had; the variants are Kubernetes' waiting reasons.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ImageError {
    /// `InvalidImageName`: the reference does not parse.
    #[error("Failed to apply default image tag {reference:?}: couldn't parse image name {reference:?}: {cause}")]
    InvalidName {
        /// As written in the manifest.
        reference: String,
        /// What is wrong with it.
        cause: String,
    },
    /// `ErrImageNeverPull`.
    #[error("Container image {reference:?} is not present with pull policy of Never")]
    NeverPull {
        /// As written in the manifest.
        reference: String,
    },
    /// `ErrImagePull`: tried and failed; worth a retry with back-off.
    #[error("failed to pull and unpack image {reference:?}: {cause}")]
    Pull {
        /// As written in the manifest.
        reference: String,
        /// The chain of causes, without secrets.
        cause: String,
    },
    /// containerd does not answer, or not in time: nothing is known of the image, no registry has refused anything, no back-off counts.
    #[error("containerd at {socket} does not answer: {cause}")]
    Unavailable {
        /// The socket.
        socket: String,
        /// The cause.
        cause: String,
    },
}

/// The text of an image's user databases, to look up names in. Empty where the image has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageUsers {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/group`.
    pub group: String,
}

/// An image that is a pod's volume.
#[derive(Clone, Copy, Debug)]
pub struct ImageVolume<'a> {
    /// The pod.
    pub pod_uid: &'a str,
    /// The volume's name.
    pub volume: &'a str,
    /// The directory it is mounted at, which is there.
    pub at: &'a std::path::Path,
}

/// Where a container's output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget {
    /// `/var/log/pods/<ns>_<pod>_<uid>/<container>/<attempt>.log`.
    pub path: PathBuf,
    /// Bytes after which the file is rotated.
    pub max_bytes: u64,
    /// Files kept, the current one among them.
    pub max_files: u32,
}

/// Everything a container is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerConfig {
    /// The container's id; deterministic per (pod uid, container, attempt), so that nothing is ever made twice.
    pub id: String,
    /// Its image.
    pub image: Image,
    /// Its OCI runtime spec, complete but for root.path.
    pub spec: Spec,
    /// Labels on containerd's record: `io.kubernetes.*` and what is needed to stop an orphan rightly.
    pub labels: BTreeMap<String, String>,
    /// Its log.
    pub log: LogTarget,
    /// Whether the process has a terminal.
    pub tty: bool,
    /// The user namespace that the spec joins: its files and pipes are to have that one's ids. `None`: the host's.
    pub user_namespace: Option<UserNamespace>,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// A record without a task: never started, or lost with its shim.
    None,
    /// Created, not started.
    Created,
    /// Running (or paused).
    Running {
        /// The process id of the container's init process on the host.
        pid: u32,
    },
    /// Ended; the record of it is still there.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 128+n for signal n.
    pub code: u32,
    /// When.
    pub at: Timestamp,
}

/// A container as the runtime knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerState {
    /// Its id.
    pub id: String,
    /// The labels it was made with.
    pub labels: BTreeMap<String, String>,
    /// When its record was made.
    pub created_at: Timestamp,
    /// Its task.
    pub task: TaskState,
}

/// What the runtime's event stream tells; only a hint to look again, never the sole source of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// A container's cgroup ran out of memory.
    Oom {
        /// The container.
        id: String,
    },
    /// Something was done to a container, perhaps by somebody else: look at it.
    Changed {
        /// The container.
        id: String,
    },
    /// The stream broke (containerd stopped); nothing is heard until `Connected`.
    Disconnected,
    /// The stream is (again) there: list again.
    Connected,
}

/// A command to run in a running container, for its result only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOnce {
    /// The program and its arguments; environment, user and rights are the container's.
    pub command: Vec<String>,
    /// After this it is killed; `None`: it may take for ever.
    pub timeout: Option<Duration>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code; `None`: it took too long and was killed.
    pub code: Option<u32>,
    /// The beginning of what it wrote, stdout before stderr: at most [`EXEC_OUTPUT_LIMIT`] bytes.
    pub output: Vec<u8>,
}

/// How much of a command's output is kept (pkg/probe/exec, maxReadLength).
pub const EXEC_OUTPUT_LIMIT: usize = 10 * 1024;

/// What an operation on a container failed with.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// containerd does not answer: wait and try again; what runs keeps running.
    #[error("containerd at {socket} does not answer: {cause}")]
    Unavailable {
        /// The socket.
        socket: String,
        /// The cause.
        cause: String,
    },
    /// There is no such container or task.
    #[error("container {id} not found")]
    NotFound {
        /// The container.
        id: String,
    },
    /// There is one already.
    #[error("container {id} already exists")]
    Exists {
        /// The container.
        id: String,
    },
    /// An operation on images was refused, or cannot be done.
    #[error("failed to {action} {subject}: {cause}")]
    Images {
        /// `remove the image`, `import`, …
        action: &'static str,
        /// The image's digest, or the archive's name.
        subject: String,
        /// The reason.
        cause: String,
    },
    /// The operation was refused; the message is for the pod's status.
    #[error("failed to {action} container {id}: {cause}")]
    Failed {
        /// `create`, `start`, `kill`, …
        action: &'static str,
        /// The container.
        id: String,
        /// containerd's or runc's words.
        cause: String,
    },
}

/// The runtime. Every call is safe to repeat.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Makes sure the image is here and unpacked. `tell` is called before a registry is asked, and from time to time while it answers.
    async fn ensure_image(&self, request: ImageRequest<'_>, tell: &(dyn Fn(PullNote) + Sync)) -> Result<Image, ImageError>;
    /// The image's user databases; cached.
    async fn image_users(&self, image: &Image) -> Result<ImageUsers, RuntimeError>;
    /// Mounts an image, read-only. What is mounted there already stays as it is. Its layers stay until [`Self::release_image_volumes`].
    async fn mount_image(&self, image: &Image, volume: &ImageVolume<'_>) -> Result<(), RuntimeError>;
    /// Gives back what a pod's image volumes hold of images, once nothing of them is mounted in the pod's directory any more.
    async fn release_image_volumes(&self, pod_uid: &str) -> Result<(), RuntimeError>;
    /// The uids of all pods that hold images as volumes.
    async fn image_volume_pods(&self) -> Result<BTreeSet<String>, RuntimeError>;
    /// All images of this agent's namespace.
    async fn images(&self) -> Result<Vec<StoredImage>, RuntimeError>;
    /// Removes an image by its digest, under all its names. Refused for one that is pinned or that `ensure_image` has just answered with.
    async fn remove_image(&self, id: &str) -> Result<(), RuntimeError>;
    /// The disk that images and containers' file systems are on.
    async fn image_disk(&self) -> Result<DiskSpace, RuntimeError>;
    /// Makes record, snapshot and task, in this order; on failure undoes what it made. The process does not run yet.
    async fn create(&self, config: &ContainerConfig) -> Result<(), RuntimeError>;
    /// Starts the created process and returns its pid.
    async fn start(&self, id: &str) -> Result<u32, RuntimeError>;
    /// Waits until the process has ended. Answers at once if it already has. Cancel-safe. `NotFound` if there is no task.
    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError>;
    /// Sends a signal to the init process (`all`: to every process). Signalling what has ended is no error.
    async fn kill(&self, id: &str, signal: i32, all: bool) -> Result<(), RuntimeError>;
    /// Runs a command in a running container to its end. A command whose caller gives up waiting is killed.
    async fn exec_once(&self, id: &str, exec: &ExecOnce) -> Result<ExecOutput, RuntimeError>;
    /// Removes the stopped task but leaves the record and its snapshot: frees the shim and the pod's namespaces.
    async fn delete_task(&self, id: &str) -> Result<(), RuntimeError>;
    /// Kills if needed and removes task, record and snapshot. Removing what is not there is no error.
    async fn remove(&self, id: &str) -> Result<(), RuntimeError>;
    /// What a container's writable layer takes of the disk. `NotFound` if it has none.
    async fn layer_usage(&self, id: &str) -> Result<DiskUsage, RuntimeError>;
    /// Where images and writable layers are kept; `None` where that is not told.
    async fn image_directory(&self) -> Option<PathBuf>;
    /// Every container of this agent's namespace, with its task's state.
    async fn list(&self) -> Result<Vec<ContainerState>, RuntimeError>;
    /// One container.
    async fn inspect(&self, id: &str) -> Result<ContainerState, RuntimeError>;
    /// Events from now on. The driver reconnects by itself, with back-off, for ever.
    fn events(&self) -> broadcast::Receiver<RuntimeEvent>;
}
