//! What holds of every Job, whatever happens to its pods and whoever edits it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::super::tests_moves::{Weights, act, moves};
use super::super::{facts, finished};
use super::{failures, world};
use crate::controllers::pods as pod_facts;

/// Codes 0 and 1 only: no policy asks for others.
const PLAIN: Weights = Weights { exit: 4, codes: 2, run: 2, admit: 1, pods: 4, most: 40 };

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_too_many_never_counted_twice_always_idempotent(
        steps in moves(PLAIN), completions in prop::option::of(1i32..6), parallelism in 1i32..4, limit in 0i32..4,
        indexed in any::<bool>(), on_failure in any::<bool>(), only_failed in any::<bool>(),
    ) {
        let mut spec = json!({"parallelism": parallelism, "backoffLimit": limit});
        if let Some(n) = completions {
            spec["completions"] = json!(n);
            spec["completionMode"] = json!(if indexed { "Indexed" } else { "NonIndexed" });
        }
        if only_failed {
            spec["podReplacementPolicy"] = json!("Failed");
        }
        let (mut world, key) = world(spec, if on_failure { "OnFailure" } else { "Never" });
        let mut over = None;
        let mut succeeded_pods: BTreeSet<String> = BTreeSet::new();
        for step in &steps {
            world.settle(&key);
            let job = world.job(&key);
            let want = job.spec.as_ref().and_then(|s| s.parallelism).unwrap() as usize;
            let active = world.active();
            let work_queue_draining = completions.is_none() && job.status.as_ref().and_then(|s| s.succeeded).is_some();
            prop_assert!(active.len() <= want || work_queue_draining);
            prop_assert_eq!(job.status.as_ref().and_then(|s| s.active).unwrap_or(0) as usize, active.len());
            let (succeeded, failed) = failures(&world, &key);
            prop_assert!(failed as usize + succeeded as usize <= world.pods_made, "a pod was counted twice");
            if over.is_some() {
                prop_assert_eq!(&over, &Some((succeeded, failed, world.pods_made)), "a finished Job went on");
                prop_assert!(active.is_empty());
            } else if finished(&job).is_some() {
                over = Some((succeeded, failed, world.pods_made));
                prop_assert!(!world.pods().iter().any(pod_facts::tracked));
            }
            let mut indexes: Vec<_> = active.iter().filter_map(facts::completion_index).collect();
            indexes.sort_unstable();
            prop_assert!(indexes.windows(2).all(|w| w[0] != w[1]), "two active pods with one index");
            act(&mut world, &key, step);
            succeeded_pods.extend(world.pods().iter().filter(|p| pod_facts::phase(p) == "Succeeded" && pod_facts::tracked(p))
                .map(|p| p.metadata.uid.clone().unwrap()));
        }
        world.settle(&key);
        if !(indexed && completions.is_some()) {
            prop_assert_eq!(failures(&world, &key).0 as usize, succeeded_pods.len(), "every success counts once");
        }
    }
}
