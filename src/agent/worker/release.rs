//! Giving back what a Pod held: addresses, namespaces, volumes, cgroup. Goes on past errors and tells all of them.

use crate::agent::Drivers;

/// Releases everything of the Pod that is no container. Safe to repeat. Errors: what failed, to be tried again.
pub(crate) async fn release(drivers: &Drivers, uid: &str) -> Result<(), String> {
    let network = async { drivers.network.remove(uid).await.map_err(|e| format!("network: {e}")) };
    let volumes = async {
        drivers.volumes.remove(uid).await.map_err(|e| format!("volumes: {e}"))?;
        drivers.runtime.release_image_volumes(uid).await.map_err(|e| format!("image volumes: {e}"))
    };
    let cgroup = async { drivers.cgroups.clone().give_back(uid.to_owned()).await.map_err(|e| format!("cgroup: {e}")) };
    let (network, volumes, cgroup) = tokio::join!(network, volumes, cgroup);
    let errors: Vec<String> = [network, volumes, cgroup].into_iter().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
}
