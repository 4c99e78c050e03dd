//! Taking over what runs, once containerd answers.
//!
//! ```text
//!   version, adopt ──▶ workers let loose ──▶ version told anew at each Connected
//!     │       ▲
//!     ▼ fails │ Connected, or after a while (what failed need not have been the line to containerd)
//!   ──────────┘
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use minik8s::agent::worker::PodWorkers;
use minik8s::agent::{Drivers, recover};
use minik8s::api::Kind;
use minik8s::host::doctor::too_old;
use minik8s::runtime::{Containerd, Runtime as _, RuntimeEvent};
use tokio::sync::{broadcast, watch};

/// How long until another attempt where no event calls for one.
const RETRY: Duration = Duration::from_secs(10);

/// Whom adoption works for.
pub(super) struct Adoption {
    pub(super) drivers: Drivers,
    pub(super) containerd: Arc<Containerd>,
    /// Named where nobody answers there.
    pub(super) socket: PathBuf,
    /// Told `containerd://<version>`.
    pub(super) version: watch::Sender<String>,
    pub(super) workers: Arc<PodWorkers>,
    /// Set before the workers are told of their pods.
    pub(super) adopted: Arc<AtomicBool>,
}

impl Adoption {
    /// Takes over what runs, lets the workers loose, and then keeps the version true. Ends with the runtime's event stream, which is never.
    pub(super) async fn run(self) {
        // Before the first attempt: a connection made meanwhile is not missed.
        let mut events = self.containerd.events();
        let mut told = false;
        while let Err(error) = self.attempt().await {
            if !told {
                told = true;
                tracing::error!("waiting for containerd: {error:#}; is it running? --containerd is {}", self.socket.display());
            }
            // Either is a reason to try again.
            let _ = tokio::time::timeout(RETRY, connected(&mut events)).await;
        }
        self.collect_addresses();
        self.let_loose();
        self.end_leftovers().await;
        while connected(&mut events).await {
            if let Err(error) = self.tell_version().await {
                tracing::debug!("the version of containerd is not known: {error}");
            }
            self.end_leftovers().await;
        }
    }

    /// What an earlier agent was executing in containers is heard by nobody any more.
    async fn end_leftovers(&self) {
        match self.containerd.execs().collect().await {
            Ok(0) => {}
            Ok(ended) => tracing::info!(ended, "ended what an earlier agent was executing in containers"),
            Err(error) => {
                tracing::warn!(%error, "what an earlier agent was executing in containers cannot be ended yet")
            }
        }
    }

    /// Orphans' records count as long as they are there, so this need not wait until they are gone.
    fn collect_addresses(&self) {
        let network = self.drivers.network.clone();
        tokio::spawn(async move {
            if let Err(error) = network.collect().await {
                tracing::warn!(%error, "CNI plugins did not give back what no pod holds any more");
            }
        });
    }

    async fn attempt(&self) -> anyhow::Result<()> {
        self.tell_version().await?;
        let found = recover::adopt(&self.drivers).await?;
        tracing::info!(kept = found.kept, removed = found.removed, orphans = found.orphans, "took over what runs");
        Ok(())
    }

    async fn tell_version(&self) -> anyhow::Result<()> {
        let number = self.containerd.version().await?;
        let version = format!("containerd://{number}");
        let told = self.version.send_if_modified(|known| {
            let differs = *known != version;
            if differs {
                *known = version;
            }
            differs
        });
        if told && too_old(&number) {
            tracing::error!("containerd {number} is older than 1.6 and may refuse what pods need; install containerd 1.6 or newer");
        }
        Ok(())
    }

    fn let_loose(&self) {
        self.adopted.store(true, Ordering::Release);
        for pod in self.drivers.store.list(Kind::Pod) {
            if pod.as_pod().is_some_and(|p| p.spec.as_ref().is_some_and(|s| s.node_name.is_some())) {
                self.workers.pod_changed(pod);
            }
        }
    }
}

/// Waits until the runtime's event stream has come (back) up; `false`: it has ended for good. Cancel-safe.
async fn connected(events: &mut broadcast::Receiver<RuntimeEvent>) -> bool {
    loop {
        match events.recv().await {
            // Among what was missed there may have been one.
            Ok(RuntimeEvent::Connected) | Err(broadcast::error::RecvError::Lagged(_)) => return true,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Closed) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_connection_is_waited_for() {
        let (sender, mut events) = broadcast::channel(4);
        for event in [RuntimeEvent::Disconnected, RuntimeEvent::Changed { id: "a".into() }, RuntimeEvent::Connected] {
            sender.send(event).unwrap();
        }
        assert!(connected(&mut events).await);
        assert!(events.is_empty(), "what came before it is passed over");
        (0..6).for_each(|_| drop(sender.send(RuntimeEvent::Disconnected)));
        assert!(connected(&mut events).await, "what was missed may have been a connection");
        drop(sender);
        assert!(!connected(&mut events).await);
    }
}
