//! The agent's API on its unix socket (`proto/minik8s.proto`, `proto/streams.proto`): what `minik8s get|describe|logs|exec|apply|delete` and other programs talk to.
//!
//! Guarantees: messages, streams, connections and what waits for a slow reader are bounded; a client can only change what the Store and
//! the manifests directory allow. Left to others: acting on what was changed (the agent watches the Store and the directory).

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::agent::manifests::ManifestSet;
use crate::api::fault::Fault;
use crate::clock::Clock;
use crate::host::Paths;
use crate::metrics::Pulse;
use crate::runtime::presence::Presence;
use crate::store::Store;

mod applying;
mod deleting;
mod editing;
mod filter;
mod listing;
mod logs;
mod nodes;
mod planning;
mod rerunning;
mod rollout;
mod selector;
mod server;
mod socket;
mod status;
mod streams;
mod triggering;
mod watching;

pub use logs::{FileLogs, LogPart, LogReader, LogStream};
pub use server::serve;
pub use socket::SocketError;
#[cfg(test)]
pub(crate) use socket::deaf;
pub use streams::Live;

/// The generated messages, client and server.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod pb {
    tonic::include_proto!("minik8s.v1");
    /// For reflection.
    pub(super) const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("minik8s");
}

/// The largest message either side sends or takes, in bytes: a manifest file of 16 MiB is more than etcd would hold.
pub const MAX_MESSAGE: usize = 32 << 20;

/// The header of a refusal that carries Kubernetes' reason, where the code alone does not tell.
pub const REASON: &str = "minik8s-reason";

/// What the server answers from.
#[derive(Clone)]
pub struct ApiState {
    /// The objects.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the manifests, the logs and the socket are.
    pub paths: Arc<Paths>,
    /// This node's name.
    pub node_name: String,
    /// When the agent started.
    pub started_at: Timestamp,
    /// What is known of containerd.
    pub containerd: watch::Receiver<Presence>,
    /// What is wrong in the manifests directory now.
    pub faults: watch::Receiver<Vec<Fault>>,
    /// What the manifests directory says, once it was read.
    pub sets: watch::Receiver<Option<Arc<ManifestSet>>>,
    /// Reads containers' logs.
    pub logs: Arc<dyn LogReader>,
    /// One edit of the manifests directory at a time.
    pub edits: Arc<tokio::sync::Mutex<()>>,
    /// What exec, attach, port-forward and top reach running pods through; none where there is no container runtime.
    pub live: Option<Arc<Live>>,
    /// What the agent's loops leave for monitoring.
    pub pulse: Arc<Pulse>,
}

impl ApiState {
    /// An agent that starts now, whose logs are files and which has not read its manifests.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        paths: Arc<Paths>,
        node_name: String,
        containerd: watch::Receiver<Presence>,
        faults: watch::Receiver<Vec<Fault>>,
    ) -> ApiState {
        let started_at = clock.now();
        let (logs, edits, pulse) = (Arc::new(FileLogs), Arc::default(), Arc::default());
        let sets = watch::channel(None).1;
        ApiState { store, clock, paths, node_name, started_at, containerd, faults, sets, logs, edits, live: None, pulse }
    }
}
