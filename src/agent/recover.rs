//! At start: what is found in the runtime, the network, the volumes and the cgroups is kept, removed or stopped, by what the Store says.
//!
//! | found | Store | done |
//! |---|---|---|
//! | container | its Pod has this attempt open | kept: the Pod's worker examines it |
//! | container | its Pod is there, the attempt is recorded as ended | removed |
//! | container | no such Pod | an orphan: stopped with the grace of its labels, removed, and what its Pod held released |
//! | container | no Pod's label | left alone, said once |
//! | namespaces, volumes, cgroup | no such Pod | released; its logs go with it |
//!
//! What belongs to a terminal Pod is released by that Pod's worker. A reboot is accounted for by the workers too (`pod::recover`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::future::join_all;
use tracing::{info, warn};

use super::Drivers;
use super::worker::files::remove_logs_of;
use super::worker::release_pod;
use crate::api::well_known::container_labels as label;
use crate::api::{Kind, Object};
use crate::pod::status::open_attempts;
use crate::runtime::{ContainerState, RuntimeError, TaskState};

const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// Between tries of what must not be left behind.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Why the remains of the last agent could not be listed. Nothing was touched; try again.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The runtime does not list its containers.
    #[error("the containers cannot be listed")]
    Runtime(#[source] RuntimeError),
    /// The namespaces cannot be listed.
    #[error("the pods' namespaces cannot be listed")]
    Network(#[source] crate::network::NetworkError),
    /// The volumes cannot be listed.
    #[error("the pods' volumes cannot be listed")]
    Volumes(#[source] crate::volumes::VolumeError),
    /// The cgroups cannot be listed.
    #[error("the pods' cgroups cannot be listed")]
    Cgroups(#[source] std::io::Error),
}

/// What was found.
#[derive(Debug)]
pub struct Adopted {
    /// Containers whose attempts are open: their workers go on with them.
    pub kept: usize,
    /// Containers of recorded attempts that were removed.
    pub removed: usize,
    /// Pods unknown to the Store that are being stopped and released.
    pub orphans: usize,
    /// Ends when all orphans, and what could not be removed at once, are gone; need not be waited for.
    pub cleanup: tokio::task::JoinHandle<()>,
}

/// Goes over what is there before any worker runs. Orphans are stopped in the background.
pub async fn adopt(drivers: &Drivers) -> Result<Adopted, AdoptError> {
    let containers = drivers.runtime.list().await.map_err(AdoptError::Runtime)?;
    let pods = drivers.store.list(Kind::Pod);
    let open: HashMap<&str, BTreeSet<String>> = pods.iter().map(|o| (o.uid(), open_ids(o))).collect();
    let mut orphans = held_by_pods(drivers).await?;
    orphans.retain(|uid| !open.contains_key(uid.as_str()));
    let (mut kept, mut stale) = (0, Vec::new());
    for container in containers {
        let Some(uid) = container.labels.get(label::POD_UID) else {
            warn!(container = container.id, "is no pod's; left alone");
            continue;
        };
        match open.get(uid.as_str()) {
            None => drop(orphans.insert(uid.clone())),
            Some(ids) if ids.contains(&container.id) => kept += 1,
            Some(_) => stale.push(container.id),
        }
    }
    let tried = join_all(stale.into_iter().map(async |id| (remove_stale(drivers, &id).await, id))).await;
    let (gone, left): (Vec<_>, Vec<_>) = tried.into_iter().partition(|(gone, _)| *gone);
    let (count, removed, drivers) = (orphans.len(), gone.len(), drivers.clone());
    let cleanup = tokio::spawn(async move {
        let stale = join_all(left.iter().map(|(_, id)| remove_later(&drivers, id)));
        tokio::join!(join_all(orphans.iter().map(|uid| stop_pod(&drivers, uid))), stale);
    });
    Ok(Adopted { kept, removed, orphans: count, cleanup })
}

fn open_ids(pod: &Object) -> BTreeSet<String> {
    pod.as_pod().map(open_attempts).unwrap_or_default().into_iter().map(|(_, id, _)| id).collect()
}

/// The uids of all pods that hold namespaces, volumes, images as volumes, or a cgroup.
async fn held_by_pods(drivers: &Drivers) -> Result<BTreeSet<String>, AdoptError> {
    let (network, volumes) = tokio::join!(drivers.network.list(), drivers.volumes.list());
    let mut uids = BTreeSet::from_iter(network.map_err(AdoptError::Network)?);
    uids.extend(volumes.map_err(AdoptError::Volumes)?);
    uids.extend(drivers.cgroups.list().map_err(AdoptError::Cgroups)?);
    uids.extend(drivers.runtime.image_volume_pods().await.map_err(AdoptError::Runtime)?);
    Ok(uids)
}

async fn remove_stale(drivers: &Drivers, id: &str) -> bool {
    let removed = drivers.runtime.remove(id).await;
    removed.inspect_err(|error| warn!(container = id, %error, "ended long ago, but cannot be removed")).is_ok()
}

/// Nobody but us knows of it: no worker asks for an attempt that is recorded as ended.
async fn remove_later(drivers: &Drivers, id: &str) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        if remove_stale(drivers, id).await {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Stops and removes every container of a Pod that the Store does not know, and releases what it held. Tries again until that is done.
pub(super) async fn stop_pod(drivers: &Drivers, uid: &str) {
    let mut pause = FIRST_PAUSE;
    loop {
        match try_stop_pod(drivers, uid).await {
            Ok(()) => return info!(uid, "what was left of a pod unknown here is gone"),
            Err(error) => warn!(uid, error, "what is left of a pod unknown here cannot be removed yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn try_stop_pod(drivers: &Drivers, uid: &str) -> Result<(), String> {
    let all = drivers.runtime.list().await.map_err(|e| e.to_string())?;
    let own = all.iter().filter(|c| c.labels.get(label::POD_UID).is_some_and(|u| u == uid));
    let stopped = join_all(own.map(|container| stop(drivers, container))).await;
    let errors: Vec<String> = stopped.into_iter().filter_map(Result::err).map(|e| e.to_string()).collect();
    if !errors.is_empty() {
        return Err(errors.join("; "));
    }
    release_pod(drivers, uid).await.map_err(|e| e.to_string())?;
    remove_logs_of(&drivers.paths, uid).map_err(|e| format!("logs: {e}"))
}

/// Stop signal, grace, SIGKILL, removal.
async fn stop(drivers: &Drivers, container: &ContainerState) -> Result<(), RuntimeError> {
    let id = container.id.as_str();
    if matches!(container.task, TaskState::Running { .. }) {
        let (signal, grace) = orders(&container.labels);
        drivers.runtime.kill(id, signal, false).await?;
        if tokio::time::timeout(grace, drivers.runtime.wait(id)).await.is_err() {
            drivers.runtime.kill(id, SIGKILL, true).await?;
        }
    }
    drivers.runtime.remove(id).await
}

fn orders(labels: &BTreeMap<String, String>) -> (i32, Duration) {
    let signal = labels.get(label::STOP_SIGNAL).and_then(|s| s.parse().ok()).unwrap_or(SIGTERM);
    let grace = labels.get(label::GRACE).and_then(|s| s.parse().ok()).map_or(DEFAULT_GRACE, Duration::from_secs);
    (signal, grace)
}
