//! What this host is and allows: capacity, cgroups, capabilities, CNI plugins; learnt once at start and said once.
//!
//! [`probe`] reads it, [`describe`] says what pods go without, [`pod_cgroups`] gives the driver of pod-level cgroups that fits.
//! Parsing is pure (`parse`, `resources`, the names in `slices`); reading and writing are thin around it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;

pub mod alone;
mod capabilities;
mod cgroupfs;
mod describe;
pub mod devices;
pub mod doctor;
mod going_down;
mod hierarchies;
mod hugetlb;
pub(crate) mod mounts;
mod parse;
pub mod pressure;
mod probe;
pub(crate) mod process_group;
pub mod resources;
mod slice_drop_ins;
mod slices;
mod systemd;
#[cfg(test)]
mod testing;
pub mod usage;
pub mod user_namespaces;

pub use cgroupfs::CgroupfsPods;
pub use describe::describe;
pub use going_down::going_down;
pub use hierarchies::{Hierarchies, Hierarchy};
pub use probe::{landmarks, probe};
pub use systemd::SystemdPods;

/// The driver of pod-level cgroups for this host. `root` is "" for `/kubepods` (or `kubepods.slice`), else the name of a cgroup
/// above it, so that agents run side by side. `pids`: the most processes of a pod. Errors: the cgroup mounts cannot be read, or there are none.
pub fn pod_cgroups(facts: &HostFacts, root: &str, pids: Option<u64>) -> std::io::Result<Arc<dyn PodCgroups>> {
    let hierarchies = Hierarchies::read()?;
    let every_pod = EveryPod { pids, page_sizes: facts.hugepages.keys().copied().collect() };
    Ok(match facts.cgroup_driver {
        CgroupDriver::Cgroupfs => Arc::new(CgroupfsPods::new(hierarchies, root, facts.cpu_millis)?.holding(every_pod)),
        CgroupDriver::Systemd => Arc::new(SystemdPods::new(hierarchies, root, facts.cpu_millis)?.holding(every_pod)),
    })
}

/// What holds for each pod, whatever it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EveryPod {
    /// The most processes it may have (kubelet's podPidsLimit); `None`: no limit.
    pub pids: Option<u64>,
    /// The host's sizes of huge pages in bytes: a pod gets none of a size that it does not ask for.
    pub page_sizes: Vec<u64>,
}

/// Removes the QoS tree itself once no pod is left in it; absent is no error. For tests and `make run`.
pub fn remove_cgroup_root(facts: &HostFacts, root: &str) -> std::io::Result<()> {
    let hierarchies = Hierarchies::read()?;
    match facts.cgroup_driver {
        CgroupDriver::Cgroupfs => CgroupfsPods::new(hierarchies, root, facts.cpu_millis)?.remove_root(),
        CgroupDriver::Systemd => SystemdPods::new(hierarchies, root, facts.cpu_millis)?.remove_root(),
    }
}

/// Which cgroup interface rules the controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// One hierarchy a controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// Who makes cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupDriver {
    /// runc writes into the file system: paths `/kubepods/burstable/pod<uid>/<id>`.
    Cgroupfs,
    /// runc asks systemd: `kubepods-burstable-pod<uid>.slice:cri-containerd:<id>`.
    Systemd,
}

