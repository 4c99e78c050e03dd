//! Collects images that nobody uses when their disk fills, as the kubelet does (pkg/kubelet/images/image_gc_manager.go, every 5 minutes).
//! What goes is decided in `runtime::images::gc`; this loop only looks and removes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Mutex, watch};

use super::manifests::ManifestSet;
use super::{Drivers, HEARTBEAT, events};
use crate::api::{Key, Kind};
use crate::controllers::EventDraft;
use crate::pod::phase;
use crate::runtime::RuntimeError;
use crate::runtime::images::ImageReference;
use crate::runtime::images::gc::{DiskSpace, GcRecords, InUse, wanted};

/// ImageGCPeriod (pkg/kubelet/kubelet.go).
const PERIOD: Duration = Duration::from_secs(5 * 60);

/// What is known of images and their use. One a node.
pub struct ImageGc {
    drivers: Drivers,
    /// Held while collecting: two at once would free twice as much as is wanted.
    records: Mutex<GcRecords>,
}

impl ImageGc {
    /// Nothing is known yet.
    pub fn new(drivers: Drivers) -> Arc<ImageGc> {
        Arc::new(ImageGc { drivers, records: Mutex::default() })
    }

    /// Collects until dropped. A failure is told once as long as it stays the same. Begins once the manifests are read and there was time to
    /// make their pods: until then, what they need would look unused.
    pub async fn run(self: Arc<Self>, mut sets: watch::Receiver<Option<Arc<ManifestSet>>>) {
        // Without a directory, or without an end of reading it, the pods that are known must do.
        let _ = tokio::time::timeout(PERIOD, sets.wait_for(Option::is_some)).await.map(drop);
        tokio::time::sleep(HEARTBEAT).await;
        let mut told = String::new();
        loop {
            match self.collect().await {
                Ok(()) => told.clear(),
                Err(RuntimeError::Unavailable { .. }) => {}
                Err(error) => {
                    let words = error.to_string();
                    if words != told {
                        tracing::warn!("image garbage collection failed: {words}");
                        self.tell("ImageGCFailed", words.clone()).await;
                    }
                    told = words;
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// One look at the disk; if it is too full, images go.
    ///
    /// # Errors
    /// The runtime's.
    pub async fn collect(&self) -> Result<(), RuntimeError> {
        let policy = self.drivers.settings.image_gc;
        let mut records = self.records.lock().await;
        self.detect(&mut records).await?;
        let disk = self.drivers.runtime.image_disk().await?;
        let DiskSpace { capacity, .. } = disk;
        let Some(bytes) = wanted(disk, &policy) else {
            self.tell("InvalidDiskCapacity", format!("invalid capacity {capacity} on image filesystem")).await;
            return Ok(());
        };
        if bytes == 0 {
            return Ok(());
        }
        tracing::info!(bytes, capacity, available = disk.available, "the images' disk is too full; unused images go");
        let freed = self.remove(&mut records, bytes).await?;
        if freed < bytes {
            let words = format!(
                "Failed to garbage collect required amount of images. Attempted to free {bytes} bytes, but only found {freed} bytes eligible to free."
            );
            tracing::warn!("{words}");
            self.tell("FreeDiskSpaceFailed", words).await;
        }
        Ok(())
    }

    /// Frees `bytes` of unused images whatever the thresholds say, for somebody who is short of disk; `u64::MAX`: all. Returns what was freed.
    ///
    /// # Errors
    /// The runtime's.
    pub async fn free(&self, bytes: u64) -> Result<u64, RuntimeError> {
        let mut records = self.records.lock().await;
        self.detect(&mut records).await?;
        self.remove(&mut records, bytes).await
    }

    async fn detect(&self, records: &mut GcRecords) -> Result<(), RuntimeError> {
        let images = self.drivers.runtime.images().await?;
        let pods = self.drivers.store.list(Kind::Pod);
        records.detect(&images, &in_use(pods.iter().filter_map(|o| o.as_pod())), self.drivers.clock.now());
        Ok(())
    }

    /// Removes in the order decided. One that cannot be removed is passed over.
    async fn remove(&self, records: &mut GcRecords, bytes: u64) -> Result<u64, RuntimeError> {
        let mut freed = 0u64;
        for (id, size) in records.candidates(self.drivers.clock.now(), self.drivers.settings.image_gc.minimum_age) {
            if freed >= bytes {
                break;
            }
            match self.drivers.runtime.remove_image(&id).await {
                Ok(()) => {
                    tracing::info!(image = id, size, "removed an unused image");
                    freed = freed.saturating_add(size);
                }
                Err(error @ RuntimeError::Unavailable { .. }) => return Err(error),
                Err(error) => tracing::info!(image = id, %error, "an unused image stays"),
            }
        }
        Ok(freed)
    }

    async fn tell(&self, reason: &str, message: String) {
        let Drivers { store, settings, clock, .. } = &self.drivers;
        let about = Key::new(Kind::Node, "", settings.node_name.clone());
        let uid = store.get(&about).map(|node| node.uid().to_owned()).unwrap_or_default();
        let draft = EventDraft::new("kubelet", about, uid, true, reason, message);
        let ops = events::record(&**store, [&draft], clock.now());
        if let Err(error) = store.commit(ops).await {
            tracing::debug!(%error, "an event of image garbage collection is lost");
        }
    }
}

/// What pods that are not over name, and what their containers were made from. Pure.
fn in_use<'a>(pods: impl Iterator<Item = &'a Pod>) -> InUse {
    let mut names = BTreeSet::new();
    for pod in pods.filter(|pod| !phase::is_terminal(phase::of(pod))) {
        let spec = pod.spec.iter();
        let written = spec.clone().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers)).filter_map(|c| c.image.as_deref());
        let mounted = spec.flat_map(|s| s.volumes.iter().flatten()).filter_map(|v| v.image.as_ref()?.reference.as_deref());
        for reference in written.chain(mounted).filter_map(|text| ImageReference::parse(text).ok()) {
            names.extend(reference.digest().map(str::to_owned));
            names.insert(reference.to_string());
        }
        let status = pod.status.iter();
        let made = status.flat_map(|s| s.init_container_statuses.iter().flatten().chain(s.container_statuses.iter().flatten()));
        names.extend(made.filter_map(|c| c.image_id.split_once('@')).map(|(_, digest)| digest.to_owned()));
    }
    InUse(names)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodSpec, PodStatus};

