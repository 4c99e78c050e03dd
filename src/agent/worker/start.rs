//! Making and starting one attempt, as fast as its parts allow.
//!
//! ```text
//!   intent committed (gate) ─┐
//!   image ───────────────────┤
//!   volumes, cgroup ─────────┼─▶ create ─┐
//!   namespaces ─┬────────────┘           ├─▶ marker ─▶ start
//!               └─▶ CNI ADD ─▶ hosts ────┘      (CNI ADD overlaps create, unless the environment needs the address)
//! ```
//!
//! The postStart hook runs before the start counts as done, so that what is started next waits for it, as the kubelet's does.
//!
//! Until the gate opens nothing of the container exists. Giving up is heeded until then, and not after: create and start are short.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use oci_spec::runtime::Spec;
use tokio::sync::{Notify, OwnedRwLockReadGuard, oneshot, watch};

use super::exit::AttemptRef;
use super::hooks::{HookResult, post_start};
use super::parts::Parts;
use super::pulls::{Pulls, pull_policy};
use super::{Shared, configuration, devices, files};
use crate::api::well_known::container_labels as label;
use crate::api::{Key, Kind};
use crate::config::{self, Objects};
use crate::oci::{self, OciError};
use crate::pod::attempt::{self, Role};
use crate::runtime::{ContainerConfig, Image, ImageError, ImageRequest, LogTarget, RuntimeError};
use crate::volumes::{PodFiles, SubPath};

/// Why an attempt was not started. Nothing of it has run, but for `Start`, and `Unavailable` and `Unexamined`, where that is to be examined.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// FailedCreatePodSandBox.
    Sandbox(String),
    /// NetworkNotReady: no sandbox can have an address now.
    NetworkNotReady(String),
    /// FailedMount.
    Mount(String),
    /// No image.
    Image(ImageError),
    /// CreateContainerConfigError.
    Config(String),
    /// CreateContainerError.
    Create(String),
    /// The process could not be started: StartError.
    Start(String),
    /// The runtime does not answer, or not in time: nobody has refused anything.
    Unavailable(String),
    /// It may have run already: to be examined.
    Unexamined(String),
    /// Given up before anything was created.
    Cancelled,
}

impl Failure {
    fn redacted(self, objects: &Objects) -> Failure {
        match self {
            Failure::Config(text) => Failure::Config(objects.redact(text)),
            Failure::Create(text) => Failure::Create(objects.redact(text)),
            Failure::Start(text) => Failure::Start(objects.redact(text)),
            Failure::Unavailable(text) => Failure::Unavailable(objects.redact(text)),
            Failure::Unexamined(text) => Failure::Unexamined(objects.redact(text)),
            // Nothing of these is made from a Secret's value; logins are kept out of them where they are used.
            Failure::Sandbox(_) | Failure::NetworkNotReady(_) | Failure::Mount(_) | Failure::Image(_) | Failure::Cancelled => self,
        }
    }
}

/// An image, as it was asked for and got.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) reference: String,
    pub(super) image: Image,
    /// How long it took.
    pub(super) millis: u128,
}

/// An attempt that runs.
#[derive(Clone, Debug)]
pub(super) struct Started {
    pub(super) at: Timestamp,
    pub(super) image: Got,
    /// The images that it mounts as volumes.
    pub(super) mounted: Vec<Got>,
    pub(super) pod_ips: Vec<IpAddr>,
    pub(super) dns_omitted: Vec<String>,
    pub(super) stop_signal: i32,
    pub(super) post_start: HookResult,
}

/// One attempt to make.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) pod: Arc<Pod>,
    pub(super) parts: Arc<Parts>,
    /// Held as long as parts may be made.
    pub(super) right: OwnedRwLockReadGuard<()>,
    pub(super) role: Role,
    pub(super) of: AttemptRef,
    /// Opens when the intent is durable; closed unopened = it never will be.
    pub(super) gate: oneshot::Receiver<()>,
    pub(super) cancel: watch::Receiver<bool>,
    pub(super) pulls: Pulls,
    pub(super) serial: u64,
}

/// Makes and starts the attempt. No failure tells a Secret's value, not even where the runtime quotes a command that has one.
pub(super) async fn run(job: Job) -> Result<Started, Failure> {
    let (shared, pod) = (job.shared.clone(), job.pod.clone());
    make(job).await.map_err(|failure| failure.redacted(&configuration::objects(&shared.drivers, &pod)))
}

