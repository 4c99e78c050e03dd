//! What must hold of a Job under every policy, whatever becomes of its pods: each property is a function with a name, asked after every step.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

use super::indexes::Intervals;
use super::tests_moves::{Weights, act, edit, moves};
use super::tests_policies::{status, world};
use super::*;
use crate::controllers::pods as facts_of;
use crate::controllers::world::{World, seconds};

type Checked = Result<(), TestCaseError>;

/// Exit codes that the rules of [`specs`] tell apart.
const UNDER_POLICIES: Weights = Weights { exit: 6, codes: 4, run: 1, admit: 0, pods: 5, most: 50 };

fn specs() -> impl Strategy<Value = Value> {
    let rule = |action: &'static str, code: i32| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
    let failure = prop_oneof![
        2 => Just(None),
        1 => Just(Some(json!({"rules": [rule("Ignore", 1), rule("Count", 2)]}))),
        1 => Just(Some(json!({"rules": [rule("FailIndex", 2), {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}))),
        1 => Just(Some(json!({"rules": [rule("Ignore", 2), rule("FailJob", 3)]}))),
    ];
    let success = prop_oneof![
        2 => Just(None),
        1 => Just(Some(json!({"rules": [{"succeededIndexes": "0,2-3"}, {"succeededCount": 3}]}))),
    ];
    let limits = (prop::option::of(0i32..3), prop::option::of(0i32..3), 0i32..5, any::<bool>());
    (4i32..6, 1i32..5, failure, success, limits).prop_map(|(completions, parallelism, failure, success, limits)| {
        let (per_index, most_failed, limit, only_failed) = limits;
        let mut spec = json!({"completionMode": "Indexed", "completions": completions, "parallelism": parallelism, "backoffLimit": limit});
        let replacement = (only_failed && failure.is_none()).then(|| json!("Failed"));
        // Validation keeps FailIndex and maxFailedIndexes to Jobs with backoffLimitPerIndex.
        let failure = failure.filter(|f| per_index.is_some() || f["rules"][0]["action"] != "FailIndex");
        let fields = [
            ("backoffLimitPerIndex", per_index.map(|n| json!(n))),
            ("maxFailedIndexes", most_failed.filter(|_| per_index.is_some()).map(|n| json!(n))),
            ("podFailurePolicy", failure),
            ("successPolicy", success),
            ("podReplacementPolicy", replacement),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).for_each(|(name, value)| spec[name] = value);
        spec
    })
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    /// Uids of pods that have ended.
    ended: BTreeSet<String>,
    /// Uids of all pods there ever were, with those that are gone.
    known: BTreeSet<String>,
    gone: BTreeSet<String>,
    completed: Intervals,
    failed: Intervals,
    /// Status and number of pods made when the Job finished.
    over: Option<(k8s_openapi::api::batch::v1::JobStatus, usize)>,
}

impl Seen {
    fn check(&mut self, world: &World, key: &Key) -> Checked {
        never_more_than_parallelism_active(world, key)?;
        no_index_runs_twice_at_once(world)?;
        self.no_index_completes_twice(world, key)?;
        self.a_failed_index_never_runs_again(world, key)?;
        self.a_terminated_uid_never_restarts(world)?;
        every_pod_is_counted_once(world, key)?;
        self.a_finished_job_never_runs_again(world, key)
    }

    fn no_index_completes_twice(&mut self, world: &World, key: &Key) -> Checked {
        let now = Intervals::parse(status(world, key).completed_indexes.as_deref().unwrap_or_default());
        prop_assert_eq!(now.overlap(&self.completed), self.completed.total(), "a completed index was forgotten");
        let busy = indexes(world);
        prop_assert!(!busy.iter().any(|index| now.has(*index)), "a completed index runs again: {:?} of {}", busy, now);
        prop_assert_eq!(status(world, key).succeeded.unwrap_or(0), now.total());
        self.completed = now;
        Ok(())
    }

    fn a_failed_index_never_runs_again(&mut self, world: &World, key: &Key) -> Checked {
        let now = Intervals::parse(status(world, key).failed_indexes.as_deref().unwrap_or_default());
        prop_assert_eq!(now.overlap(&self.failed), self.failed.total(), "a failed index was forgotten");
        prop_assert_eq!(now.overlap(&self.completed), 0, "an index both failed and completed");
        let started = self.failed.clone();
        let fresh = world.active().into_iter().filter(|p| !self.known.contains(p.metadata.uid.as_deref().unwrap()));
        let again: Vec<i32> = fresh.filter_map(|p| facts::completion_index(&p)).filter(|index| started.has(*index)).collect();
        prop_assert!(again.is_empty(), "failed indexes have new pods: {:?}", again);
        self.failed = now;
        Ok(())
    }

    fn a_terminated_uid_never_restarts(&mut self, world: &World) -> Checked {
        let pods = world.pods();
        let there: BTreeSet<String> = pods.iter().map(|p| p.metadata.uid.clone().unwrap()).collect();
        prop_assert!(there.is_disjoint(&self.gone), "a pod that was gone is back");
        for pod in &pods {
            let uid = pod.metadata.uid.clone().unwrap();
            prop_assert!(facts_of::terminal(pod) || !self.ended.contains(&uid), "{} runs after its end", uid);
            if facts_of::terminal(pod) {
                self.ended.insert(uid.clone());
            }
        }
        self.gone.extend(self.known.difference(&there).cloned());
        self.known.extend(there);
        Ok(())
    }

    fn a_finished_job_never_runs_again(&mut self, world: &World, key: &Key) -> Checked {
        if let Some(over) = &self.over {
            prop_assert_eq!(over, &(status(world, key), world.pods_made), "a finished Job went on");
            prop_assert!(world.active().is_empty());
        } else if finished(&world.job(key)).is_some() {
            prop_assert!(!world.pods().iter().any(|p| facts_of::tracked(p) || facts_of::terminating(p)), "finished before its pods had");
            self.over = Some((status(world, key), world.pods_made));
        }
        Ok(())
    }
}

fn indexes(world: &World) -> Vec<i32> {
    world.active().iter().filter_map(facts::completion_index).collect()
}

fn never_more_than_parallelism_active(world: &World, key: &Key) -> Checked {
    let most = world.job(key).spec.and_then(|s| s.parallelism).unwrap();
    prop_assert!(world.active().len() <= most as usize);
    prop_assert_eq!(status(world, key).active.unwrap_or(0) as usize, world.active().len());
    Ok(())
}

fn no_index_runs_twice_at_once(world: &World) -> Checked {
    let all = indexes(world);
    prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    Ok(())
}

fn every_pod_is_counted_once(world: &World, key: &Key) -> Checked {
    let status = status(world, key);
    let waiting = world.pods().iter().filter(|p| facts_of::tracked(p)).count();
    let counted = (status.failed.unwrap_or(0) + status.succeeded.unwrap_or(0)) as usize;
    prop_assert!(counted + waiting <= world.pods_made, "{} counted, {} to be counted, {} made", counted, waiting, world.pods_made);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn safe_under_every_policy(spec in specs(), steps in moves(UNDER_POLICIES)) {
        let (mut world, key) = world(spec);
        let mut seen = Seen::default();
        for step in &steps {
            world.settle(&key);
            seen.check(&world, &key)?;
            act(&mut world, &key, step);
        }
        // Left alone, with pods that succeed, it comes to an end.
        edit(&mut world, &key, |s| (s.suspend, s.parallelism) = (Some(false), Some(5)));
        for _ in 0..60 {
            world.settle(&key);
            seen.check(&world, &key)?;
            world.now += seconds(601);
            world.finish_deleted();
            let live: Vec<String> = world.active().iter().map(|p| p.metadata.name.clone().unwrap()).collect();
            live.iter().for_each(|name| world.exit(name, 0));
        }
        prop_assert!(seen.over.is_some(), "it never ends");
    }
}
