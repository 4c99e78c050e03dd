//! Images: found in containerd's store, pulled where policy or absence asks for it, unpacked, and their users looked up.
//!
//! ```text
//! reference ─▶ record in the store? ──▶ Never, IfNotPresent, pinned: used as it is
//!                  │ Always, or absent
//!                  ▼
//!              registry: same digest ─▶ used as it is;  another ─▶ content (under a lease) ─▶ record ─▶ snapshots
//!                  │ does not answer
//!                  ▼
//!              the local copy, if there is one (ours: an edge host that is offline starts its pods)
//! ```
//!
//! Guarantees: concurrent asks for one image are one pull; nothing half-pulled is ever used; garbage collection takes neither what is
//! being made nor what an image record needs; a second container of an image costs one call. Leaves to others: back-off and events.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use containerd_client::services::v1::Image as ImageRecord;
use containerd_client::services::v1::snapshots::{RemoveSnapshotRequest, ViewSnapshotRequest};
use oci_spec::image::{ImageConfiguration, ImageManifest};

use super::containerd::connection::{Connection, QUICK, answer};
use super::containerd::{ContainerdConfig, PullLimits};
use super::{Image, ImageError, ImageRequest, ImageUsers, PullNote, PullPolicy, RuntimeError};
use crate::config::Keyring;

mod archive;
mod flights;
pub mod gc;
mod import;
mod manifest;
mod progress;
mod pull;
mod reference;
mod registry;
mod stock;
mod store;
mod unpack;
mod users;
mod volume;

pub use reference::{ImageReference, ImageVersion};

use flights::Flights;
use manifest::{Document, chain_ids, choose, configuration, digest};
use pull::{Fault, PullError};
use registry::Registries;
use store::{Lease, StoreError};
use unpack::{Layers, unpack, unpacked};

/// Images remembered as ready, and user databases: more than a node runs.
const REMEMBERED: usize = 256;
/// For work that only reads.
const SHORT_LEASE: Duration = Duration::from_secs(5 * 60);
/// Set by containerd's CRI plugin, and by `ctr image label`.
const PINNED: (&str, &str) = ("io.cri-containerd.pinned", "pinned");

/// What is known of an unpacked image; immutable for a digest.
struct Ready {
    chain_id: String,
    config: ImageConfiguration,
    size: u64,
}

/// The images of one containerd namespace.
pub(crate) struct Images {
    connection: Arc<Connection>,
    snapshotter: String,
    mounts: PathBuf,
    limits: PullLimits,
    registries: Registries,
    ready: Mutex<HashMap<String, Arc<Ready>>>,
    users: Mutex<HashMap<String, ImageUsers>>,
    flights: Flights,
    /// When somebody was last told that an image, by its digest, is here.
    promised: Mutex<HashMap<String, Instant>>,
    /// The node's own logins.
    registry_config: PathBuf,
    /// The pods that have images as volumes, once containerd was asked.
    volume_pods: Mutex<Option<BTreeSet<String>>>,
}

impl Images {
    pub(crate) fn new(connection: Arc<Connection>, config: &ContainerdConfig) -> Self {
        Self {
            connection,
            snapshotter: config.snapshotter.clone(),
            mounts: config.run_dir.join("images"),
            limits: config.pull,
            registries: Registries::new(config.registry_hosts.clone(), config.pull.stall),
            ready: Mutex::default(),
            users: Mutex::default(),
            flights: Flights::new(),
            promised: Mutex::default(),
            registry_config: config.registry_config.clone(),
            volume_pods: Mutex::default(),
        }
    }

