//! The end of all pods because the host goes down (pkg/kubelet/nodeshutdown/nodeshutdown_manager.go): ordinary pods first, critical ones when
//! those are gone, each group within its period and each pod within its own grace. None counts as crashed (`pods::interrupted`).
//!
//! Leaves to others: finding out that the host goes down (`host::going_down`), and seeing to it that no pod is made meanwhile (the reconcile loop is
//! ended before).

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tracing::{info, warn};

use super::PodWorkers;
use crate::api::{Kind, Object};
use crate::pod::phase;

/// How long a group may take beyond its period until the ends of its pods are written down.
const MARGIN: Duration = Duration::from_secs(5);
/// pkg/apis/scheduling, SystemCriticalPriority.
const SYSTEM_CRITICAL: i32 = 2_000_000_000;

/// How long the host's shutdown waits for pods (KubeletConfiguration's shutdownGracePeriod and shutdownGracePeriodCriticalPods).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownPeriods {
    /// For pods that are not critical.
    pub ordinary: Duration,
    /// For critical pods, after those.
    pub critical: Duration,
}

impl ShutdownPeriods {
    /// The longest that [`PodWorkers::end_pods`] takes.
    pub fn longest(&self) -> Duration {
        self.groups().iter().map(|(_, period)| *period + MARGIN).sum()
    }

    /// Whether pods are ended at all, rather than left to what the host does to processes.
    pub fn any(&self) -> bool {
        !(self.ordinary + self.critical).is_zero()
    }

    fn groups(&self) -> [(Group, Duration); 2] {
        [(Group::Ordinary, self.ordinary), (Group::Critical, self.critical)]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Ordinary,
    Critical,
}

impl Group {
    /// By priority; a priority class of the system stands for its own.
    fn of(pod: &Pod) -> Group {
        let spec = pod.spec.as_ref();
        let class = spec.and_then(|s| s.priority_class_name.as_deref());
        let critical = matches!(class, Some("system-node-critical" | "system-cluster-critical"))
            || spec.and_then(|s| s.priority).is_some_and(|priority| priority >= SYSTEM_CRITICAL);
        if critical { Group::Critical } else { Group::Ordinary }
    }
}

/// Since when, and within how many seconds, the pods of each group have to end.
#[derive(Default)]
pub(super) struct Ending(Mutex<[Option<(Timestamp, i64)>; 2]>);

impl Ending {
    /// What this pod is told.
    pub(super) fn of(&self, pod: &Pod) -> Option<(Timestamp, i64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[Group::of(pod) as usize]
    }

    fn begin(&self, group: Group, now: Timestamp, period: Duration) {
        let seconds = i64::try_from(period.as_secs()).unwrap_or(i64::MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[group as usize] = Some((now, seconds));
    }
}

impl PodWorkers {
    /// Ends all pods. Returns when they are over and that is durable, or the periods are; what is left then ends with the host, and counts as
    /// little. The caller sees to it that no pod is bound any more.
    pub async fn end_pods(&self, periods: &ShutdownPeriods) {
        for (group, period) in periods.groups() {
            let uids = self.unfinished(group);
            if uids.is_empty() {
                continue;
            }
            info!(pods = uids.len(), critical = group == Group::Critical, seconds = period.as_secs(), "the host goes down: ending pods");
            self.shared.ending.begin(group, self.shared.drivers.clock.now(), period);
            self.lock().workers.values().for_each(|entry| entry.bell.ring());
            if tokio::time::timeout(period + MARGIN, self.all_gone(&uids)).await.is_err() {
                warn!("some pods did not end in time; they end with the host, and are not counted as failed");
            }
        }
    }

    /// The uids of the group's pods that have a worker and are not over.
    fn unfinished(&self, group: Group) -> HashSet<String> {
        let pods = self.shared.drivers.store.list(Kind::Pod);
        let state = self.lock();
        let concerned = |pod: &Pod| Group::of(pod) == group && !phase::is_terminal(phase::of(pod));
        let ours = pods.iter().filter(|o| state.workers.contains_key(o.uid()) && o.as_pod().is_some_and(concerned));
        ours.map(|o: &std::sync::Arc<Object>| o.uid().to_owned()).collect()
    }

    async fn all_gone(&self, uids: &HashSet<String>) {
        loop {
            let departed = self.departed.notified();
            tokio::pin!(departed);
            // Before the look: a departure after it is not missed.
            departed.as_mut().enable();
            if uids.iter().all(|uid| !self.lock().workers.contains_key(uid)) {
                return;
            }
            departed.await;
        }
    }
}
