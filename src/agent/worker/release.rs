//! Giving back what a Pod held: addresses, namespaces, volumes, cgroup. Goes on past errors and tells all of them.

use crate::agent::Drivers;

/// Releases everything of the Pod that is no container. Safe to repeat. Errors: what failed, to be tried again.
pub(crate) async fn release(drivers: &Drivers, uid: &str) -> Result<(), String> {
    let network = async { drivers.network.remove(uid).await.map_err(|e| format!("network: {e}")) };
    let volumes = async { drivers.volumes.remove(uid).await.map_err(|e| format!("volumes: {e}")) };
    let cgroup = async {
        // Off the runtime's threads: systemd takes its time over a slice.
        let (cgroups, uid) = (drivers.cgroups.clone(), uid.to_owned());
        let removed = tokio::task::spawn_blocking(move || cgroups.remove(&uid)).await.unwrap_or_else(|e| Err(e.into()));
        removed.map_err(|e| format!("cgroup: {e}"))
    };
    let (network, volumes, cgroup) = tokio::join!(network, volumes, cgroup);
    let errors: Vec<String> = [network, volumes, cgroup].into_iter().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
}