async fn make(job: Job) -> Result<Started, Failure> {
    let Job { shared, pod, parts, right: _right, role, of, gate, mut cancel, pulls, serial } = job;
    let making = Making { shared: &shared, pod: &pod, parts: &parts, role, of: &of, pulls: &pulls, serial };
    let container = making.container()?;
    let no_address = Notify::new();
    let prepare = async {
        let gate = async { gate.await.map_err(|_| Failure::Cancelled) };
        let drivers = &shared.drivers;
        let cgroup = parts.cgroup(drivers, &pod);
        let files = async {
            parts.files(drivers, &pod).await?;
            making.image_volumes(container).await
        };
        let (_, _, image, _, mounted) =
            tokio::try_join!(gate, cgroup, making.own_image(container), parts.namespaces(drivers, &pod), files)?;
        Ok::<_, Failure>((image, mounted))
    };
    // Also where nobody is there any more to give it up.
    let given_up = || {
        let mut cancel = cancel.clone();
        async move { drop(cancel.wait_for(|cancelled| *cancelled).await) }
    };
    // Cancel-safe: until `prepare` is done nothing of the container exists, and the shared parts may be asked for again.
    let prepared = async {
        tokio::select! {
            biased;
            () = given_up() => Err(Failure::Cancelled),
            () = no_address.notified() => Err(Failure::Cancelled),
            image = prepare => image,
        }
    };
    let addresses = parts.addresses(&shared.drivers, &pod, given_up());
    let create = async {
        let (image, mounted) = prepared.await?;
        let stop_signal = making.create(container, &image.image).await?;
        Ok((image, mounted, stop_signal))
    };
    let ((image, mounted, stop_signal), pod_ips) = making.both(create, addresses, &no_address).await?;
    let at = making.start().await?;
    let post_start = post_start(&shared, container, &of, &pod_ips, &mut cancel).await;
    // They are made, or there would be no container.
    let dns_omitted = parts.files(&shared.drivers, &pod).await.map(|files| files.dns_omitted).unwrap_or_default();
    Ok(Started { at, image, mounted, pod_ips, dns_omitted, stop_signal, post_start })
}

struct Making<'a> {
    shared: &'a Shared,
    pod: &'a Pod,
    parts: &'a Parts,
    role: Role,
    of: &'a AttemptRef,
    pulls: &'a Pulls,
    serial: u64,
}

