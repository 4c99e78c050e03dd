//! The agent: watches manifests, reconciles workloads, binds pods to this node and runs one worker a pod.
//!
//! Everything from outside (Store, runtime, network, volumes, cgroups, clock) comes in through [`Drivers`].

use std::sync::Arc;

use crate::clock::Clock;
use crate::controllers::pressure::Threshold;
use crate::host::devices::HostDevices;
use crate::host::{HostFacts, Paths, PodCgroups};
use crate::network::Network;
use crate::runtime::Runtime;
use crate::runtime::images::gc::GcPolicy;
use crate::store::Store;
use crate::volumes::Volumes;

pub mod clock_steps;
pub mod commit;
pub mod events;
pub mod housekeeping;
pub mod image_gc;
pub mod manifest_edit;
pub mod manifests;
pub mod measure;
pub mod node;
pub mod node_edits;
pub mod pressure;
pub mod prober;
pub mod queue;
pub mod reconcile;
pub mod recover;
pub mod template_edit;
pub mod wishes;
pub mod worker;

/// How often the reconcile loop turns at the least, so that the watchdog sees it live.
pub const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(15);

/// The world outside, as the agent reaches it.
#[derive(Clone)]
pub struct Drivers {
    /// Durable objects.
    pub store: Arc<dyn Store>,
    /// Containers and images.
    pub runtime: Arc<dyn Runtime>,
    /// Namespaces and addresses.
    pub network: Arc<dyn Network>,
    /// Volumes and pod files.
    pub volumes: Arc<dyn Volumes>,
    /// Pod-level cgroups.
    pub cgroups: Arc<dyn PodCgroups>,
    /// The host's device nodes and CDI's files.
    pub devices: Arc<dyn HostDevices>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What the host is and allows.
    pub host: Arc<HostFacts>,
    /// Where everything is.
    pub paths: Arc<Paths>,
    /// What the user set.
    pub settings: Arc<Settings>,
}

/// What the user may set, with Kubernetes' defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// This node's name.
    pub node_name: String,
    /// Cap of a container's restart back-off (`maxContainerRestartPeriod`, 1–300 s).
    pub max_restart_backoff: std::time::Duration,
    /// Bytes after which a container's log is rotated.
    pub log_max_bytes: u64,
    /// Log files kept per container.
    pub log_max_files: u32,
    /// Labels given by flags.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Taints given by flags.
    pub taints: Vec<k8s_openapi::api::core::v1::Taint>,
    /// How many pods may run here (kubelet's maxPods).
    pub max_pods: u32,
    /// How many processes a pod may have (kubelet's podPidsLimit); `None`: as many as the host has.
    pub pod_max_pids: Option<u64>,
    /// When unused images go.
    pub image_gc: GcPolicy,
    /// So little left of something that pods are evicted (kubelet's evictionHard).
    pub eviction_hard: Vec<Threshold>,
    /// How long a pressure condition stays after it was last observed (kubelet's evictionPressureTransitionPeriod).
    pub pressure_transition: std::time::Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            node_name: String::new(),
            max_restart_backoff: std::time::Duration::from_secs(300),
            log_max_bytes: 10 * 1024 * 1024,
            log_max_files: 5,
            labels: std::collections::BTreeMap::new(),
            taints: Vec::new(),
            max_pods: 110,
            pod_max_pids: None,
            image_gc: GcPolicy::default(),
            eviction_hard: crate::controllers::pressure::defaults(),
            pressure_transition: std::time::Duration::from_secs(300),
        }
    }
}
