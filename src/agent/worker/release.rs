//! Giving back what a Pod held: addresses, namespaces, volumes, cgroup. Goes on past errors and tells all of them.

use std::fmt;

use crate::agent::Drivers;
use crate::network::NetworkError;

/// What of a Pod could not be given back.
#[derive(Debug)]
pub(crate) struct NotReleased {
    /// Why its addresses or namespaces could not.
    pub(super) network: Option<String>,
    /// Nothing but addresses is left of its network.
    pub(super) addresses_only: bool,
    /// Why other things could not.
    pub(super) rest: Vec<String>,
}

impl fmt::Display for NotReleased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = self.network.iter().map(|e| format!("network: {e}"));
        f.write_str(&network.chain(self.rest.iter().cloned()).collect::<Vec<_>>().join("; "))
    }
}

/// Releases everything of the Pod that is no container. Safe to repeat. Errors: what failed, to be tried again.
pub(crate) async fn release(drivers: &Drivers, uid: &str) -> Result<(), NotReleased> {
    let network = drivers.network.remove(uid);
    let volumes = async {
        drivers.volumes.remove(uid).await.map_err(|e| format!("volumes: {e}"))?;
        drivers.runtime.release_image_volumes(uid).await.map_err(|e| format!("image volumes: {e}"))
    };
    let cgroup = async { drivers.cgroups.clone().give_back(uid.to_owned()).await.map_err(|e| format!("cgroup: {e}")) };
    let (network, volumes, cgroup) = tokio::join!(network, volumes, cgroup);
    let rest: Vec<String> = [volumes, cgroup].into_iter().filter_map(Result::err).collect();
    match network {
        Ok(()) if rest.is_empty() => Ok(()),
        network => {
            let error = network.err();
            let addresses_only = error.as_ref().is_some_and(NetworkError::is_of_addresses);
            Err(NotReleased { network: error.map(|e| e.to_string()), addresses_only, rest })
        }
    }
}
