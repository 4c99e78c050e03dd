//! What all containers of a Pod share: namespaces, addresses, files, the pod cgroup. Made once, when the first container needs them.
//!
//! Every cell may be asked for by several futures at once and again after a failure; whoever comes first makes it. Dropping a future that
//! is making one is safe: the drivers' calls are repeatable, and the next to ask repeats them.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Mutex, OnceCell, OwnedRwLockReadGuard, RwLock};

use super::configuration::{self, RefreshError};
use super::start::Failure;
use crate::agent::Drivers;
use crate::api::user_namespace;
use crate::network::{Bandwidth, NetworkError, PortMapping, Sandbox, SandboxSpec};
use crate::pod::attempt;
use crate::runtime::{Image, ImageVolume, RuntimeError};
use crate::volumes::PodFiles;

/// A Pod's shared parts, as far as they are made.
#[derive(Default)]
pub(super) struct Parts {
    namespaces: OnceCell<Sandbox>,
    addresses: OnceCell<Vec<IpAddr>>,
    files: OnceCell<PodFiles>,
    cgroup: OnceCell<()>,
    /// Held from reading the configuration to having written it, so that no old files come after new ones.
    configuring: Mutex<()>,
    /// Held by a call for the cgroup, which goes on to its end even if nobody waits for it any more.
    cgroup_call: Arc<Mutex<()>>,
    /// Held while an image is being mounted as a volume, which goes on to its end likewise.
    image_call: Arc<Mutex<()>>,
    /// Held for reading by every start, given up or not, until it makes nothing any more.
    starts: Arc<RwLock<()>>,
}

impl Parts {
    /// The pinned namespaces (about 1 ms).
    pub(super) async fn namespaces(&self, drivers: &Drivers, pod: &Pod) -> Result<Sandbox, Failure> {
        let make = async || {
            attempt::kernel_hostname(pod).map_err(Failure::Sandbox)?;
            Bandwidth::of(pod.metadata.annotations.as_ref()).map_err(Failure::Sandbox)?;
            if user_namespace::wanted(pod) && user_namespace::assigned(pod).is_none() {
                return Err(Failure::Sandbox("create user namespace: the pod was bound without ids of its own".to_owned()));
            }
            drivers.network.create(&sandbox_spec(pod)).await.map_err(|e| Failure::Sandbox(e.to_string()))
        };
        if sandbox_spec(pod).share_processes {
            // What keeps the shared PID namespace may have been killed with all its containers: found again, or made anew.
            return make().await;
        }
        self.namespaces.get_or_try_init(make).await.cloned()
    }

    /// Volumes and the agent's own files; `/etc/hosts` is complete once [`Self::addresses`] has answered.
    pub(super) async fn files(&self, drivers: &Drivers, pod: &Pod) -> Result<PodFiles, Failure> {
        let hostname = hostname(drivers, pod);
        let make = async || {
            let _alone = self.configuring.lock().await;
            let payloads = configuration::payloads(drivers, pod).map_err(Failure::Mount)?;
            drivers.volumes.setup(pod, &hostname, &payloads).await.map_err(|e| Failure::Mount(e.to_string()))
        };
        self.files.get_or_try_init(make).await.cloned()
    }

    /// Whether the volumes are set up by this agent.
    pub(super) fn have_files(&self) -> bool {
        self.files.initialized()
    }

    /// Brings the configuration volumes to what the Store has now.
    pub(super) async fn refresh(&self, drivers: &Drivers, pod: &Pod) -> Result<(), RefreshError> {
        let _alone = self.configuring.lock().await;
        let payloads = configuration::payloads(drivers, pod).map_err(RefreshError::Missing)?;
        drivers.volumes.refresh(pod, &payloads).await.map_err(|e| RefreshError::Files(e.to_string()))
    }

    /// The Pod's addresses, written to `/etc/hosts` (CNI ADD: tens of milliseconds). Once `given_up` ends, files that are not there are not waited
    /// for: a server that is to be mounted may take minutes. CNI ADD is, always: an address that comes late would stay.
    pub(super) async fn addresses(&self, drivers: &Drivers, pod: &Pod, given_up: impl Future<Output = ()>) -> Result<Vec<IpAddr>, Failure> {
        let make = async || {
            self.namespaces(drivers, pod).await?;
            let attached = async { drivers.network.attach(&sandbox_spec(pod)).await.map_err(no_address) };
            // Cancel-safe: the driver's call may be given up. Files that are there go first.
            let files = async {
                tokio::select! {
                    biased;
                    files = self.files(drivers, pod) => files,
                    () = given_up => Err(Failure::Cancelled),
                }
            };
            let (ips, files) = tokio::join!(attached, files);
            let (ips, _) = (ips?, files?);
            let written = drivers.volumes.write_hosts(pod, &hostname(drivers, pod), &ips).await;
            written.map_err(|e| Failure::Mount(e.to_string()))?;
            Ok(ips)
        };
        self.addresses.get_or_try_init(make).await.cloned()
    }