    /// See [`super::Runtime::ensure_image`].
    pub(crate) async fn ensure(self: &Arc<Self>, request: ImageRequest<'_>, tell: &(dyn Fn(PullNote) + Sync)) -> Result<Image, ImageError> {
        let written = request.reference;
        let reference = ImageReference::parse(written).map_err(|cause| ImageError::InvalidName { reference: written.to_owned(), cause })?;
        let failed = |error: StoreError| self.image_error(written, error.into());
        let local = self.local(&reference).await.map_err(failed)?;
        match (request.policy, local) {
            (PullPolicy::Never, None) => Err(ImageError::NeverPull { reference: written.to_owned() }),
            (PullPolicy::Never, Some(record)) => self.open(&record).await.map_err(failed),
            (_, Some(record)) if is_pinned(&record) => self.open(&record).await.map_err(failed),
            (PullPolicy::IfNotPresent, Some(record)) => match self.open(&record).await {
                Ok(image) => Ok(image),
                Err(StoreError::Containerd(status)) if status.code() != tonic::Code::NotFound => Err(failed(status.into())),
                Err(error) => {
                    tracing::warn!(image = %reference, cause = %error, "the local image is incomplete; pulling it again");
                    self.pull_shared(reference, request, None, tell).await
                }
            },
            (_, local) => self.pull_shared(reference, request, local, tell).await,
        }
    }

