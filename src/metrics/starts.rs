//! How long pods take to start: the one thing that cannot be read off the Store at a scrape, so it is counted as it happens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::broadcast::error::RecvError;

use super::exposition::{Behaviour, Family, Sample};
use crate::api::Object;
use crate::clock::Clock;
use crate::controllers::pods::phase;
use crate::store::{ChangeKind, Store};

/// The kubelet's buckets, in seconds (pkg/kubelet/metrics/metrics.go podStartupLatencyBuckets).
const BUCKETS: [f64; 24] = [
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0, 1200.0,
    1800.0, 3600.0,
];

/// The histogram so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Starts {
    counts: [u64; BUCKETS.len()],
    total: u64,
    sum: f64,
    /// uid → when it was first seen, of pods that have not started.
    waiting: HashMap<String, Timestamp>,
}

impl Starts {
    /// Takes note of a pod's change.
    pub fn note(&mut self, change: ChangeKind, pod: &Pod, now: Timestamp) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        match (change, phase(pod)) {
            (ChangeKind::Added, "Pending") => drop(self.waiting.insert(uid, now)),
            (ChangeKind::Deleted, _) => drop(self.waiting.remove(&uid)),
            (_, "Pending") => {}
            _ => {
                if let Some(seen) = self.waiting.remove(&uid) {
                    self.started(now.duration_since(seen).as_secs_f64().max(0.0));
                }
            }
        }
    }

    fn started(&mut self, seconds: f64) {
        for (count, _) in self.counts.iter_mut().zip(BUCKETS).filter(|(_, bound)| seconds <= *bound) {
            *count += 1;
        }
        self.total += 1;
        self.sum += seconds;
    }

    /// As the kubelet tells it.
    pub fn family(&self) -> Family {
        let bucket = |bound: String, count: u64| Sample { suffix: "_bucket", labels: vec![("le", bound)], value: count as f64 };
        let mut samples: Vec<Sample> = self.counts.iter().zip(BUCKETS).map(|(count, bound)| bucket(bound.to_string(), *count)).collect();
        samples.push(bucket("+Inf".to_owned(), self.total));
        samples.push(Sample { suffix: "_sum", labels: Vec::new(), value: self.sum });
        samples.push(Sample { suffix: "_count", labels: Vec::new(), value: self.total as f64 });
        Family {
            name: "kubelet_pod_start_duration_seconds",
            help: "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run.",
            behaviour: Behaviour::Histogram,
            samples,
        }
    }
}

/// Counts until dropped. What was missed by lagging is not counted.
pub async fn observe(store: Arc<dyn Store>, clock: Arc<dyn Clock>, starts: Arc<Mutex<Starts>>) {
    let mut changes = store.watch();
    loop {
        match changes.recv().await {
            Ok(change) => {
                if let Object::Pod(pod) = &*change.object {
                    starts.lock().unwrap_or_else(PoisonError::into_inner).note(change.kind, pod, clock.now());
                }
            }
            Err(RecvError::Lagged(_)) => starts.lock().unwrap_or_else(PoisonError::into_inner).waiting.clear(),
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_counts_once_when_it_starts() {
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(serde_json::json!({"metadata": {"uid": "u"}, "status": {"phase": phase}})).unwrap()
        };
        let (mut starts, at) = (Starts::default(), |second| Timestamp::from_second(second).unwrap());
        starts.note(ChangeKind::Added, &pod("Pending"), at(10));
        starts.note(ChangeKind::Modified, &pod("Pending"), at(11));
        starts.note(ChangeKind::Modified, &pod("Running"), at(13));
        starts.note(ChangeKind::Modified, &pod("Succeeded"), at(20));
        assert_eq!((starts.total, starts.sum, starts.counts[2], starts.counts[3]), (1, 3.0, 0, 1));
        starts.note(ChangeKind::Added, &pod("Pending"), at(30));
        starts.note(ChangeKind::Deleted, &pod("Pending"), at(31));
        assert!(starts.waiting.is_empty() && starts.total == 1);
    }
}
