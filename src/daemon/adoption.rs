//! Taking over what runs, once containerd answers.
//!
//! ```text
//!   ask, adopt ──▶ workers let loose ──▶ asked again at each Connected, and every 10 s
//!     │       ▲
//!     ▼ fails │ Connected, or after a while (what failed need not have been the line to containerd)
//!   ──────────┘
//! ```
//!
//! What the answers, or their absence, mean for the node is decided in `runtime::presence`; here it is only told.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use minik8s::agent::worker::PodWorkers;
use minik8s::agent::{Drivers, recover};
use minik8s::api::Kind;
use minik8s::host::doctor::too_old;
use minik8s::runtime::presence::{LastAnswer, Presence};
use minik8s::runtime::{Containerd, Runtime as _, RuntimeEvent};
use tokio::sync::{broadcast, watch};
use tokio::time::MissedTickBehavior;

/// How long until containerd is asked again where no event calls for it: one that hangs breaks no stream. The kubelet asks every 5 s.
const ASK: Duration = Duration::from_secs(10);

/// Whom adoption works for.
pub(super) struct Adoption {
    pub(super) drivers: Drivers,
    pub(super) containerd: Arc<Containerd>,
    /// Named where nobody answers there.
    pub(super) socket: PathBuf,
    /// Told what is known of containerd.
    pub(super) presence: watch::Sender<Presence>,
    pub(super) workers: Arc<PodWorkers>,
    /// Set before the workers are told of their pods.
    pub(super) adopted: Arc<AtomicBool>,
}

impl Adoption {
    /// Takes over what runs, lets the workers loose, and then keeps the presence true. Ends with the runtime's event stream, which is never.
    pub(super) async fn run(self) {
        // Before the first attempt: a connection made meanwhile is not missed.
        let mut events = self.containerd.events();
        let (mut told, mut last) = (false, LastAnswer::default());
        while let Err(error) = self.attempt(&mut last).await {
            if !told {
                told = true;
                tracing::error!("waiting for containerd: {error:#}; is it running? --containerd is {}", self.socket.display());
            }
            // Either is a reason to try again.
            let _ = tokio::time::timeout(ASK, connected(&mut events)).await;
        }
        self.collect_addresses();
        self.let_loose();
        self.end_leftovers().await;
        self.watch(events, last).await;
    }

    async fn watch(&self, mut events: broadcast::Receiver<RuntimeEvent>, mut last: LastAnswer) {
        let mut due = tokio::time::interval(ASK);
        // An answer may take as long as the interval: the next question then follows at once, so that silence is noticed in time.
        due.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            // Cancel-safe: neither `connected` nor `tick` loses anything when dropped.
            let again = tokio::select! {
                biased;
                up = connected(&mut events) => match up {
                    true => true,
                    false => return,
                },
                _ = due.tick() => false,
            };
            if let Err(error) = self.ask(&mut last).await {
                tracing::debug!("containerd was asked whether it is there: {error}");
            }
            if again {
                self.end_leftovers().await;
            }
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

    async fn attempt(&self, last: &mut LastAnswer) -> anyhow::Result<()> {
        self.ask(last).await?;
        let found = recover::adopt(&self.drivers).await?;
        tracing::info!(kept = found.kept, removed = found.removed, orphans = found.orphans, "took over what runs");
        Ok(())
    }

    /// Asks containerd for its version and tells what is known of it then. Errors: no answer.
    async fn ask(&self, last: &mut LastAnswer) -> anyhow::Result<()> {
        let answer = self.containerd.version().await;
        let now = self.drivers.clock.monotonic();
        if let Ok(number) = &answer {
            last.note(now, format!("containerd://{number}"));
        }
        let presence = last.presence(now);
        let changed = self.presence.send_if_modified(|known| std::mem::replace(known, presence.clone()) != presence);
        match &answer {
            _ if !changed => {}
            Ok(number) if too_old(number) => {
                tracing::error!("containerd {number} is older than 1.6 and may refuse what pods need; install containerd 1.6 or newer");
            }
            Ok(_) => {}
            Err(error) => tracing::error!("the node is not ready: {error}; what runs goes on"),
        }
        answer.map(drop).map_err(Into::into)
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
