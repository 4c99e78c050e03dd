//! One agent per containerd namespace: two would each remove the other's containers as orphans.

use minik8s::cli::agent_args::AgentConfig;
use minik8s::host::alone;

/// Makes sure that no other agent takes this containerd namespace for its own: it would remove our containers as orphans.
pub(super) fn alone(config: &AgentConfig) -> anyhow::Result<std::os::unix::net::UnixListener> {
    alone::hold(&config.containerd, &config.containerd_namespace).map_err(|_| {
        anyhow::anyhow!(
            "the namespace {} of the containerd at {} is in use by another minik8s agent; stop that one, or give this one its own --containerd-namespace",
            config.containerd_namespace,
            config.containerd.display()
        )
    })
}
