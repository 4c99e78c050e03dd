//! Counting, back-off, rules, indexes, suspend and ttl on a virtual clock.

mod properties;
mod scaling;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobStatus;
use serde_json::{Value, json};

use super::tests_moves::edit;
use super::*;
use crate::api::well_known::{KEEP_OBJECT, NOT_ADMITTED, SOURCE as FROM_FILE};
use crate::controllers::pods as pod_facts;
use crate::controllers::world::{World, at, seconds};

const START: &str = "2026-01-01T00:00:00Z";

/// A world with one Job of this spec, as sync would have made it.
fn world(mut spec: Value, restart: &str) -> (World, Key) {
    let mut world = World::new(START);
    if spec.get("template").is_none() {
        spec["template"] = json!({"spec": {"restartPolicy": restart, "containers": [{"name": "c", "image": "i"}]}});
    }
    let meta = json!({"name": "j", "namespace": "default", "uid": "job-uid", "generation": 1, "creationTimestamp": START,
        "annotations": {FROM_FILE: "j.yaml#0"}});
    let mut job: Job = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
    prepare(&mut job);
    let key = world.put(job.into());
    (world, key)
}

fn status(world: &World, key: &Key) -> JobStatus {
    world.job(key).status.unwrap_or_default()
}

fn conditions(world: &World, key: &Key) -> Vec<String> {
    let all = status(world, key).conditions.unwrap_or_default();
    all.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason.as_deref().unwrap_or("-"))).collect()
}

fn names(world: &World) -> Vec<String> {
    world.active().iter().map(|p| p.metadata.name.clone().unwrap()).collect()
}

fn failures(world: &World, key: &Key) -> (i32, i32) {
    let status = status(world, key);
    (status.succeeded.unwrap_or(0), status.failed.unwrap_or(0))
}

/// The check of SEMANTICS §3: 8 completions, 2 at a time, each `sleep 30; exit 42`, 1.5 s from creation to start as on a real node.
#[test]
fn nine_minutes_and_six_seconds() {
    let (mut world, key) = world(json!({"completions": 8, "parallelism": 2, "backoffLimit": 6}), "Never");
    let begin = world.now;
    let (mut gaps, mut last_end) = (Vec::new(), None::<Timestamp>);
    for _ in 0..20 {
        world.wake_at = None;
        world.step(&key);
        if finished(&world.job(&key)).is_some() {
            break;
        }
        let running = names(&world);
        assert!(running.len() <= 2);
        if running.is_empty() {
            world.now = world.wake_at.expect("a back-off to wait for");
            continue;
        }
        if let Some(end) = last_end {
            gaps.push(world.now.duration_since(end).as_secs());
        }
        world.now += jiff::SignedDuration::from_millis(31_500);
        running.iter().for_each(|name| world.exit(name, 42));
        last_end = Some(world.now);
    }
    assert_eq!(gaps, [20, 80, 320]);
    assert_eq!(failures(&world, &key), (0, 8));
    assert_eq!(world.now.duration_since(begin), seconds(9 * 60 + 6));
    assert_eq!(conditions(&world, &key), ["FailureTarget=True BackoffLimitExceeded", "Failed=True BackoffLimitExceeded"]);
    assert_eq!(world.events.last().unwrap().message, "Job has reached the specified backoff limit");
    assert_eq!(world.pods().len(), 8, "failed pods and their logs stay");
}

#[test]
fn completes_and_never_runs_again() {
    let (mut world, key) = world(json!({"completions": 3, "parallelism": 2}), "Never");
    for wanted in [2, 1] {
        world.settle(&key);
        assert_eq!(status(&world, &key).active, Some(wanted));
        for name in names(&world) {
            world.run(&name);
        }
        world.settle(&key);
        assert_eq!(status(&world, &key).ready, Some(wanted));
        world.now += seconds(10);
        for name in names(&world) {
            world.exit(&name, 0);
        }
    }
    world.settle(&key);
    let done = status(&world, &key);
    assert_eq!((done.succeeded, done.failed, done.active), (Some(3), None, None));
    assert_eq!((done.start_time.unwrap().0, done.completion_time.unwrap().0), (at(START), at("2026-01-01T00:00:20Z")));
    assert_eq!(conditions(&world, &key), ["SuccessCriteriaMet=True CompletionsReached", "Complete=True CompletionsReached"]);
    assert_eq!(world.event_count("Completed"), 1);
    world.objects.retain(|k, _| k.kind == Kind::Job);
    world.now += seconds(100_000);
    world.settle(&key);
    assert_eq!(world.pods_made, 3);
}

