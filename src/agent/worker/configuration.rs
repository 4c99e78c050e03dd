//! What a worker does about ConfigMaps, Secrets and claims: waits for missing ones, and brings volumes up to date when they change.
//!
//! A change rings the worker's [`Bell`]. A start that failed for want of configuration is tried again at once; one that read the Store before the
//! bell and fails after it is, too. Volumes that are set up are written anew, one writer at a time ([`Parts::configure`]).
//! Disk emptyDirs with a sizeLimit, and pods with an ephemeral-storage limit, are measured here as well: only they, every [`MEASURED_EVERY`].

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Notify;
use tracing::warn;

use super::done::{Done, PANICKED};
use super::pause::Pause;
use super::task::Worker;
use crate::agent::{Drivers, measure};
use crate::api::{Key, Kind};
use crate::config::{self, Downward, Objects};
use crate::pod::{Eviction, events, phase, storage};
use crate::volumes::{self, Payloads};

/// How often emptyDirs with a sizeLimit are measured (the kubelet's eviction manager: every 10 s).
const MEASURED_EVERY: Duration = Duration::from_secs(10);

/// Wakes a worker, and counts how often its configuration has changed.
#[derive(Debug, Default)]
pub(super) struct Bell {
    notify: Notify,
    changes: AtomicU64,
    /// Why the pod has to go from this node, until it is heard.
    eviction: Mutex<Option<String>>,
}

impl Bell {
    /// Something changed.
    pub(super) fn ring(&self) {
        self.notify.notify_one();
    }

    /// What the pod's configuration comes from changed.
    pub(super) fn ring_for_configuration(&self) {
        self.changes.fetch_add(1, Ordering::Release);
        self.ring();
    }

    /// The node is short of something, and the pod has to go.
    pub(super) fn ring_for_eviction(&self, message: String) {
        *self.eviction.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        self.ring();
    }

    fn take_eviction(&self) -> Option<String> {
        self.eviction.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How often the configuration has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Waits for the next ring, or one not heard yet. Cancel-safe.
    pub(super) async fn heard(&self) {
        self.notify.notified().await;
    }
}

/// A worker's view of its pod's configuration.
#[derive(Default)]
pub(super) struct Configuration {
    /// The changes heard of.
    heard: u64,
    /// The changes that had happened when the last start began.
    pub(super) at_start: u64,
    /// Containers whose last try failed for want of configuration.
    pub(super) wanting: BTreeSet<String>,
    /// Whether volumes may hold something old.
    pub(super) stale: bool,
    /// A refresh is under way: nothing of the pod may be taken away meanwhile.
    pub(super) refreshing: bool,
    pub(super) pause: Pause,
    /// A measuring is under way.
    measuring: bool,
    /// When emptyDirs are measured next.
    pub(super) measure_at: Option<Timestamp>,
}

/// The objects the pod names, as they are now.
pub(super) fn objects(drivers: &Drivers, pod: &Pod) -> Objects {
    Objects::gather(pod, |key| drivers.store.get(key))
}

/// The files of the pod's configuration volumes, as they are to be now. Errors: the kubelet's words for what is missing.
pub(super) fn payloads(drivers: &Drivers, pod: &Pod) -> Result<Arc<Payloads>, String> {
    let node = drivers.store.get(&Key::new(Kind::Node, "", drivers.settings.node_name.clone()));
    let node = node.as_deref().and_then(|o| o.as_node().cloned()).unwrap_or_default();
    let facts = Downward { pod, node: &node, pod_ips: &[], host_ips: &[] };
    config::payloads(&facts, &objects(drivers, pod), drivers.clock.now()).map(Arc::new).map_err(|e| e.to_string())
}

impl Worker {
    /// Takes up that the node is short of something; the first reason to go stays.
    pub(super) fn heed_eviction(&mut self, now: Timestamp) {
        if let Some(message) = self.bell.take_eviction() {
            self.seen.evicted.get_or_insert(Eviction { since: now, message, disruption: true });
        }
    }

    /// Takes up that the configuration has changed since the last look.
    pub(super) fn heed_configuration(&mut self) {
        let changes = self.bell.changes();
        if changes == self.configuration.heard {
            return;
        }
        self.configuration.heard = changes;
        for name in std::mem::take(&mut self.configuration.wanting) {
            self.seen.retry.remove(&name);
            self.failures.remove(&name);
        }
        self.configuration.stale = config::has_files(&self.pod);
        self.configuration.pause.reset();
    }