    use super::*;

    fn pod(image: &str, image_id: &str, phase: &str) -> Pod {
        let container = Container { name: "c".into(), image: Some(image.into()), ..Container::default() };
        let status = ContainerStatus { image_id: image_id.into(), ..ContainerStatus::default() };
        let status = PodStatus { phase: Some(phase.into()), container_statuses: Some(vec![status]), ..PodStatus::default() };
        Pod { spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }), status: Some(status), ..Pod::default() }
    }

    #[test]
    fn images_that_are_volumes_are_in_use() {
        let mut pod = pod("busybox:1", "", "Running");
        let volume = serde_json::json!([{"name": "v", "image": {"reference": "r.io/files:2"}}, {"name": "e", "emptyDir": {}}]);
        pod.spec.as_mut().unwrap().volumes = serde_json::from_value(volume).unwrap();
        let expected = ["docker.io/library/busybox:1".to_owned(), "r.io/files:2".to_owned()];
        assert_eq!(in_use([&pod].into_iter()).0, expected.into_iter().collect());
    }

    #[test]
    fn pods_that_are_not_over_use_what_they_name_and_what_they_run() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let pods = [
            pod("busybox", "docker.io/library/busybox@sha256:1", "Running"),
            pod(&format!("r.io/x@{digest}"), "", "Pending"),
            pod("Not A Name", "", "Pending"),
            pod("over:1", "docker.io/library/over@sha256:2", "Succeeded"),
        ];
        let used = in_use(pods.iter()).0;
        let expected = ["docker.io/library/busybox:latest".to_owned(), "sha256:1".to_owned(), format!("r.io/x@{digest}"), digest];
        assert_eq!(used, expected.into_iter().collect());
    }
}
