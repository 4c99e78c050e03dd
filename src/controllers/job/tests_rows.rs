//! SEMANTICS.md §3, rows about what a pod of a Job carries and about the order in which a Job ends.

use serde_json::json;

use super::tests_policies::{status, world};
use super::*;
use crate::api::well_known::JOB_TRACKING_FINALIZER;
use crate::controllers::pods as facts_of;
use crate::controllers::world::{object, seconds};

#[test]
fn what_every_pod_of_a_job_carries() {
    let (mut world, key) = world(json!({}));
    world.settle(&key);
    let pod = world.pods().remove(0);
    let labels = pod.metadata.labels.unwrap();
    for (name, value) in [
        ("batch.kubernetes.io/job-name", "j"),
        ("batch.kubernetes.io/controller-uid", "job-uid"),
        ("job-name", "j"),
        ("controller-uid", "job-uid"),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
    assert_eq!(pod.metadata.finalizers.unwrap(), [JOB_TRACKING_FINALIZER]);
    let owner = &pod.metadata.owner_references.unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("Job", "job-uid", Some(true)));
    assert_eq!((pod.metadata.generate_name.as_deref(), pod.spec.unwrap().hostname), (Some("j-"), None));
    assert_eq!(pod.metadata.annotations, None, "failures are counted on pods only with backoffLimitPerIndex");
}

#[test]
fn a_long_name_is_cut_so_that_the_index_shows_and_a_variable_of_ones_own_stays() {
    let mut world = crate::controllers::world::World::new("2026-01-01T00:00:00Z");
    let name = "n".repeat(61);
    let env = json!([{"name": "JOB_COMPLETION_INDEX", "value": "mine"}]);
    let spec = json!({"completionMode": "Indexed", "completions": 12, "parallelism": 12, "template": {"spec": {"restartPolicy": "Never",
        "initContainers": [{"name": "i"}], "containers": [{"name": "c", "env": env}]}}});
    let meta = json!({"name": name, "namespace": "default", "uid": "u", "creationTimestamp": world.now.to_string()});
    let mut job = object(Kind::Job, json!({"metadata": meta, "spec": spec})).as_job().unwrap().clone();
    prepare(&mut job);
    let key = world.put(job.into());
    world.settle(&key);
    let pod = world.pods().into_iter().find(|p| facts::completion_index(p) == Some(11)).unwrap();
    let made = pod.metadata.name.unwrap();
    assert!(made.len() == 63 && made.starts_with(&format!("{}-11-", &name[..54])), "{made}");
    let spec = pod.spec.unwrap();
    assert_eq!(spec.hostname, Some(format!("{name}-11")));
    assert_eq!(spec.containers[0].env.as_ref().unwrap()[0].value.as_deref(), Some("mine"));
    assert_eq!((spec.containers[0].env.as_ref().unwrap().len(), spec.init_containers.unwrap()[0].env.as_ref().unwrap().len()), (1, 1));
}

#[test]
fn complete_comes_only_when_the_last_pod_has_terminated() {
    let (mut world, key) = world(json!({"completions": 2, "parallelism": 2}));
    world.settle(&key);
    let mut job = world.job(&key);
    job.spec.as_mut().unwrap().parallelism = Some(1);
    world.put(job.into());
    world.settle(&key);
    assert_eq!(status(&world, &key).terminating, Some(1));
    for _ in 0..2 {
        let name = world.active()[0].metadata.name.clone().unwrap();
        world.exit(&name, 0);
        world.settle(&key);
    }
    let kinds = |world: &crate::controllers::world::World| -> Vec<String> {
        status(world, &key).conditions.unwrap_or_default().into_iter().map(|c| c.type_).collect()
    };
    assert_eq!((kinds(&world), status(&world, &key).completion_time), (vec!["SuccessCriteriaMet".to_owned()], None));
    world.now += seconds(5);
    world.finish_deleted();
    world.settle(&key);
    assert_eq!(kinds(&world), ["SuccessCriteriaMet", "Complete"]);
    let done = status(&world, &key);
    assert_eq!((done.completion_time.unwrap().0, done.terminating, done.succeeded), (world.now, Some(0), Some(2)));
}

#[test]
fn restarts_of_all_containers_of_running_pods_are_summed() {
    let restarted = |main: i32, init: i32, phase: &str| {
        let one = |n: i32| json!([{"name": "c", "ready": false, "restartCount": n, "image": "", "imageID": ""}]);
        serde_json::from_value(json!({"phase": phase, "containerStatuses": one(main), "initContainerStatuses": one(init)})).unwrap()
    };
    for (counts, fails) in [([(1, 1), (0, 0)], false), ([(1, 1), (1, 0)], true), ([(0, 3), (0, 0)], true)] {
        let (mut world, key) = world(json!({"completions": 2, "parallelism": 2, "backoffLimit": 3}));
        let mut job = world.job(&key);
        job.spec.as_mut().unwrap().template.spec.as_mut().unwrap().restart_policy = Some("OnFailure".to_owned());
        world.put(job.into());
        world.settle(&key);
        let names: Vec<String> = world.active().iter().map(|p| p.metadata.name.clone().unwrap()).collect();
        for (name, (main, init)) in names.iter().zip(counts) {
            world.change(name, |p| p.status = Some(restarted(main, init, "Running")));
        }
        world.settle(&key);
        assert_eq!(status(&world, &key).conditions.is_some(), fails, "{counts:?}");
    }
}

#[test]
fn a_ttl_of_zero_removes_the_job_as_soon_as_it_has_ended() {
    let (mut world, key) = world(json!({"ttlSecondsAfterFinished": 0}));
    world.settle(&key);
    let name = world.active()[0].metadata.name.clone().unwrap();
    world.exit(&name, 0);
    world.step(&key);
    assert!(finished(&world.job(&key)).is_some());
    world.step(&key);
    assert!(world.job(&key).metadata.deletion_timestamp.is_some());
    assert!(!world.pods().iter().any(facts_of::tracked));
}

#[test]
fn a_work_queue_of_no_parallelism_waits() {
    let (mut world, key) = world(json!({"parallelism": 0}));
    world.settle(&key);
    world.now += seconds(100_000);
    world.settle(&key);
    assert_eq!((world.pods_made, status(&world, &key).conditions, status(&world, &key).ready), (0, None, Some(0)));
}

#[test]
fn a_job_of_another_controller_is_left_alone() {
    let (mut world, key) = world(json!({"managedBy": "example.com/queue"}));
    assert!(!world.step(&key));
    let (mut world, key) = super::tests_policies::world(json!({"managedBy": "kubernetes.io/job-controller"}));
    assert!(world.step(&key));
}