/// What this host allows. Made by `probe`, passed to the pure rooms as a value.
#[derive(Clone, Debug, PartialEq)]
pub struct HostFacts {
    /// Host name, as the default node name (lower case).
    pub hostname: String,
    /// Go's architecture name (`amd64`).
    pub arch: String,
    /// Kernel release.
    pub kernel: String,
    /// The OS' pretty name.
    pub os_image: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// This boot's id: a new one means every container is gone.
    pub boot_id: String,
    /// CPU capacity in millicores.
    pub cpu_millis: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Bytes of the file system that holds the state directory.
    pub ephemeral_storage_bytes: u64,
    /// Bytes of a huge page → how many of that size the host has set aside.
    pub hugepages: BTreeMap<u64, u64>,
    /// Which cgroup interface.
    pub cgroup_version: CgroupVersion,
    /// Which driver.
    pub cgroup_driver: CgroupDriver,
    /// Controllers that can be used (`memory`, `cpu`, `pids`, `hugetlb`, …).
    pub controllers: Vec<String>,
    /// The least oom_score_adj a child may be given; -1000 with CAP_SYS_RESOURCE, else the agent's own.
    pub min_oom_score_adj: i32,
    /// Whether rlimits may be raised.
    pub sys_resource: bool,
    /// Capabilities in the bounding set, with `CAP_` (what `privileged` can give).
    pub capabilities: Vec<String>,
    /// Whether AppArmor is on.
    pub apparmor: bool,
    /// Whether SELinux is on.
    pub selinux: bool,
    /// Whether runc was built with, and the kernel has, seccomp.
    pub seccomp: bool,
    /// Whether pods can have user namespaces of their own, or why not. `probe` knows the kernel's part, the daemon adds the OCI runtime's.
    pub user_namespaces: Result<(), String>,
}

/// The pod-level cgroups: a QoS tree as the kubelet's. The driver of `HostFacts::cgroup_driver` decides the names.
/// `create` and `remove` block (systemd is asked and waited for): not for an async thread.
#[async_trait]
pub trait PodCgroups: Send + Sync + 'static {
    /// Makes (or finds again) the pod's cgroup with its limits.
    fn create(&self, pod: &Pod) -> std::io::Result<()>;
    /// Removes the pod's empty cgroup; busy is an error to retry, absent is none.
    fn remove(&self, uid: &str) -> std::io::Result<()>;
    /// [`Self::create`] off the runtime's threads. It goes on to its end even if nobody waits for it any more.
    async fn make(self: Arc<Self>, pod: Arc<Pod>) -> std::io::Result<()> {
        tokio::task::spawn_blocking(move || self.create(&pod)).await.unwrap_or_else(|e| Err(e.into()))
    }
    /// [`Self::remove`] off the runtime's threads.
    async fn give_back(self: Arc<Self>, uid: String) -> std::io::Result<()> {
        tokio::task::spawn_blocking(move || self.remove(&uid)).await.unwrap_or_else(|e| Err(e.into()))
    }
    /// The uids of all pods that have a cgroup.
    fn list(&self) -> std::io::Result<Vec<String>>;
    /// Takes over a pod that an earlier agent started and that runs: it counts again in its class' weight, and what the kernel killed
    /// in it before is not laid to its containers. Quick: reads files only.
    fn adopt(&self, _pod: &Pod) {}
    /// How often the kernel killed a process of this container for memory (memory.events / memory.oom_control `oom_kill`).
    /// `cgroups_path` is the OCI spec's linux.cgroupsPath. To be asked once, at the container's end: systemd removes a scope with its last
    /// process, and then what is new in the pod's own count is the answer. `None` where that cannot be told any more: v1 counts for a pod
    /// nothing that was killed in its containers.
    fn oom_kills(&self, cgroups_path: &str) -> Option<u64>;
    /// The value for linux.cgroupsPath of a container.
    fn container_path(&self, pod: &Pod, container_id: &str) -> String;
}

/// Where everything is. Relocatable by flags, so that tests run side by side with a real install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Manifests (`/etc/minik8s`).
    pub manifests: PathBuf,
    /// Durable state (`/var/lib/minik8s`): `state.redb`, pods' emptyDirs, PVCs.
    pub state: PathBuf,
    /// What does not survive a reboot (`/run/minik8s`): socket, namespace pins, pod files, runc's state.
    pub run: PathBuf,
    /// `/var/log/pods`.
    pub pod_logs: PathBuf,
    /// `/var/log/containers`.
    pub container_logs: PathBuf,
    /// The agent's socket.
    pub socket: PathBuf,
}

impl Paths {
    /// All of it in one directory, as an agent beside a real install has it.
    pub fn below(dir: &std::path::Path) -> Paths {
        let at = |name: &str| dir.join(name);
        Paths {
            manifests: at("manifests"),
            state: at("state"),
            run: at("run"),
            pod_logs: at("pods"),
            container_logs: at("containers"),
            socket: at("run/minik8s.sock"),
        }
    }
}
