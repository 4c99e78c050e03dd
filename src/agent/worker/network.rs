//! A Pod's network beside its making: kept after a restart of the agent, asked once whether all is well, and given back even by a plugin that
//! fails.
//!
//! A failed CHECK is told and changes nothing. The kubelet makes a sandbox anew only when it is gone, and as long as a process of the Pod
//! runs its namespaces are there: a lost pin is made again from that process.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use tracing::{info, warn};

use super::done::{Done, PANICKED};
use super::parts::sandbox_spec;
use super::release::NotReleased;
use super::task::Worker;
use super::{Shared, release_pod};
use crate::pod::{events, stopping};

/// How many Pods' networks are checked at once: nothing waits for the answers.
pub(super) const CHECKS: usize = 2;
/// Between rounds of such tries.
const LEFTOVERS_EVERY: Duration = Duration::from_secs(30);

impl Worker {
    /// Sees to the network of a Pod found running, of which `pid` is a process.
    pub(super) async fn keep_network(&mut self, pid: u32) {
        match self.drivers().network.keep(&sandbox_spec(&self.pod), pid).await {
            Ok(false) => {}
            Ok(true) => warn!(pid, "the pod's namespaces were pinned no more; they are again, from its process"),
            Err(error) => self.events.push(events::sandbox_unwell(&self.pod, &error.to_string())),
        }
        if !std::mem::replace(&mut self.network_checked, true) {
            self.check_network();
        }
    }

    fn check_network(&mut self) {
        let (shared, parts, uid, mut cancel) = (self.shared.clone(), self.parts.clone(), self.uid.clone(), self.cancel.subscribe());
        let job = async move {
            let check = async {
                let _permit = shared.checks.acquire().await.ok()?;
                // Not while DEL runs: plugins are not called twice at once for one Pod.
                let _right = parts.for_a_start()?;
                shared.drivers.network.check(&uid).await.err()
            };
            // Cancel-safe: the plugin that was asked is killed, and had nothing to change.
            let wrong = tokio::select! {
                biased;
                _ = cancel.wait_for(|cancelled| *cancelled) => None,
                wrong = check => wrong,
            };
            Done::Checked(wrong.map(|e| e.to_string()))
        };
        self.jobs.spawn(Done::of(job, Done::Checked(Some(PANICKED.to_owned()))));
    }

    /// What came of the check.
    pub(super) fn checked(&mut self, wrong: Option<String>) {
        if let Some(error) = wrong {
            warn!(error, "the pod's network is not as it was made; nothing is changed");
            self.events.push(events::sandbox_unwell(&self.pod, &error));
        }
    }

    /// A release came to its end.
    pub(super) fn released(&mut self, result: Result<(), NotReleased>, now: Timestamp) {
        self.releasing = false;
        let Err(error) = result else { return self.is_released() };
        warn!(%error, "what the pod held cannot be released yet");
        self.release_pause.fail(now);
        if let Some(network) = &error.network {
            self.events.push(events::failed_kill(&self.pod, network));
        }
        if !error.rest.is_empty() || !error.addresses_only {
            return;
        }
        self.refused_releases = self.refused_releases.saturating_add(1);
        if stopping::goes_without_addresses(&self.pod, self.refused_releases) {
            warn!("the pod goes; its addresses are given back when its CNI plugins let that happen");
            Leftovers::keep_trying(&self.shared, self.uid.clone());
            self.is_released();
        }
    }

    fn is_released(&mut self) {
        self.seen.released = true;
        self.seen.sandbox = false;
        self.parts = Arc::default();
        self.release_pause.reset();
        self.refused_releases = 0;
    }
}

/// Pods that are gone and hold addresses still, as far as this agent has come to know: the next one finds their records.
#[derive(Default)]
pub(super) struct Leftovers(Mutex<BTreeSet<String>>);

impl Leftovers {
    /// Tries to release the Pod until that is done. One task does so for all, one after the other.
    fn keep_trying(shared: &Arc<Shared>, uid: String) {
        let mut all = shared.leftovers.lock();
        let first = all.is_empty();
        all.insert(uid);
        if first {
            tokio::spawn(rounds(shared.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn rounds(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LEFTOVERS_EVERY).await;
        let all = shared.leftovers.lock().clone();
        for uid in all {
            // One that panics is tried again as one that fails, and holds up no other. What it was at stands behind locks.
            let released = AssertUnwindSafe(release_pod(&shared.drivers, &uid)).catch_unwind().await;
            if matches!(released, Ok(Ok(()))) {
                info!(uid, "what a pod that is gone still held is given back");
                shared.leftovers.lock().remove(&uid);
            }
        }
        // Still locked when this ends: who adds another one sees that nobody is at it.
        if shared.leftovers.lock().is_empty() {
            return;
        }
    }
}
