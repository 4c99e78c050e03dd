//! The loop that keeps the node from running out: measures, tells the reconcile loop of conditions, evicts one pod at a time.
//!
//! What is decided stands in [`crate::controllers::pressure`]. One round every [`PERIOD`] (the kubelet's monitoringInterval); pods are measured only
//! while something is short. After an eviction the next round waits until the pod has ended, [`CLEANUP`] at most. An eviction is not durable before it
//! is acted on: an agent that dies in the middle looks again, and the shortage speaks for itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Node;
use tokio::sync::watch;

use super::reconcile::node_key;
use super::worker::PodWorkers;
use super::{Drivers, events, measure};
use crate::api::{Kind, Object};
use crate::controllers::pods;
use crate::controllers::pressure::{self, Conditions, Observations, Pressure, Signal, Victim};
use crate::host;
use crate::host::usage::UsageReader;

/// Between rounds (pkg/kubelet/kubelet.go evictionMonitoringPeriod).
const PERIOD: Duration = Duration::from_secs(10);
/// The longest that an evicted pod is waited for (podCleanupTimeout), and how often it is looked at.
const CLEANUP: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_secs(1);

/// Frees what nobody uses of what is short, before a pod has to go.
pub type Reclaim = Arc<dyn Fn(Signal) -> BoxFuture<'static, ()> + Send + Sync>;

/// The loop's parts.
pub struct Guard {
    /// The world.
    pub drivers: Drivers,
    /// Reads cgroups.
    pub usage: UsageReader,
    /// Whom evictions are told.
    pub workers: Arc<PodWorkers>,
    /// Told the conditions, whenever they change.
    pub tell: watch::Sender<Option<Conditions>>,
    /// See [`Reclaim`].
    pub reclaim: Reclaim,
}

impl Guard {
    /// Runs until dropped.
    pub async fn run(self) {
        let mut pressure = Pressure::of(&self.node(), self.drivers.clock.now());
        loop {
            match self.round(&mut pressure).await {
                Some(uid) => self.ended(&uid).await,
                None => tokio::time::sleep(PERIOD).await,
            }
        }
    }

    fn node(&self) -> Node {
        self.drivers.store.get(&node_key(&self.drivers)).and_then(|o| o.as_node().cloned()).unwrap_or_default()
    }

    /// Measures and tells. Returns the pod that was evicted.
    async fn round(&self, pressure: &mut Pressure) -> Option<String> {
        let settings = &self.drivers.settings;
        let seen = self.observe().await;
        let met = pressure::met(&settings.eviction_hard, &seen);
        let period = SignedDuration::try_from(settings.pressure_transition).unwrap_or(SignedDuration::MAX);
        let conditions = pressure.observe(&met, period, self.drivers.clock.now());
        self.tell.send_if_modified(|told| {
            let news = told.as_ref() != Some(&conditions);
            *told = Some(conditions);
            news
        });
        let short = met.first()?.signal;
        self.say(short).await;
        (self.reclaim)(short).await;
        let seen = self.observe().await;
        let met = pressure::met(&settings.eviction_hard, &seen);
        let victim = self.choose(&met, &seen).await?;
        tracing::warn!(uid = victim.uid, "evicted: {}", victim.message);
        self.workers.evict(&victim.uid, victim.message).then_some(victim.uid)
    }

    async fn observe(&self) -> Observations {
        let images = self.drivers.runtime.image_directory().await;
        host::pressure::observe(&self.usage, &self.drivers.paths.state, images.as_deref())
    }

    async fn choose(&self, met: &[pressure::Threshold], seen: &Observations) -> Option<Victim> {
        let disk = met.first()?.signal.is_disk();
        let bound = |o: &Arc<Object>| o.as_pod().is_some_and(|p| pods::active(p) && p.spec.as_ref().is_some_and(|s| s.node_name.is_some()));
        let active: Vec<Arc<Object>> = self.drivers.store.list(Kind::Pod).into_iter().filter(bound).collect();
        let mut usage = BTreeMap::new();
        for object in &active {
            let Some(pod) = object.as_pod() else { continue };
            if let Some(used) = measure::pod(&self.drivers, &self.usage, pod, disk).await {
                usage.insert(object.uid().to_owned(), used);
            }
        }
        pressure::victim(met, seen, &active, &usage, measure::layers_apart(&self.drivers).await)
    }

    async fn say(&self, short: Signal) {
        let (store, now) = (&self.drivers.store, self.drivers.clock.now());
        let told = events::record(&**store, [&pressure::reclaiming(&self.node(), short.resource())], now);
        if let Err(error) = store.commit(told).await {
            tracing::warn!(%error, "the node is low on {}; the event that says so cannot be stored", short.resource());
        }
    }

    /// Waits until the pod has ended and holds nothing, with a bound.
    async fn ended(&self, uid: &str) {
        let lives = || self.drivers.store.list(Kind::Pod).iter().any(|o| o.uid() == uid && o.as_pod().is_some_and(|p| !pods::terminal(p)));
        let wait = async {
            while lives() {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(CLEANUP, wait).await.is_err() {
            tracing::warn!(uid, "an evicted pod has not ended within {} s", CLEANUP.as_secs());
        }
    }
}