    /// The pod-level cgroup. In a task of its own, which nobody gives up: systemd takes its time over a slice.
    pub(super) async fn cgroup(&self, drivers: &Drivers, pod: &Arc<Pod>) -> Result<(), Failure> {
        let make = async || {
            let (cgroups, pod) = (drivers.cgroups.clone(), pod.clone());
            let under_way = self.cgroup_call.clone().lock_owned().await;
            let create = async move {
                let _under_way = under_way;
                cgroups.make(pod).await
            };
            let made = tokio::spawn(create).await.unwrap_or_else(|e| Err(e.into()));
            made.map_err(|e| Failure::Sandbox(format!("failed to create the pod's cgroup: {e}")))
        };
        self.cgroup.get_or_try_init(make).await.copied()
    }

    /// An image mounted as the volume of this name. In a task of its own, which nobody gives up: a mount that comes late would stay.
    pub(super) async fn image_volume(&self, drivers: &Drivers, pod: &Pod, volume: &str, image: &Image) -> Result<(), RuntimeError> {
        let files = self.files.get().and_then(|files| files.volumes.get(volume)).cloned();
        let Some(at) = files else { return Ok(()) };
        let under_way = self.image_call.clone().lock_owned().await;
        let (runtime, uid, volume, image) = (drivers.runtime.clone(), attempt::uid(pod).to_owned(), volume.to_owned(), image.clone());
        let name = image.name.clone();
        let mount = async move {
            let _under_way = under_way;
            runtime.mount_image(&image, &ImageVolume { pod_uid: &uid, volume: &volume, at: &at }).await
        };
        let failed = |cause: String| RuntimeError::Images { action: "mount the image", subject: name, cause };
        tokio::spawn(mount).await.unwrap_or_else(|e| Err(failed(e.to_string())))
    }

    /// The right of one start to make parts; `None` while what there is is being released.
    pub(super) fn for_a_start(&self) -> Option<OwnedRwLockReadGuard<()>> {
        self.starts.clone().try_read_owned().ok()
    }

    /// Waits for what cannot be given up half-way, and for starts that were given up. Before a release: what is made after it would stay.
    pub(super) async fn settled(&self) {
        drop(self.cgroup_call.lock().await);
        drop(self.starts.write().await);
        drop(self.image_call.lock().await);
    }
}

/// The name inside the Pod: the host's own with the host's network.
pub(super) fn hostname(drivers: &Drivers, pod: &Pod) -> String {
    if host_network(pod) { drivers.host.hostname.clone() } else { attempt::hostname(pod) }
}

fn host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|s| s.host_network == Some(true))
}

fn no_address(error: NetworkError) -> Failure {
    match error {
        NetworkError::NotReady(_) => Failure::NetworkNotReady(error.to_string()),
        error => Failure::Sandbox(error.to_string()),
    }
}

/// What the Pod asks of the network driver.
pub(super) fn sandbox_spec(pod: &Pod) -> SandboxSpec {
    let meta = &pod.metadata;
    let host_network = host_network(pod);
    SandboxSpec {
        uid: attempt::uid(pod).to_owned(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        hostname: attempt::kernel_hostname(pod).unwrap_or_else(|_| attempt::hostname(pod)),
        host_network,
        host_ipc: pod.spec.as_ref().is_some_and(|s| s.host_ipc == Some(true)),
        share_processes: pod.spec.as_ref().is_some_and(|s| s.share_process_namespace == Some(true) && s.host_pid != Some(true)),
        ids: user_namespace::assigned(pod),
        ports: if host_network { Vec::new() } else { host_ports(pod) },
        // What cannot be read is told before anything is asked of a plugin.
        bandwidth: Bandwidth::of(meta.annotations.as_ref()).unwrap_or_default(),
    }
}

/// Ports with a hostPort. What does not fit into 16 bits was refused by validation and is left out.
fn host_ports(pod: &Pod) -> Vec<PortMapping> {
    let ports = attempt::containers(pod).flat_map(|(_, c)| c.ports.iter().flatten());
    let mapping = |port: &k8s_openapi::api::core::v1::ContainerPort| {
        Some(PortMapping {
            protocol: port.protocol.as_deref().unwrap_or("TCP").to_lowercase(),
            container_port: u16::try_from(port.container_port).ok()?,
            host_port: u16::try_from(port.host_port?).ok().filter(|p| *p > 0)?,
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
    };
    ports.filter_map(mapping).collect()
}
