//! A Job made by hand: as kubectl makes it, and counted as the CronJob's own from then on.

use serde_json::json;

use super::super::tests_rows::world;
use super::*;
use crate::controllers::world::World;

fn by_hand(world: &mut World, key: &Key, name: Option<&str>) -> Result<String, Refusal> {
    let cron_job = world.objects[key].as_cron_job().unwrap().clone();
    let plan = world.plan(|world, cx| {
        trigger(&cron_job, name, |n| world.objects.contains_key(&Key::new(Kind::Job, "default", n)), &mut cx.names, cx.now)
    })?;
    let made = plan.create[0].key().name;
    world.apply(plan);
    Ok(made)
}

fn job_json(world: &World, name: &str) -> serde_json::Value {
    world.objects[&Key::new(Kind::Job, "default", name)].to_json()
}

#[test]
fn it_is_made_as_kubectl_makes_it() {
    let (mut world, key) = world(json!({"jobTemplate": {"metadata": {"labels": {"l": "v"}, "annotations": {"a": "b"}}, "spec":
        {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}));
    assert_eq!(by_hand(&mut world, &key, Some("now")), Ok("now".into()));
    let made = job_json(&world, "now");
    let owner = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "cj", "controller": true}]);
    assert_eq!(made["metadata"]["ownerReferences"], owner);
    assert_eq!(made["metadata"]["annotations"], json!({"cronjob.kubernetes.io/instantiate": "manual", "a": "b"}));
    assert_eq!((&made["metadata"]["labels"], &made["spec"]["backoffLimit"]), (&json!({"l": "v"}), &json!(6)));
    let uid = made["metadata"]["uid"].as_str().unwrap();
    assert_eq!(made["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/controller-uid"], uid);
    assert_eq!(world.objects[&key].to_json()["status"]["active"][0]["uid"], uid);
    assert_eq!(world.events.last().unwrap().message, "Created job now, triggered by hand");
    world.settle(&key);
    assert_eq!(world.event_count("UnexpectedJob"), 0, "the controller knows it");
}

#[test]
fn names_are_drawn_or_given_and_never_taken_twice() {
    let (mut world, key) = world(json!({"suspend": true}));
    let first = by_hand(&mut world, &key, None).unwrap();
    let second = by_hand(&mut world, &key, None).unwrap();
    assert!(first != second && first.starts_with("c-manual-") && first.len() == "c-manual-".len() + 5, "{first} {second}");
    assert_eq!(by_hand(&mut world, &key, Some(&first)), Err(Refusal::Taken(first)));
    let wrong = by_hand(&mut world, &key, Some("Not_A_Name")).unwrap_err();
    assert!(matches!(&wrong, Refusal::Invalid(name, why) if name == "Not_A_Name" && why.starts_with("metadata.name: ")), "{wrong:?}");
    let mut going = world.objects[&key].as_cron_job().unwrap().clone();
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now));
    world.put(going.into());
    assert_eq!(by_hand(&mut world, &key, None), Err(Refusal::Deleting));
}

#[test]
fn forbid_waits_for_it_replace_ends_it_and_the_history_counts_it() {
    let at_slot = |policy: &str| {
        let (mut world, key) = world(json!({"concurrencyPolicy": policy, "successfulJobsHistoryLimit": 0}));
        by_hand(&mut world, &key, Some("now")).unwrap();
        world.now = crate::controllers::world::at("2026-01-01T00:10:00Z");
        world.settle(&key);
        (world, key)
    };
    let (forbidden, key) = at_slot("Forbid");
    assert_eq!((forbidden.of_kind(Kind::Job).len(), forbidden.event_count("JobAlreadyActive")), (1, 1));
    let (replaced, _) = at_slot("Replace");
    assert!(job_json(&replaced, "now")["metadata"]["deletionTimestamp"].is_string() && replaced.of_kind(Kind::Job).len() == 2);
    let (allowed, _) = at_slot("Allow");
    assert_eq!(allowed.objects[&key].to_json()["status"]["active"].as_array().unwrap().len(), 2);
    let mut ended = forbidden;
    let name = Key::new(Kind::Job, "default", "now");
    let mut job = ended.job(&name);
    let at = ended.now.to_string();
    let done =
        json!({"startTime": at, "completionTime": at, "conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at}]});
    job.status = serde_json::from_value(done).unwrap();
    ended.put(job.into());
    ended.settle(&key);
    assert!(ended.objects[&name].meta().deletion_timestamp.is_some(), "none is kept");
    assert_eq!(ended.objects[&key].to_json()["status"]["lastSuccessfulTime"], at);
    assert_eq!(ended.event_count("SawCompletedJob"), 1);
}
