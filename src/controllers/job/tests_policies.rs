//! podFailurePolicy, successPolicy and backoffLimitPerIndex on a virtual clock (SEMANTICS.md §3).

use k8s_openapi::api::batch::v1::{JobStatus, PodFailurePolicy};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::failure_policy::{Outcome, judge};
use super::*;
use crate::controllers::world::{World, at, seconds};
use crate::controllers::{pods as facts_of, taints};

/// A world with one Job `j` of this spec (restartPolicy Never), as sync would have made it.
pub(super) fn world(mut spec: Value) -> (World, Key) {
    let mut world = World::new("2026-01-01T00:00:00Z");
    spec["template"] = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let meta = json!({"name": "j", "namespace": "default", "uid": "job-uid", "generation": 1, "creationTimestamp": world.now.to_string()});
    let mut job: Job = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
    prepare(&mut job);
    let key = world.put(job.into());
    (world, key)
}

fn indexed(completions: i32, parallelism: i32, more: Value) -> (World, Key) {
    let mut spec = json!({"completionMode": "Indexed", "completions": completions, "parallelism": parallelism});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world(spec)
}

pub(super) fn status(world: &World, key: &Key) -> JobStatus {
    world.job(key).status.unwrap_or_default()
}

/// `Type=Status Reason: message` of every condition.
fn conditions(world: &World, key: &Key) -> Vec<String> {
    let all = status(world, key).conditions.unwrap_or_default();
    let text = |o: &Option<String>| o.clone().unwrap_or_default();
    all.iter().map(|c| format!("{}={} {}: {}", c.type_, c.status, text(&c.reason), text(&c.message))).collect()
}

fn names(world: &World) -> Vec<String> {
    world.active().iter().map(|p| p.metadata.name.clone().unwrap()).collect()
}

/// The active pod of an index.
fn of_index(world: &World, index: i32) -> Option<Pod> {
    world.active().into_iter().find(|p| facts::completion_index(p) == Some(index))
}

fn end_index(world: &mut World, index: i32, code: i32) {
    let name = of_index(world, index).unwrap_or_else(|| panic!("index {index} does not run")).metadata.name.unwrap();
    world.exit(&name, code);
}

/// (job-index-failure-count, job-index-ignored-failure-count) of the active pod of an index.
fn annotated(world: &World, index: i32) -> (Option<String>, Option<String>) {
    let pod = of_index(world, index).unwrap();
    let read = |name: &str| facts_of::annotation(&pod.metadata, &format!("batch.kubernetes.io/{name}")).map(str::to_owned);
    (read("job-index-failure-count"), read("job-index-ignored-failure-count"))
}

fn rules(rules: Value) -> Value {
    json!({"rules": rules})
}

fn codes(action: &str, operator: &str, values: &[i32]) -> Value {
    json!({"action": action, "onExitCodes": {"operator": operator, "values": values}})
}

fn disrupted(action: &str) -> Value {
    json!({"action": action, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]})
}

#[test]
fn the_first_rule_that_matches_decides() {
    let pod = |containers: &[(&str, i32)], init: &[(&str, i32)]| -> Pod {
        let statuses = |all: &[(&str, i32)]| -> Vec<Value> {
            let one = |(name, code): &(&str, i32)| {
                json!({"name": name, "ready": false, "restartCount": 0, "image": "", "imageID": "",
                "state": {"terminated": {"exitCode": code}}})
            };
            all.iter().map(one).collect()
        };
        let status = json!({"phase": "Failed", "containerStatuses": statuses(containers), "initContainerStatuses": statuses(init)});
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "status": status})).unwrap()
    };
    let of = |list: Value, pod: &Pod| judge(Some(&serde_json::from_value::<PodFailurePolicy>(rules(list)).unwrap()), pod);
    let failed = |text: &str| Outcome::JobFailed(text.to_owned());
    let one = pod(&[("c", 7)], &[]);
    assert_eq!(judge(None, &one), Outcome::Counted);
    assert_eq!(of(json!([codes("Ignore", "In", &[7]), codes("FailJob", "In", &[7])]), &one), Outcome::Ignored);
    assert_eq!(of(json!([codes("Count", "In", &[7]), codes("FailJob", "NotIn", &[1])]), &one), Outcome::Counted);
    assert_eq!(of(json!([codes("FailIndex", "NotIn", &[8])]), &one), Outcome::IndexFailed);
    assert_eq!(of(json!([codes("FailJob", "In", &[8])]), &one), Outcome::Counted, "no rule matches: it counts");
    let message = "Container c for pod n/p failed with exit code 7 matching FailJob rule at index 1";
    assert_eq!(of(json!([disrupted("Ignore"), codes("FailJob", "In", &[7])]), &one), failed(message));
    // Exit 0 never matches; main containers come before init containers; a rule may name its container.
    assert_eq!(of(json!([codes("FailJob", "NotIn", &[1])]), &pod(&[("c", 0)], &[])), Outcome::Counted);
    let both = pod(&[("a", 0), ("b", 3)], &[("i", 4)]);
    let message = "Container b for pod n/p failed with exit code 3 matching FailJob rule at index 0";
    assert_eq!(of(json!([codes("FailJob", "In", &[3, 4])]), &both), failed(message));
    let mut named = codes("FailJob", "In", &[3, 4]);
    named["onExitCodes"]["containerName"] = json!("i");
    let message = "Container i for pod n/p failed with exit code 4 matching FailJob rule at index 0";
    assert_eq!(of(json!([named]), &both), failed(message));
}