#[test]
fn a_work_queue_ends_with_its_first_success_and_the_last_pod() {
    let (mut world, key) = world(json!({"parallelism": 3}), "Never");
    world.settle(&key);
    let all = names(&world);
    assert_eq!(all.len(), 3);
    world.exit(&all[0], 0);
    world.settle(&key);
    assert_eq!(names(&world).len(), 2, "none comes, none goes");
    world.exit(&all[1], 1);
    world.settle(&key);
    assert!(conditions(&world, &key).is_empty());
    world.exit(&all[2], 0);
    world.settle(&key);
    assert_eq!(failures(&world, &key), (2, 1));
    assert!(finished(&world.job(&key)).unwrap().complete);
}

#[test]
fn a_success_forgets_the_failures_before_it() {
    let (mut world, key) = world(json!({"completions": 9, "parallelism": 2}), "Never");
    world.settle(&key);
    let first = names(&world);
    world.exit(&first[0], 1);
    world.now += seconds(1);
    world.exit(&first[1], 0);
    world.settle(&key);
    assert_eq!(names(&world).len(), 2, "the failure came before the success: no back-off");
    let second = names(&world);
    world.exit(&second[0], 0);
    world.now += seconds(1);
    world.exit(&second[1], 1);
    world.settle(&key);
    assert_eq!(names(&world).len(), 0);
    assert_eq!(world.wake_at, Some(world.now + seconds(10)));
}

#[test]
fn indexed() {
    let (mut world, key) = world(json!({"completions": 5, "parallelism": 3, "completionMode": "Indexed"}), "Never");
    world.settle(&key);
    let mut running = names(&world);
    running.sort();
    assert!(running.iter().zip(["j-0-", "j-1-", "j-2-"]).all(|(name, base)| name.starts_with(base) && name.len() == base.len() + 5));
    let pod = &world.active()[0];
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!(spec.hostname.as_deref(), Some("j-0"));
    assert_eq!(pod.metadata.labels.as_ref().unwrap()["batch.kubernetes.io/job-completion-index"], "0");
    let env = &spec.containers[0].env.as_ref().unwrap()[0];
    let path = &env.value_from.as_ref().unwrap().field_ref.as_ref().unwrap().field_path;
    assert_eq!((env.name.as_str(), path.as_str()), ("JOB_COMPLETION_INDEX", "metadata.labels['batch.kubernetes.io/job-completion-index']"));
    world.exit(&running[0], 0);
    world.exit(&running[2], 0);
    world.settle(&key);
    assert_eq!(status(&world, &key).completed_indexes.as_deref(), Some("0,2"));
    assert!(names(&world).iter().any(|n| n.starts_with("j-3-")) && names(&world).iter().any(|n| n.starts_with("j-4-")));
    world.exit(&running[1], 1);
    world.settle(&key);
    world.now += seconds(10);
    world.settle(&key);
    assert!(names(&world).iter().any(|n| n.starts_with("j-1-")), "the lowest pending index comes first");
    for name in names(&world) {
        world.exit(&name, 0);
    }
    world.settle(&key);
    assert_eq!(status(&world, &key).completed_indexes.as_deref(), Some("0-4"));
    assert_eq!(failures(&world, &key), (5, 1));
    assert!(finished(&world.job(&key)).unwrap().complete);
}

