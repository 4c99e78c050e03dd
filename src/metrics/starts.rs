//! How long pods take to start: the one thing that cannot be read off the Store at a scrape, so it is counted as it happens.
//!
//! ```text
//!   made ──▶ bound: the time runs ──▶ Running, or straight to Succeeded: counted
//!                        └──▶ Failed (a rejection among them), or gone: not counted
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

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
    /// uid → when it was first seen bound, of pods whose making was seen and that have not started.
    waiting: HashMap<String, Option<Instant>>,
}

impl Starts {
    /// Takes note of a pod's change. `now` is monotonic: no step of the wall clock is taken for a wait.
    pub fn note(&mut self, change: ChangeKind, pod: &Pod, now: Instant) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if change == ChangeKind::Added {
            self.waiting.insert(uid.clone(), None);
        }
        // A pod the kubelet has not been given yet is not seen by it.
        let bound = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
        match (change, phase(pod)) {
            (ChangeKind::Deleted, _) | (_, "Failed") => drop(self.waiting.remove(&uid)),
            (_, "Running" | "Succeeded") => {
                if let Some(Some(seen)) = self.waiting.remove(&uid) {
                    self.started(now.saturating_duration_since(seen).as_secs_f64());
                }
            }
            _ if bound => {
                if let Some(seen) = self.waiting.get_mut(&uid) {
                    seen.get_or_insert(now);
                }
            }
            _ => {}
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
                    starts.lock().unwrap_or_else(PoisonError::into_inner).note(change.kind, pod, clock.monotonic());
                }
            }
            Err(RecvError::Lagged(_)) => starts.lock().unwrap_or_else(PoisonError::into_inner).waiting.clear(),
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What (change, phase, bound, second) amount to: how many were counted, and their seconds.
    fn counted(changes: &[(ChangeKind, &str, bool, u64)]) -> (u64, f64) {
        let (mut starts, start) = (Starts::default(), Instant::now());
        for (change, phase, bound, second) in changes {
            let spec = if *bound { serde_json::json!({"nodeName": "n1", "containers": []}) } else { serde_json::json!({"containers": []}) };
            let pod = serde_json::json!({"metadata": {"uid": "u"}, "spec": spec, "status": {"phase": phase}});
            starts.note(*change, &serde_json::from_value(pod).unwrap(), start + Duration::from_secs(*second));
        }
        assert!(starts.waiting.is_empty(), "nothing is kept of a pod that has started, failed or gone: {:?}", starts.waiting);
        (starts.total, starts.sum)
    }

    use ChangeKind::{Added, Deleted, Modified};

    #[test]
    fn from_its_binding_to_its_first_run_a_pod_counts_once() {
        let waits = [(Added, "Pending", false, 0), (Modified, "Pending", true, 10), (Modified, "Pending", true, 11)];
        let runs = [(Modified, "Running", true, 13), (Modified, "Running", true, 20), (Modified, "Succeeded", true, 30)];
        assert_eq!(counted(&[&waits[..], &runs].concat()), (1, 3.0));
        assert_eq!(
            counted(&[(Added, "Pending", true, 10), (Modified, "Succeeded", true, 12)]),
            (1, 2.0),
            "it was too quick to be seen running"
        );
    }

    #[test]
    fn who_never_ran_does_not_count() {
        for end in [(Modified, "Failed", true, 12), (Modified, "Failed", false, 12), (Deleted, "Pending", true, 12)] {
            assert_eq!(counted(&[(Added, "Pending", true, 10), end, (Modified, "Running", true, 99)]), (0, 0.0), "{end:?}");
        }
        assert_eq!(
            counted(&[(Modified, "Pending", true, 10), (Modified, "Running", true, 11)]),
            (0, 0.0),
            "nobody knows how long it had waited"
        );
    }

    #[test]
    fn a_start_is_in_every_bucket_that_it_fits() {
        let mut starts = Starts::default();
        starts.started(3.0);
        assert_eq!((starts.counts[2], starts.counts[3], starts.counts[BUCKETS.len() - 1]), (0, 1, 1));
    }
}