#[test]
fn fail_job_ends_the_job_with_all_its_pods() {
    let policy = rules(json!([disrupted("Ignore"), codes("FailJob", "In", &[42])]));
    let (mut world, key) = world(json!({"completions": 4, "parallelism": 2, "podFailurePolicy": policy}));
    assert_eq!(world.job(&key).spec.unwrap().pod_replacement_policy.as_deref(), Some("Failed"), "the default with a policy");
    world.settle(&key);
    let name = names(&world).remove(0);
    world.exit(&name, 42);
    world.settle(&key);
    let message = format!("Container c for pod default/{name} failed with exit code 42 matching FailJob rule at index 1");
    assert_eq!(conditions(&world, &key), [format!("FailureTarget=True PodFailurePolicy: {message}")]);
    assert_eq!((names(&world).len(), status(&world, &key).terminating), (0, Some(1)));
    world.finish_deleted();
    world.settle(&key);
    assert_eq!(conditions(&world, &key)[1], format!("Failed=True PodFailurePolicy: {message}"));
    assert_eq!(status(&world, &key).failed, Some(2), "what is stopped with the Job counts as failed");
    let last = world.events.last().unwrap();
    assert_eq!((last.reason.as_str(), last.warning, last.message.as_str()), ("PodFailurePolicy", true, message.as_str()));
    assert_eq!(status(&world, &key).uncounted_terminated_pods, Some(Default::default()));
}

#[test]
fn ignored_failures_count_for_the_back_off_only() {
    let policy = rules(json!([codes("Ignore", "In", &[1])]));
    let (mut world, key) = world(json!({"backoffLimit": 0, "podFailurePolicy": policy}));
    for wait in [10, 20, 40] {
        world.settle(&key);
        let name = names(&world).remove(0);
        world.exit(&name, 1);
        world.settle(&key);
        world.step(&key);
        assert_eq!((world.wake_at, status(&world, &key).failed), (Some(world.now + seconds(wait)), None));
        world.now += seconds(wait);
    }
    world.settle(&key);
    let name = names(&world).remove(0);
    world.exit(&name, 2);
    world.settle(&key);
    assert_eq!(conditions(&world, &key)[1], "Failed=True BackoffLimitExceeded: Job has reached the specified backoff limit");
    assert_eq!(status(&world, &key).failed, Some(1));
}

#[test]
fn an_evicted_pod_is_replaced_when_it_is_gone_and_ignored_if_the_policy_says_so() {
    for (action, failed) in [("Ignore", None), ("Count", Some(1))] {
        let policy = rules(json!([disrupted(action), codes("FailJob", "NotIn", &[200])]));
        let (mut world, key) = world(json!({"podFailurePolicy": policy}));
        world.settle(&key);
        let name = names(&world).remove(0);
        world.run(&name);
        world.node.spec = serde_json::from_value(json!({"taints": [{"key": "k", "effect": "NoExecute"}]})).unwrap();
        let pods = world.of_kind(Kind::Pod);
        let plan = world.plan(|_, cx| taints::reconcile(&pods, cx));
        world.apply(plan);
        world.node.spec = None;
        world.settle(&key);
        assert_eq!((world.pods().len(), status(&world, &key).terminating), (1, Some(1)), "replaced only when it has failed");
        // Its worker says Failed first; the object goes when it was counted.
        world.exit(&name, 143);
        world.settle(&key);
        assert_eq!((conditions(&world, &key), status(&world, &key).failed), (vec![], failed), "{action}: not FailJob for its 143");
        world.finish_deleted();
        world.now += seconds(10);
        world.settle(&key);
        assert_eq!((names(&world).len(), world.pods().len()), (1, 1));
    }
}