#[test]
fn on_failure_counts_restarts_and_keeps_the_last_pod() {
    let (mut world, key) = world(json!({"backoffLimit": 2}), "OnFailure");
    world.settle(&key);
    let name = names(&world).remove(0);
    let restarted = |n: i32| {
        move |p: &mut k8s_openapi::api::core::v1::Pod| {
            let status = json!({"phase": "Running", "containerStatuses":
            [{"name": "c", "ready": true, "restartCount": n, "image": "i", "imageID": "", "state": {"running": {}}}]});
            p.status = serde_json::from_value(status).unwrap();
        }
    };
    world.change(&name, restarted(1));
    world.settle(&key);
    assert!(conditions(&world, &key).is_empty());
    world.change(&name, restarted(2));
    world.settle(&key);
    assert_eq!(conditions(&world, &key), ["FailureTarget=True BackoffLimitExceeded"]);
    assert_eq!((failures(&world, &key), status(&world, &key).terminating), ((0, 1), Some(1)));
    assert!(world.pods()[0].metadata.annotations.as_ref().unwrap().contains_key(KEEP_OBJECT));
    world.finish_deleted();
    world.settle(&key);
    assert!(!finished(&world.job(&key)).unwrap().complete);
    assert_eq!(pod_facts::phase(&world.pods()[0]), "Failed");
    // Deleting the Job takes the kept pod too.
    let plan = Plan { delete: vec![cascade::whole(&world.objects[&key])], ..Plan::default() };
    world.apply(plan);
    world.settle(&key);
    world.finish_deleted();
    world.step(&key);
    assert!(world.objects.is_empty());
}

#[test]
fn on_failure_with_limit_zero_fails_at_the_first_restart_only() {
    for (restarts, fails) in [(0, false), (1, true)] {
        let (mut world, key) = world(json!({"backoffLimit": 0}), "OnFailure");
        world.settle(&key);
        let name = names(&world).remove(0);
        world.change(&name, |p| {
            let status = json!({"phase": "Running", "initContainerStatuses":
                [{"name": "c", "ready": true, "restartCount": restarts, "image": "i", "imageID": ""}]});
            p.status = serde_json::from_value(status).unwrap();
        });
        world.settle(&key);
        assert_eq!(!conditions(&world, &key).is_empty(), fails);
    }
}

#[test]
fn the_deadline_ends_it_once_all_pods_have() {
    let (mut world, key) = world(json!({"activeDeadlineSeconds": 60, "completions": 2, "parallelism": 2}), "Never");
    world.settle(&key);
    assert_eq!(world.wake_at, Some(at("2026-01-01T00:01:00Z")));
    world.now += seconds(59);
    world.settle(&key);
    assert!(conditions(&world, &key).is_empty());
    world.now += seconds(1);
    world.settle(&key);
    assert_eq!(conditions(&world, &key), ["FailureTarget=True DeadlineExceeded"]);
    assert_eq!((failures(&world, &key), status(&world, &key).terminating), ((0, 2), Some(2)));
    world.finish_deleted();
    world.settle(&key);
    assert_eq!(conditions(&world, &key)[1], "Failed=True DeadlineExceeded");
    assert_eq!(failures(&world, &key), (0, 2));
    assert!(world.pods().is_empty());
}

#[test]
fn pods_the_host_took_down_are_replaced_and_not_counted() {
    let (mut world, key) = world(json!({"backoffLimit": 0}), "Never");
    world.settle(&key);
    let name = names(&world).remove(0);
    world.interrupt(&name);
    world.settle(&key);
    assert_eq!((failures(&world, &key), names(&world).len()), ((0, 0), 1));
    let second = names(&world).remove(0);
    world.exit(&second, 1);
    world.settle(&key);
    assert_eq!(conditions(&world, &key)[1], "Failed=True BackoffLimitExceeded");
}

#[test]
fn a_deleted_pod_has_failed_at_once_or_when_it_is_gone() {
    for (policy, failed, active) in [("TerminatingOrFailed", 1, 0), ("Failed", 0, 0)] {
        let (mut world, key) = world(json!({"podReplacementPolicy": policy}), "Never");
        world.settle(&key);
        let name = names(&world).remove(0);
        let deletion = pod_facts::deletion(&world.pods()[0]);
        world.run(&name);
        world.apply(Plan { delete: vec![deletion], ..Plan::default() });
        world.now += seconds(1);
        world.settle(&key);
        assert_eq!((failures(&world, &key).1, names(&world).len()), (failed, active), "{policy}");
        world.finish_deleted();
        world.settle(&key);
        assert_eq!(failures(&world, &key).1, 1, "{policy}");
        world.now += seconds(10);
        world.settle(&key);
        assert_eq!(names(&world).len(), 1, "{policy}");
    }
}