    /// A container could not be made for want of configuration. What has come meanwhile is tried at once.
    pub(super) fn wants_configuration(&mut self, name: &str) {
        if self.configuration.at_start == self.bell.changes() {
            self.configuration.wanting.insert(name.to_owned());
        } else {
            self.seen.retry.remove(name);
            self.failures.remove(name);
        }
    }

    /// What tells of the pod in its own volumes changed: labels, annotations.
    pub(super) fn heed_metadata(&mut self, base: &Pod) {
        let same =
            base.metadata.labels == self.pod.metadata.labels && config::shown_annotations(base).eq(config::shown_annotations(&self.pod));
        self.configuration.stale |= !same && config::has_files(base);
    }

    /// Begins to bring the volumes up to date, and to measure emptyDirs, where that is due.
    pub(super) fn tend_volumes(&mut self, now: Timestamp) {
        let there = (self.seen.sandbox || self.parts.have_files()) && !self.seen.released && !phase::is_terminal(phase::of(&self.pod));
        if !there || self.releasing {
            return;
        }
        if self.configuration.stale && !self.configuration.refreshing && self.configuration.pause.over(now) {
            (self.configuration.stale, self.configuration.refreshing) = (false, true);
            let (drivers, parts, pod) = (self.shared.drivers.clone(), self.parts.clone(), self.pod.clone());
            let job = async move { Done::Refreshed(parts.refresh(&drivers, &pod).await) };
            self.jobs.spawn(Done::of(job, Done::Refreshed(Err(RefreshError::Files(PANICKED.to_owned())))));
        }
        if self.configuration.measure_at.is_none() && (!volumes::limits(&self.pod).is_empty() || storage::is_limited(&self.pod)) {
            self.configuration.measure_at = Some(now);
        }
        if !self.configuration.measuring && self.configuration.measure_at.is_some_and(|at| at <= now) && self.seen.evicted.is_none() {
            self.configuration.measuring = true;
            self.configuration.measure_at = now.checked_add(MEASURED_EVERY).ok();
            let (drivers, pod) = (self.shared.drivers.clone(), self.pod.clone());
            let job = async move { Done::Measured(over_limit(&drivers, &pod).await) };
            self.jobs.spawn(Done::of(job, Done::Measured(Err(PANICKED.to_owned()))));
        }
    }

    /// A refresh came to its end. Missing objects ring the bell when they come; anything else is tried again.
    pub(super) fn refreshed(&mut self, result: Result<(), RefreshError>, now: Timestamp) {
        self.configuration.refreshing = false;
        match result {
            Ok(()) => self.configuration.pause.reset(),
            Err(RefreshError::Missing(message)) => self.events.push(events::draft(&self.pod, true, "FailedMount", message)),
            Err(RefreshError::Files(message)) => {
                self.events.push(events::draft(&self.pod, true, "FailedMount", message));
                self.configuration.stale = true;
                self.configuration.pause.fail(now);
            }
        }
    }

    /// What takes too much of the disk ends the pod.
    pub(super) fn measured(&mut self, result: Result<Option<String>, String>, now: Timestamp) {
        self.configuration.measuring = false;
        match result {
            Ok(None) => {}
            Ok(Some(message)) => {
                self.seen.evicted.get_or_insert(Eviction { since: now, message, disruption: false });
            }
            Err(error) => warn!(error, "what the pod takes of the disk cannot be measured"),
        }
    }
}

/// The kubelet's message if an emptyDir holds more than its sizeLimit, or the pod or a container takes more ephemeral storage than it may
/// (pkg/kubelet/eviction/eviction_manager.go, localStorageEviction).
async fn over_limit(drivers: &Drivers, pod: &Pod) -> Result<Option<String>, String> {
    if let Some(volume) = drivers.volumes.over_limit(pod).await.map_err(|e| e.to_string())? {
        let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
        let found = volumes.filter(|v| v.name == volume).find_map(|v| v.empty_dir.as_ref()?.size_limit.clone());
        let limit = found.map(|q| q.0).unwrap_or_default();
        return Ok(Some(format!("Usage of EmptyDir volume {volume:?} exceeds the limit {limit:?}. ")));
    }
    if !storage::is_limited(pod) {
        return Ok(None);
    }
    let (used, apart) = measure::storage(drivers, pod).await?;
    Ok(storage::exceeded(pod, &used, apart))
}

/// Why volumes could not be brought up to date.
pub(super) enum RefreshError {
    /// Something is not in the Store.
    Missing(String),
    /// The files cannot be written.
    Files(String),
}