#[test]
fn a_pod_the_host_took_down_is_judged_by_conditions_only() {
    let policy = |second: Value| json!({"backoffLimit": 0, "podFailurePolicy": rules(json!([codes("FailJob", "In", &[137]), second]))});
    let (mut excused, key) = world(policy(codes("FailJob", "NotIn", &[1])));
    excused.settle(&key);
    let name = names(&excused).remove(0);
    excused.interrupt(&name);
    excused.settle(&key);
    assert_eq!((names(&excused).len(), status(&excused, &key).failed), (1, None), "137 of a shutdown says nothing about the program");
    let (mut asked, key) = world(policy(disrupted("FailJob")));
    asked.settle(&key);
    let name = names(&asked).remove(0);
    asked.interrupt(&name);
    asked.settle(&key);
    let message = format!("Pod default/{name} has condition DisruptionTarget matching FailJob rule at index 1");
    assert_eq!(conditions(&asked, &key)[0], format!("FailureTarget=True PodFailurePolicy: {message}"));
}

#[test]
fn a_pod_given_up_before_cannot_fail_the_job() {
    let policy = rules(json!([codes("FailJob", "NotIn", &[1])]));
    let (mut world, key) = world(json!({"podFailurePolicy": policy}));
    world.settle(&key);
    let name = names(&world).remove(0);
    let mut job = world.job(&key);
    job.spec.as_mut().unwrap().suspend = Some(true);
    world.put(job.into());
    world.settle(&key);
    world.exit(&name, 143);
    world.settle(&key);
    assert_eq!(conditions(&world, &key), ["Suspended=True JobSuspended: Job suspended"]);
}

#[test]
fn success_policy_ends_the_job_and_its_pods_do_not_count_as_failed() {
    let cases = [
        (json!([{"succeededIndexes": "0,2-4", "succeededCount": 2}]), vec![1, 0, 3], 0),
        (json!([{"succeededIndexes": "0"}, {"succeededCount": 2}]), vec![4, 2], 1),
        (json!([{"succeededIndexes": "1-2"}]), vec![2, 1], 0),
    ];
    for (list, order, rule) in cases {
        let (mut world, key) = indexed(5, 5, json!({"successPolicy": {"rules": list}}));
        world.settle(&key);
        for index in &order {
            assert_eq!(conditions(&world, &key), Vec::<String>::new());
            end_index(&mut world, *index, 0);
            world.settle(&key);
        }
        let why = format!("SuccessPolicy: Matched rules at index {rule}");
        assert_eq!(conditions(&world, &key), [format!("SuccessCriteriaMet=True {why}")]);
        assert_eq!((names(&world).len(), status(&world, &key).completion_time), (0, None));
        world.finish_deleted();
        world.settle(&key);
        assert_eq!(conditions(&world, &key)[1], format!("Complete=True {why}"));
        let done = status(&world, &key);
        assert_eq!((done.succeeded, done.failed, done.completion_time.unwrap().0), (Some(order.len() as i32), None, world.now));
        assert_eq!((world.events.last().unwrap().reason.as_str(), world.event_count("Completed")), ("Completed", 1));
    }
}