#[test]
fn a_node_that_does_not_suit_gets_no_pods_and_says_why_once() {
    let (mut world, key) = world(
        json!({"completions": 2, "template": {"spec": {"restartPolicy": "Never", "nodeSelector": {"gpu": "yes"},
        "containers": [{"name": "c"}]}}}),
        "Never",
    );
    world.settle(&key);
    world.settle(&key);
    let job = world.job(&key);
    assert_eq!((job.status, world.pods_made), (None, 0));
    let why = "node(s) didn't match Pod's node affinity/selector (gpu=yes: the node has no such label)";
    assert_eq!(job.metadata.annotations.unwrap()[NOT_ADMITTED], why);
    assert_eq!(world.events.len(), 1);
    assert_eq!(world.events[0].message, format!("0/1 nodes are available: 1 {why}."));
    world.node.metadata.labels = Some([("gpu".to_owned(), "yes".to_owned())].into());
    world.settle(&key);
    assert!(!world.job(&key).metadata.annotations.unwrap().contains_key(NOT_ADMITTED));
    let first = names(&world).remove(0);
    // Running pods go on when the label goes, are counted, and nothing new starts.
    world.node.metadata.labels = None;
    world.exit(&first, 0);
    world.settle(&key);
    assert_eq!((failures(&world, &key), names(&world).len()), ((1, 0), 0));
}

#[test]
fn time_to_live_removes_job_and_pods_and_leaves_a_tombstone() {
    let (mut world, key) = world(json!({"ttlSecondsAfterFinished": 30}), "Never");
    world.settle(&key);
    let name = names(&world).remove(0);
    world.exit(&name, 0);
    world.settle(&key);
    world.settle(&key);
    assert_eq!(world.wake_at, Some(world.now + seconds(30)));
    world.now += seconds(30);
    world.step(&key);
    assert!(world.job(&key).metadata.deletion_timestamp.is_some());
    world.settle(&key);
    world.finish_deleted();
    world.step(&key);
    assert!(world.objects.is_empty());
    let stone: Tombstone = serde_json::from_slice(&world.records["job-tombstone/default/j"]).unwrap();
    assert_eq!((stone.source.as_str(), stone.immutable.len()), ("j.yaml#0", 64));
}

#[test]
fn the_back_off_survives_pods_that_were_deleted() {
    let (mut world, key) = world(json!({"backoffLimit": 6}), "Never");
    world.settle(&key);
    let name = names(&world).remove(0);
    world.exit(&name, 1);
    world.settle(&key);
    world.objects.retain(|k, _| k.kind == Kind::Job);
    world.settle(&key);
    assert_eq!((world.wake_at, names(&world).len()), (Some(world.now + seconds(10)), 0));
    // A clock set back makes it wait anew, not for ever.
    world.now -= seconds(5000);
    world.settle(&key);
    assert_eq!(world.wake_at, Some(world.now + seconds(10)));
}

#[test]
fn what_can_change_and_what_cannot() {
    let job = |spec: Value| Job { spec: Some(serde_json::from_value(spec).unwrap()), ..Job::default() };
    let base = json!({"template": {"spec": {"containers": [{"name": "c"}]}}});
    let hash = |patch: Value| {
        let mut spec = base.clone();
        spec.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        immutable_hash(&job(spec))
    };
    let original = hash(json!({}));
    let mutable = json!({"parallelism": 4, "completions": 1, "suspend": true, "activeDeadlineSeconds": 1, "backoffLimit": 1, "ttlSecondsAfterFinished": 1});
    assert_eq!(hash(mutable), original);
    for patch in
        [json!({"completions": 2}), json!({"completionMode": "Indexed"}), json!({"template": {"spec": {"containers": [{"name": "d"}]}}})]
    {
        assert_ne!(hash(patch), original);
    }
    let mut prepared = job(base.clone());
    prepared.metadata.uid = Some("u".into());
    prepare(&mut prepared);
    assert_eq!(immutable_hash(&prepared), original, "what is generated does not count");
    assert_eq!(prepared.spec.unwrap().template.metadata.unwrap().labels.unwrap().len(), 4);
}