    /// The node's logins, read anew each time. A file that cannot be used is told of, and gives none (as the kubelet's).
    fn node_keyring(&self) -> Keyring {
        let path = &self.registry_config;
        let unread = |why: String| {
            tracing::warn!(file = %path.display(), why, "the node's registry logins cannot be read; none of them is used");
            Keyring::default()
        };
        let keyring = match registry::read_config(path) {
            Ok(bytes) => Keyring::from_config_json(&bytes).unwrap_or_else(|error| unread(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Keyring::default(),
            Err(error) => unread(error.to_string()),
        };
        if !keyring.passed_over().is_empty() {
            let keys = keyring.passed_over().join(", ");
            tracing::warn!(file = %path.display(), keys, "programs that know logins are not run; write the logins into auths");
        }
        keyring
    }

    /// Tells a containerd that is away from an image that cannot be had.
    fn image_error(&self, written: &str, error: PullError) -> ImageError {
        match error.fault {
            Fault::RuntimeAway => ImageError::Unavailable { socket: self.connection.socket(), cause: error.cause },
            Fault::RegistryAway | Fault::CutOff | Fault::Refused => ImageError::Pull { reference: written.to_owned(), cause: error.cause },
        }
    }

    /// Forgets what is known: a snapshot turned out to be gone.
    pub(crate) fn forget_all(&self) {
        lock(&self.ready).clear();
    }

    async fn local(&self, reference: &ImageReference) -> Result<Option<ImageRecord>, StoreError> {
        if let Some(record) = store::image(&self.connection, &reference.to_string()).await? {
            return Ok(Some(record));
        }
        match reference.digest() {
            Some(digest) => Ok(store::image_by_digest(&self.connection, &reference.name(), digest).await?),
            None => Ok(None),
        }
    }

    /// The image of a record, unpacked if it is not yet.
    async fn open(&self, record: &ImageRecord) -> Result<Image, StoreError> {
        self.open_under(record, None).await
    }

    async fn open_under(&self, record: &ImageRecord, lease: Option<&Lease>) -> Result<Image, StoreError> {
        let target = record.target.as_ref().map(|target| target.digest.clone()).unwrap_or_default();
        self.promise(&target);
        let known = lock(&self.ready).get(&target).cloned();
        let ready = match known {
            Some(ready) => ready,
            None => {
                let ready = Arc::new(self.make_ready(&target, lease).await?);
                remember(&self.ready, target.clone(), ready.clone());
                ready
            }
        };
        Ok(Image {
            name: record.name.clone(),
            digest: target,
            chain_id: ready.chain_id.clone(),
            config: ready.config.clone(),
            size: ready.size,
            pulled: false,
        })
    }

    async fn make_ready(&self, target: &str, lease: Option<&Lease>) -> Result<Ready, StoreError> {
        let manifest = self.manifest(target).await?;
        let config_bytes = store::document(&self.connection, &digest(manifest.config().digest())).await?;
        let config = configuration(&config_bytes, &manifest).map_err(StoreError::Content)?;
        let diff_ids: Vec<String> = config.rootfs().diff_ids().to_vec();
        let chain = chain_ids(&diff_ids);
        let layers = Layers { snapshotter: &self.snapshotter, layers: manifest.layers(), diff_ids: &diff_ids, chain: &chain };
        let there = unpacked(&self.connection, &layers).await?;
        let top = chain.last().cloned().unwrap_or_default();
        if there < chain.len() {
            self.unpack_held(&layers, there, lease, &manifest, &top).await?;
        }
        let size = manifest.layers().iter().chain([manifest.config()]).map(oci_spec::image::Descriptor::size).sum();
        Ok(Ready { chain_id: top, config, size })
    }

    /// Unpacks under a lease (the pull's, or one of its own) and ties the top snapshot to the image's configuration.
    async fn unpack_held(
        &self,
        layers: &Layers<'_>,
        from: usize,
        lease: Option<&Lease>,
        manifest: &ImageManifest,
        top: &str,
    ) -> Result<(), StoreError> {
        let own = match lease {
            Some(_) => None,
            None => Some(Lease::new(&self.connection, self.limits.total + SHORT_LEASE).await?),
        };
        if let Some(lease) = lease.or(own.as_ref()) {
            unpack(&self.connection, lease, layers, from).await?;
        }
        let labels = HashMap::from([(format!("containerd.io/gc.ref.snapshot.{}", self.snapshotter), top.to_owned())]);
        store::label_content(&self.connection, &digest(manifest.config().digest()), labels).await?;
        if let Some(lease) = own {
            lease.end().await;
        }
        Ok(())
    }

    /// The manifest for this platform.
    async fn manifest(&self, target: &str) -> Result<ImageManifest, StoreError> {
        let parse = |bytes: Vec<u8>| Document::parse(&bytes).map_err(StoreError::Content);
        match parse(store::document(&self.connection, target).await?)? {
            Document::Manifest(manifest) => Ok(*manifest),
            Document::Index(index) => {
                let chosen = choose(&index).map_err(StoreError::Content)?;
                match parse(store::document(&self.connection, &digest(chosen.digest())).await?)? {
                    Document::Manifest(manifest) => Ok(*manifest),
                    Document::Index(_) => Err(StoreError::Content("an index within an index".to_owned())),
                }
            }
        }
    }

    /// See [`super::Runtime::image_users`].
    pub(crate) async fn users(&self, image: &Image) -> Result<ImageUsers, RuntimeError> {
        let known = lock(&self.users).get(&image.chain_id).cloned();
        if let Some(users) = known {
            return Ok(users);
        }
        let failed = |cause: String| RuntimeError::Failed { action: "read the users of image", id: image.name.clone(), cause };
        let users = self.read_users(&image.chain_id).await.map_err(|error| match error {
            StoreError::Containerd(status) if super::containerd::is_away(&status) => {
                super::containerd::unavailable(&self.connection, &status)
            }
            other => failed(other.to_string()),
        })?;
        remember(&self.users, image.chain_id.clone(), users.clone());
        Ok(users)
    }

    async fn read_users(&self, chain_id: &str) -> Result<ImageUsers, StoreError> {
        let key = format!("minik8s-users-{}", store::random_suffix());
        let lease = Lease::new(&self.connection, SHORT_LEASE).await?;
        let view = ViewSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.clone(),
            parent: chain_id.to_owned(),
            labels: HashMap::new(),
        };
        let mounts = answer(QUICK, self.connection.snapshots().view(lease.request(view))).await?.mounts;
        let at = self.mounts.join(&key);
        let read = tokio::task::spawn_blocking(move || users::read_users(&mounts, &at)).await;
        let remove = RemoveSnapshotRequest { snapshotter: self.snapshotter.clone(), key };
        // If it stays, it goes with the lease.
        let _ = answer(QUICK, self.connection.snapshots().remove(self.connection.request(remove))).await;
        lease.end().await;
        read.map_err(|e| StoreError::Content(e.to_string()))?.map_err(StoreError::Content)
    }
}

fn is_pinned(record: &ImageRecord) -> bool {
    record.labels.get(PINNED.0).is_some_and(|value| value == PINNED.1)
}

/// A lock is never held across an await, and what it guards is whole at every instant.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember<T>(map: &Mutex<HashMap<String, T>>, key: String, value: T) {
    let mut map = lock(map);
    if map.len() >= REMEMBERED {
        map.clear();
    }
    map.insert(key, value);
}