#[test]
fn each_index_has_its_own_back_off_and_fails_on_failure_limit_plus_one() {
    let (mut world, key) = indexed(3, 3, json!({"backoffLimitPerIndex": 1}));
    assert_eq!(world.job(&key).spec.unwrap().backoff_limit, Some(i32::MAX));
    world.settle(&key);
    assert_eq!((annotated(&world, 1), status(&world, &key).failed_indexes.as_deref()), ((Some("0".into()), None), Some("")));
    end_index(&mut world, 1, 1);
    world.settle(&key);
    world.step(&key);
    assert_eq!((world.wake_at, status(&world, &key).failed), (Some(world.now + seconds(10)), None), "counted when it is replaced");
    assert!(world.pods().iter().any(|p| facts_of::terminal(p) && facts_of::tracked(p)), "it keeps its finalizer until then");
    end_index(&mut world, 0, 0);
    world.settle(&key);
    world.now += seconds(10);
    world.settle(&key);
    assert_eq!((annotated(&world, 1), status(&world, &key).failed), ((Some("1".into()), None), Some(1)));
    end_index(&mut world, 1, 1);
    world.settle(&key);
    let now = status(&world, &key);
    assert_eq!((now.failed_indexes.as_deref(), now.completed_indexes.as_deref(), now.failed), (Some("1"), Some("0"), Some(2)));
    world.now += seconds(10_000);
    world.settle(&key);
    assert_eq!((of_index(&world, 1), conditions(&world, &key)), (None, vec![]), "it is not tried again; the others go on");
    end_index(&mut world, 2, 0);
    world.settle(&key);
    assert_eq!(conditions(&world, &key)[1], "Failed=True FailedIndexes: Job has failed indexes");
    assert_eq!((status(&world, &key).completed_indexes.as_deref(), world.event_count("FailedIndexes")), (Some("0,2"), 1));
}

#[test]
fn more_failed_indexes_than_allowed_end_the_job() {
    let policy = rules(json!([codes("FailIndex", "In", &[9])]));
    let more = json!({"backoffLimitPerIndex": 5, "maxFailedIndexes": 1, "podFailurePolicy": policy});
    let (mut world, key) = indexed(6, 3, more);
    world.settle(&key);
    end_index(&mut world, 0, 9);
    world.settle(&key);
    assert_eq!((status(&world, &key).failed_indexes.as_deref(), conditions(&world, &key)), (Some("0"), vec![]));
    assert!(of_index(&world, 3).is_some(), "FailIndex: its place goes to the next index at once");
    end_index(&mut world, 1, 9);
    world.settle(&key);
    let why = "MaxFailedIndexesExceeded: Job has exceeded the specified maximal number of failed indexes";
    assert_eq!(conditions(&world, &key), [format!("FailureTarget=True {why}")]);
    world.finish_deleted();
    world.settle(&key);
    assert_eq!(conditions(&world, &key)[1], format!("Failed=True {why}"));
    assert_eq!(status(&world, &key).failed_indexes.as_deref(), Some("0,1"));
}

#[test]
fn an_index_that_waits_holds_its_place_and_the_others_do_not_wait_for_it() {
    let (mut world, key) = indexed(4, 2, json!({"backoffLimitPerIndex": 5}));
    world.settle(&key);
    end_index(&mut world, 0, 1);
    end_index(&mut world, 1, 0);
    world.settle(&key);
    assert_eq!((of_index(&world, 0), of_index(&world, 2).is_some(), of_index(&world, 3)), (None, true, None));
    world.now += seconds(4);
    end_index(&mut world, 2, 1);
    world.settle(&key);
    world.step(&key);
    assert_eq!((names(&world).len(), world.wake_at), (0, Some(at("2026-01-01T00:00:10Z"))), "0 and 2 hold both places");
    world.now = at("2026-01-01T00:00:10Z");
    world.settle(&key);
    assert!(of_index(&world, 0).is_some() && of_index(&world, 2).is_none());
    world.step(&key);
    assert_eq!(world.wake_at, Some(at("2026-01-01T00:00:14Z")));
}

#[test]
fn ignored_failures_of_an_index_are_counted_apart_and_the_hosts_are_not() {
    let policy = rules(json!([codes("Ignore", "In", &[1])]));
    let (mut world, key) = indexed(1, 1, json!({"backoffLimitPerIndex": 1, "podFailurePolicy": policy}));
    let mut go_on = |code: i32, wait: i64| {
        world.settle(&key);
        let name = of_index(&world, 0).unwrap().metadata.name.unwrap();
        if code == 137 {
            world.interrupt(&name)
        } else {
            world.exit(&name, code)
        };
        world.now += seconds(wait);
        world.settle(&key);
        (annotated(&world, 0), status(&world, &key).failed)
    };
    let text = |n: &str| Some(n.to_owned());
    assert_eq!(go_on(1, 10), ((text("0"), text("1")), None));
    assert_eq!(go_on(2, 20), ((text("1"), text("1")), Some(1)));
    assert_eq!(go_on(137, 0), ((text("1"), text("1")), Some(1)), "replaced at once, its failures remembered");
    assert_eq!(go_on(1, 40), ((text("1"), text("2")), Some(1)));
    end_index(&mut world, 0, 2);
    world.settle(&key);
    assert_eq!(conditions(&world, &key)[1], "Failed=True FailedIndexes: Job has failed indexes");
}

