//! One agent per containerd namespace: two would each remove the other's containers as orphans.

use minik8s::cli::agent_args::AgentConfig;
use sha2::{Digest, Sha256};

/// Makes sure that no other agent takes this containerd namespace for its own: it would remove our containers as orphans. The name is held as
/// an abstract socket, which goes with the process however that ends.
pub(super) fn alone(config: &AgentConfig) -> anyhow::Result<std::os::unix::net::UnixListener> {
    use std::os::linux::net::SocketAddrExt;
    let containerd = std::fs::canonicalize(&config.containerd).unwrap_or_else(|_| config.containerd.clone());
    let name = format!("minik8s/{}/{}", config.containerd_namespace, containerd.display());
    let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(format!("minik8s/{digest}"))?;
    std::os::unix::net::UnixListener::bind_addr(&address).map_err(|_| {
        anyhow::anyhow!(
            "the namespace {} of the containerd at {} is in use by another minik8s agent; stop that one, or give this one its own --containerd-namespace",
            config.containerd_namespace,
            config.containerd.display()
        )
    })
}
