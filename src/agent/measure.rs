//! What one pod uses, gathered from the drivers. Decides nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use super::Drivers;
use crate::controllers::pressure::{ContainerUsage, DiskUsage, PodUsage};
use crate::host::pressure;
use crate::host::usage::UsageReader;
use crate::logs;
use crate::pod::storage::Storage;
use crate::pod::{attempt, phase};
use crate::volumes;

/// The running containers of a pod: name and id.
fn running(pod: &Pod) -> Vec<(String, String)> {
    let id = |name: &str| {
        let status = attempt::status_of(pod, name).filter(|status| phase::running(status))?;
        status.container_id.as_deref().map(|id| attempt::bare_id(id).to_owned())
    };
    attempt::containers(pod).filter_map(|(_, c)| Some((c.name.clone(), id(&c.name)?))).collect()
}

/// The disk that the pod's containers and volumes take. Errors: a volume or a log that cannot be read; a layer that cannot be measured counts
/// nothing, since its container may have ended meanwhile.
async fn disk(drivers: &Drivers, pod: &Pod) -> Result<(BTreeMap<String, ContainerUsage>, DiskUsage), String> {
    let volumes = drivers.volumes.disk_usage(attempt::uid(pod)).await.map_err(|e| e.to_string())?;
    let mut containers = BTreeMap::new();
    for (name, id) in running(pod) {
        let layer = drivers.runtime.layer_usage(&id).await.unwrap_or_default();
        containers.insert(name, ContainerUsage { memory: 0, layer, logs: DiskUsage::default() });
    }
    let dir = logs::pod_log_directory(&drivers.paths.pod_logs, pod);
    for (_, container) in attempt::containers(pod) {
        let dir = dir.join(&container.name);
        let counted = tokio::task::spawn_blocking(move || volumes::disk_usage(&dir)).await.map_err(|e| e.to_string())?;
        let logs = counted.map_err(|e| format!("its logs cannot be measured: {e}"))?;
        containers.entry(container.name.clone()).or_default().logs = logs;
    }
    Ok((containers, volumes))
}

/// What counts against the pod's ephemeral-storage limits, and whether layers are on a disk apart from the node's.
pub async fn storage(drivers: &Drivers, pod: &Pod) -> Result<(Storage, bool), String> {
    let (containers, volumes) = disk(drivers, pod).await?;
    let containers = containers.into_iter().map(|(name, used)| (name, (used.logs.bytes, used.layer.bytes))).collect();
    Ok((Storage { containers, volumes: volumes.bytes }, layers_apart(drivers).await))
}

/// Whether images and layers are on a file system of their own; as long as nobody tells where they are, they are not.
pub async fn layers_apart(drivers: &Drivers) -> bool {
    let images = drivers.runtime.image_directory().await;
    images.is_some_and(|images| pressure::apart(&images, &drivers.paths.state))
}

/// All that a pod is ranked by. `with_disk`: only then are disks walked. `None`: it cannot be measured.
pub async fn pod(drivers: &Drivers, usage: &UsageReader, pod: &Pod, with_disk: bool) -> Option<PodUsage> {
    let (mut containers, volumes) = if with_disk { disk(drivers, pod).await.ok()? } else { Default::default() };
    let mut processes = 0;
    for (name, id) in running(pod) {
        let cgroup = drivers.cgroups.container_path(pod, &id);
        containers.entry(name).or_default().memory = usage.container(&cgroup)?.memory_bytes;
        processes += usage.processes(&cgroup);
    }
    Some(PodUsage { containers, volumes, processes })
}