impl Making<'_> {
    fn container(&self) -> Result<&Container, Failure> {
        let found = attempt::containers(self.pod).find(|(_, c)| c.name == self.of.name);
        found.map(|(_, c)| c).ok_or_else(|| Failure::Config(format!("container {:?} is not in the pod's spec", self.of.name)))
    }

    async fn own_image(&self, container: &Container) -> Result<Got, Failure> {
        self.image(container.image.as_deref().unwrap_or_default(), container.image_pull_policy.as_deref()).await
    }

    /// The images that the container mounts as volumes, each mounted (kuberuntime_manager.go, getImageVolumes). One after another.
    async fn image_volumes(&self, container: &Container) -> Result<Vec<Got>, Failure> {
        let mut all = Vec::new();
        for volume in self.pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
            let Some(source) = &volume.image else { continue };
            if !container.volume_mounts.iter().flatten().any(|mount| mount.name == volume.name) {
                continue;
            }
            let got = self.image(source.reference.as_deref().unwrap_or_default(), source.pull_policy.as_deref()).await?;
            let mounted = self.parts.image_volume(&self.shared.drivers, self.pod, &volume.name, &got.image).await;
            mounted.map_err(create_failure)?;
            all.push(got);
        }
        Ok(all)
    }

    async fn image(&self, reference: &str, policy: Option<&str>) -> Result<Got, Failure> {
        let begun = Instant::now();
        let drivers = &self.shared.drivers;
        let keyring = self.pulls.keyring(self.serial, drivers, self.pod, reference).map_err(Failure::Image)?;
        let request = ImageRequest { reference, policy: pull_policy(policy, reference), keyring: &keyring };
        match drivers.runtime.ensure_image(request, &|note| self.pulls.note(self.serial, reference, note)).await {
            Ok(image) => Ok(Got { reference: reference.to_owned(), image, millis: begun.elapsed().as_millis() }),
            Err(error @ ImageError::Unavailable { .. }) => Err(Failure::Unavailable(error.to_string())),
            Err(error) => Err(Failure::Image(error)),
        }
    }

    /// Runs both to their end, so that a create under way is never dropped; what was created is removed if the addresses are not to be had.
    async fn both<T>(
        &self,
        create: impl Future<Output = Result<T, Failure>>,
        addresses: impl Future<Output = Result<Vec<IpAddr>, Failure>>,
        no_address: &Notify,
    ) -> Result<(T, Vec<IpAddr>), Failure> {
        tokio::pin!(create, addresses);
        // Cancel-safe: the branch not taken is polled again below, from where it stood.
        let (made, ips) = tokio::select! {
            biased;
            made = &mut create => (made, addresses.await),
            ips = &mut addresses => {
                if ips.is_err() {
                    no_address.notify_one();
                }
                (create.await, ips)
            }
        };
        match (made, ips) {
            (Ok(made), Ok(ips)) => Ok((made, ips)),
            (Ok(_), Err(failure)) => match self.shared.drivers.runtime.remove(&self.of.id).await {
                Ok(()) => Err(failure),
                // The Pod may be deleted before this attempt is made again: it is looked at until it is gone.
                Err(error) => Err(Failure::Unexamined(format!("what was created without an address cannot be removed: {error}"))),
            },
            (Err(Failure::Cancelled), Err(failure)) | (Err(failure), _) => Err(failure),
        }
    }

    /// Record, snapshot and task; returns the signal that stops it.
    async fn create(&self, container: &Container, image: &Image) -> Result<i32, Failure> {
        let drivers = &self.shared.drivers;
        let spec = self.spec(container, image).await?;
        let user_namespace = self.parts.namespaces(drivers, self.pod).await?.user;
        let stop_signal = oci::stop_signal(container, &image.config);
        let path = files::prepare_log(&drivers.paths, self.pod, &self.of.name, self.of.number, &self.of.id)
            .and_then(|path| files::prepare_stdin(&path, container, user_namespace.as_ref()).map(|()| path))
            .map_err(|e| Failure::Create(format!("failed to make the log of container {}: {e}", self.of.name)))?;
        let settings = &drivers.settings;
        let config = ContainerConfig {
            id: self.of.id.clone(),
            image: image.clone(),
            spec,
            labels: self.labels(stop_signal),
            log: LogTarget { path, max_bytes: settings.log_max_bytes, max_files: settings.log_max_files },
            tty: container.tty == Some(true),
            user_namespace,
        };
        let _permit = self.shared.creates.acquire().await.map_err(|_| Failure::Cancelled)?;
        match drivers.runtime.create(&config).await {
            Err(error @ RuntimeError::Exists { .. })
                if files::marked(&drivers.paths, attempt::uid(self.pod), &self.of.name, self.of.number) =>
            {
                // It may have run: to be examined, not to be made again.
                return Err(Failure::Unexamined(error.to_string()));
            }
            Err(RuntimeError::Exists { .. }) => {
                // What a crash left of this very attempt, which never ran.
                drivers.runtime.remove(&self.of.id).await.map_err(create_failure)?;
                drivers.runtime.create(&config).await.map_err(create_failure)?;
            }
            other => other.map_err(create_failure)?,
        }
        Ok(stop_signal)
    }

    async fn spec(&self, container: &Container, image: &Image) -> Result<Spec, Failure> {
        let drivers = &self.shared.drivers;
        let (uid, name) = (attempt::uid(self.pod), self.of.name.as_str());
        let users = drivers.runtime.image_users(image).await.map_err(create_failure)?;
        let files = self.parts.files(drivers, self.pod).await?;
        let sandbox = self.parts.namespaces(drivers, self.pod).await?;
        let log = drivers.volumes.termination_log(uid, name, self.of.number).await.map_err(|e| Failure::Mount(e.to_string()))?;
        let needs_ip = config::needs_pod_ip(container);
        let pod_ips = if needs_ip { self.parts.addresses(drivers, self.pod, pending()).await? } else { Vec::new() };
        let node = drivers.store.get(&Key::new(Kind::Node, "", drivers.settings.node_name.clone()));
        let node = node.as_deref().and_then(|o| o.as_node().cloned()).unwrap_or_default();
        let objects = configuration::objects(drivers, self.pod);
        let mut inputs = oci::Inputs {
            pod: self.pod,
            container,
            image: &image.config,
            users: &users,
            files: &files,
            sandbox: &sandbox,
            host: &drivers.host,
            cgroups_path: drivers.cgroups.container_path(self.pod, &self.of.id),
            termination_log: Some(log),
            pod_ips: &pod_ips,
            host_ips: &drivers.network.host_ips(),
            node: &node,
            config: &objects,
            sub_paths: BTreeMap::new(),
            seccomp_profile: self.seccomp_profile(container)?,
            is_init: self.role != Role::Main,
        };
        let wanted = oci::sub_paths(&inputs).map_err(|e| Failure::Config(e.to_string()))?;
        inputs.sub_paths = self.sub_paths(wanted, &files).await?;
        let mut spec = oci::build(&inputs).map_err(|error| match error {
            OciError::SeccompProfile(..) => Failure::Create(error.to_string()),
            error => Failure::Config(error.to_string()),
        })?;
        if oci::wants_host_devices(container) {
            let devices = drivers.devices.list().map_err(|e| Failure::Config(format!("failed to list the host's devices: {e}")))?;
            oci::grant_host_devices(&mut spec, devices);
        }
        devices::hand_out(drivers, self.pod, name, &mut spec)?;
        Ok(spec)
    }

    /// The Localhost seccomp profile, if the container asks for one (containerd's contrib/seccomp WithProfile).
    fn seccomp_profile(&self, container: &Container) -> Result<Option<String>, Failure> {
        let Some(name) = oci::localhost_profile(self.pod, container) else { return Ok(None) };
        let read = files::read_seccomp_profile(&self.shared.drivers.paths, name);
        read.map(Some).map_err(|(path, e)| Failure::Create(format!("cannot load seccomp profile {path:?}: {e}")))
    }

    /// Makes subPaths ready. The cause is for the log only: it may tell of the host (kubelet_pods.go makeMounts).
    async fn sub_paths(&self, wanted: Vec<SubPath>, files: &PodFiles) -> Result<BTreeMap<usize, PathBuf>, Failure> {
        let mut ready = BTreeMap::new();
        for one in wanted {
            let Some(volume) = files.volumes.get(&one.volume) else { continue };
            let path = self.shared.drivers.volumes.sub_path(attempt::uid(self.pod), volume, &one).await.map_err(|error| {
                tracing::warn!(volume = one.volume, index = one.index, %error, "a subPath cannot be mounted");
                Failure::Config(format!("failed to prepare subPath for volumeMount {:?} of container {:?}", one.volume, one.container))
            })?;
            ready.insert(one.index, path);
        }
        Ok(ready)
    }

    fn labels(&self, stop_signal: i32) -> BTreeMap<String, String> {
        let meta = &self.pod.metadata;
        let grace = self.pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(30);
        let labels = [
            (label::POD_NAME, meta.name.clone().unwrap_or_default()),
            (label::POD_NAMESPACE, meta.namespace.clone().unwrap_or_default()),
            (label::POD_UID, attempt::uid(self.pod).to_owned()),
            (label::CONTAINER_NAME, self.of.name.clone()),
            (label::ATTEMPT, self.of.number.to_string()),
            (label::GRACE, grace.to_string()),
            (label::STOP_SIGNAL, stop_signal.to_string()),
        ];
        labels.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }

    /// Marker, then start.
    async fn start(&self) -> Result<Timestamp, Failure> {
        let drivers = &self.shared.drivers;
        files::mark(&drivers.paths, attempt::uid(self.pod), &self.of.name, self.of.number)
            .map_err(|e| Failure::Create(format!("failed to note the start of container {}: {e}", self.of.name)))?;
        match drivers.runtime.start(&self.of.id).await {
            Ok(_) => Ok(drivers.clock.now()),
            Err(error @ RuntimeError::Unavailable { .. }) => Err(Failure::Unavailable(error.to_string())),
            Err(RuntimeError::Failed { cause, .. }) => Err(Failure::Start(cause)),
            Err(error) => Err(Failure::Start(error.to_string())),
        }
    }
}

/// Sorts a create's failure: the runtime away, the process not startable (runc's words; a missing binary fails here), or anything else.
fn create_failure(error: RuntimeError) -> Failure {
    match error {
        RuntimeError::Unavailable { .. } => Failure::Unavailable(error.to_string()),
        RuntimeError::Failed { cause, .. } if of_the_process(&cause) => Failure::Start(cause),
        other => Failure::Create(other.to_string()),
    }
}

/// Whether the OCI runtime itself refused: Kubernetes creates the task in its start step, so this is a RunContainerError there.
fn of_the_process(cause: &str) -> bool {
    ["OCI runtime", "runc create failed", "shim task"].iter().any(|words| cause.contains(words))
}