#[test]
fn a_clock_set_back_does_not_hold_an_index_for_long() {
    let (mut world, key) = indexed(1, 1, json!({"backoffLimitPerIndex": 5}));
    world.settle(&key);
    end_index(&mut world, 0, 1);
    world.settle(&key);
    world.now -= seconds(86_400);
    world.settle(&key);
    assert!(of_index(&world, 0).is_some());
}

#[test]
fn a_limit_for_the_whole_job_holds_beside_the_limit_of_each_index() {
    let (mut world, key) = indexed(4, 4, json!({"backoffLimitPerIndex": 3, "backoffLimit": 1}));
    world.settle(&key);
    end_index(&mut world, 0, 1);
    end_index(&mut world, 1, 1);
    world.settle(&key);
    assert_eq!(conditions(&world, &key), ["FailureTarget=True BackoffLimitExceeded: Job has reached the specified backoff limit"]);
    assert_eq!(status(&world, &key).failed, Some(4), "nothing waits to be counted any more");
}

#[test]
fn of_two_reasons_in_one_look_the_first_in_kubernetes_order_counts() {
    let policy = rules(json!([codes("FailJob", "In", &[3])]));
    let success = json!({"rules": [{"succeededIndexes": "0"}]});
    let more = json!({"backoffLimitPerIndex": 0, "maxFailedIndexes": 0, "backoffLimit": 0, "activeDeadlineSeconds": 5,
        "podFailurePolicy": policy, "successPolicy": success});
    let reason = |drop: &[&str], codes: [i32; 2]| {
        let mut spec = more.clone();
        drop.iter().for_each(|field| drop_field(&mut spec, field));
        let (mut world, key) = indexed(2, 2, spec);
        world.settle(&key);
        world.now += seconds(10);
        codes.iter().enumerate().for_each(|(index, code)| end_index(&mut world, index as i32, *code));
        world.settle(&key);
        status(&world, &key).conditions.unwrap()[0].reason.clone().unwrap()
    };
    assert_eq!(reason(&[], [0, 3]), "PodFailurePolicy");
    assert_eq!(reason(&[], [0, 1]), "BackoffLimitExceeded");
    assert_eq!(reason(&["backoffLimit"], [0, 1]), "DeadlineExceeded");
    assert_eq!(reason(&["backoffLimit", "activeDeadlineSeconds"], [0, 1]), "MaxFailedIndexesExceeded");
    assert_eq!(reason(&["backoffLimit", "activeDeadlineSeconds", "maxFailedIndexes"], [0, 1]), "FailedIndexes");
    assert_eq!(reason(&["activeDeadlineSeconds"], [0, 0]), "SuccessPolicy");
    assert_eq!(reason(&["activeDeadlineSeconds", "successPolicy"], [0, 0]), "CompletionsReached");
}

fn drop_field(spec: &mut Value, field: &str) {
    spec.as_object_mut().unwrap().remove(field);
}

#[test]
fn policies_cannot_change_but_the_number_of_failed_indexes_and_the_replacement_can() {
    let hash = |more: Value| immutable_hash(&indexed(3, 3, more).0.job(&Key::new(Kind::Job, "default", "j")));
    let base = json!({"backoffLimitPerIndex": 1});
    let with = |field: &str, value: Value| {
        let mut spec = base.clone();
        spec[field] = value;
        hash(spec)
    };
    assert_eq!(with("maxFailedIndexes", json!(2)), hash(base.clone()));
    assert_eq!(with("podReplacementPolicy", json!("Failed")), hash(base.clone()));
    assert_ne!(with("backoffLimitPerIndex", json!(2)), hash(base.clone()));
    assert_ne!(with("podFailurePolicy", rules(json!([codes("Count", "In", &[1])]))), hash(base.clone()));
    assert_ne!(with("successPolicy", json!({"rules": [{"succeededCount": 1}]})), hash(base.clone()));
}
