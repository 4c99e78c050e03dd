//! SEMANTICS.md §4, the rows that are about what is said, and about Jobs that come and go by other hands.

use serde_json::{Value, json};

use super::*;
use crate::controllers::world::{World, at, object, seconds};

/// A world with the CronJob `c`, every ten minutes, made at 2026-01-01T00:00:30Z.
pub(super) fn world(spec: Value) -> (World, Key) {
    let mut world = World::new("2026-01-01T00:00:30Z");
    let mut whole = json!({"schedule": "*/10 * * * *", "concurrencyPolicy": "Allow", "jobTemplate": {"spec":
        {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let meta = json!({"name": "c", "namespace": "default", "uid": "cj", "generation": 1, "creationTimestamp": world.now.to_string()});
    let key = world.put(object(Kind::CronJob, json!({"metadata": meta, "spec": whole})));
    (world, key)
}

fn cron_job(world: &World, key: &Key) -> CronJob {
    world.objects[key].as_cron_job().unwrap().clone()
}

fn active(world: &World, key: &Key) -> Vec<String> {
    let listed = cron_job(world, key).status.unwrap_or_default().active.unwrap_or_default();
    listed.into_iter().filter_map(|r| r.name).collect()
}

fn last(world: &World, key: &Key) -> Option<String> {
    Some(cron_job(world, key).status?.last_schedule_time?.0.to_string())
}

fn jobs(world: &World) -> Vec<String> {
    world.of_kind(Kind::Job).iter().map(|j| j.key().name).collect()
}

fn go(world: &mut World, key: &Key, time: &str) {
    world.now = at(&format!("2026-01-01T{time}Z"));
    world.settle(key);
}

/// The Job ended now, complete or not, having begun then.
fn end(world: &mut World, name: &str, complete: bool) {
    let job_key = Key::new(Kind::Job, "default", name);
    let mut job = world.job(&job_key);
    let (now, kind) = (world.now.to_string(), if complete { "Complete" } else { "Failed" });
    let mut status = json!({"startTime": now, "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now}]});
    if complete {
        status["completionTime"] = json!(now);
    }
    job.status = serde_json::from_value(status).unwrap();
    world.put(job.into());
}

fn told(world: &World) -> Vec<(bool, &str, &str)> {
    world.events.iter().map(|e| (e.warning, e.reason.as_str(), e.message.as_str())).collect()
}

#[test]
fn a_job_made_by_another_hand_is_unexpected_once_and_then_runs_like_the_others() {
    let (mut world, key) = world(json!({"concurrencyPolicy": "Forbid"}));
    let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "cj", "controller": true});
    world.put(object(Kind::Job, json!({"metadata": {"name": "by-hand", "namespace": "default", "uid": "m", "ownerReferences": [owner]}})));
    world.settle(&key);
    let unexpected = (true, "UnexpectedJob", "Saw a job that the controller did not create or forgot: by-hand");
    assert_eq!((told(&world), active(&world, &key)), (vec![unexpected], vec!["by-hand".to_owned()]));
    go(&mut world, &key, "00:10:00");
    let waits = (false, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid");
    assert_eq!((told(&world), last(&world, &key)), (vec![unexpected, waits], None));
    end(&mut world, "by-hand", true);
    world.settle(&key);
    assert_eq!(active(&world, &key), ["c-29453770"]);
}

#[test]
fn a_running_job_that_is_deleted_stays_listed_until_it_is_gone() {
    let (mut world, key) = world(json!({}));
    go(&mut world, &key, "00:10:00");
    let job = world.of_kind(Kind::Job)[0].clone();
    world.apply(Plan { delete: vec![cascade::whole(&job)], ..Plan::default() });
    world.settle(&key);
    assert_eq!((active(&world, &key), world.event_count("MissingJob")), (vec!["c-29453770".to_owned()], 0));
    world.objects.remove(&job.key());
    world.settle(&key);
    assert_eq!(told(&world).last(), Some(&(false, "MissingJob", "Active job went missing: c-29453770")));
    assert!(active(&world, &key).is_empty());
}

#[test]
fn what_is_wrong_is_told_in_kubernetes_words() {
    let cases = [
        (json!({"timeZone": "Mars/Olympus", "suspend": true}), "UnknownTimeZone", "invalid timeZone: \"Mars/Olympus\": "),
        (json!({"schedule": "61 * * * *"}), "UnparseableSchedule", "unparseable schedule: \"61 * * * *\" : "),
        (json!({"schedule": "0 0 31 2 *"}), "InvalidSchedule", "invalid schedule: 0 0 31 2 * : "),
    ];
    for (spec, reason, message) in cases {
        let (mut world, key) = world(spec);
        world.settle(&key);
        go(&mut world, &key, "12:00:00");
        let events = told(&world);
        assert_eq!(events.len(), 1, "said once: {events:?}");
        assert!(events[0].0 && events[0].1 == reason && events[0].2.starts_with(message), "{events:?}");
    }
    let (mut world, key) = world(json!({"schedule": "61 * * * *", "suspend": true}));
    world.settle(&key);
    assert!(told(&world).is_empty(), "the schedule of a suspended CronJob is not read");
}

#[test]
fn every_event_of_a_slot_and_its_job() {
    let (mut world, key) = world(json!({"concurrencyPolicy": "Replace", "failedJobsHistoryLimit": 0}));
    go(&mut world, &key, "00:10:00");
    go(&mut world, &key, "00:20:00");
    end(&mut world, "c-29453780", false);
    world.settle(&key);
    let expected = [
        (false, "SuccessfulCreate", "Created job c-29453770"),
        (false, "SuccessfulDelete", "Deleted job c-29453770"),
        (false, "SuccessfulCreate", "Created job c-29453780"),
        (false, "SawCompletedJob", "Saw completed job: c-29453780, condition: Failed"),
        (false, "SuccessfulDelete", "Deleted job c-29453780"),
    ];
    assert_eq!(told(&world), expected);
    assert!(world.events.iter().all(|e| e.source == "cronjob-controller" && e.about == key && e.uid == "cj"));
}

#[test]
fn more_than_a_hundred_missed_slots_are_counted_from_the_deadline() {
    let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
    for (spec, warned) in [
        (json!({"schedule": "* * * * *"}), true),
        (json!({"schedule": "* * * * *", "startingDeadlineSeconds": 6000}), false),
        (json!({"schedule": "* * * * *", "startingDeadlineSeconds": 6001}), true),
    ] {
        let (mut world, key) = world(spec.clone());
        go(&mut world, &key, "05:00:00");
        let warnings: Vec<_> = told(&world).into_iter().filter(|e| e.0).collect();
        assert_eq!(warnings, if warned { vec![(true, "TooManyMissedTimes", message)] } else { vec![] }, "{spec}");
        assert_eq!(last(&world, &key).as_deref(), Some("2026-01-01T05:00:00Z"), "the newest slot runs all the same");
    }
}

#[test]
fn a_slot_held_back_by_forbid_is_missed_when_its_deadline_is_over() {
    let (mut world, key) = world(json!({"concurrencyPolicy": "Forbid", "startingDeadlineSeconds": 120}));
    go(&mut world, &key, "00:10:00");
    go(&mut world, &key, "00:20:00");
    go(&mut world, &key, "00:23:00");
    end(&mut world, "c-29453770", true);
    go(&mut world, &key, "00:24:00");
    assert_eq!((jobs(&world).len(), last(&world, &key).as_deref()), (1, Some("2026-01-01T00:10:00Z")));
    assert_eq!(world.event_count("MissSchedule"), 1);
    go(&mut world, &key, "00:30:00");
    assert_eq!(last(&world, &key).as_deref(), Some("2026-01-01T00:30:00Z"));
}

#[test]
fn unsuspending_runs_the_newest_missed_slot_unless_a_deadline_has_passed() {
    for (deadline, started) in [(None, Some("2026-01-01T00:20:00Z")), (Some(60), None), (Some(600), Some("2026-01-01T00:20:00Z"))] {
        let (mut world, key) = world(json!({"suspend": true, "startingDeadlineSeconds": deadline}));
        go(&mut world, &key, "00:25:00");
        assert!(jobs(&world).is_empty());
        let mut cj = cron_job(&world, &key);
        cj.spec.suspend = Some(false);
        world.put(cj.into());
        world.settle(&key);
        assert_eq!(last(&world, &key).as_deref(), started, "{deadline:?}");
    }
}

#[test]
fn history_keeps_three_successes_and_one_failure_by_start_and_zero_keeps_none() {
    for (spec, kept) in [
        (json!({}), vec!["c-29453790", "c-29453810", "c-29453820", "c-29453830"]),
        (json!({"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 0}), vec![]),
        (json!({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 9}), vec!["c-29453780", "c-29453790", "c-29453830"]),
    ] {
        let (mut world, key) = world(spec);
        for (minute, complete) in [(10, true), (20, false), (30, false), (40, true), (50, true)] {
            go(&mut world, &key, &format!("00:{minute}:00"));
            let newest = jobs(&world).pop().unwrap();
            world.now += seconds(1);
            end(&mut world, &newest, complete);
            world.settle(&key);
        }
        go(&mut world, &key, "01:00:00");
        // 00:40, 00:50 and 00:10 have succeeded so far; one more, then the oldest goes.
        world.now += seconds(1);
        let newest = jobs(&world).pop().unwrap();
        end(&mut world, &newest, true);
        go(&mut world, &key, "01:10:00");
        end(&mut world, "c-29453830", true);
        world.settle(&key);
        let left: Vec<String> =
            world.of_kind(Kind::Job).iter().filter(|j| j.meta().deletion_timestamp.is_none()).map(|j| j.key().name).collect();
        assert_eq!(left, kept);
        assert_eq!(cron_job(&world, &key).status.unwrap().last_successful_time.unwrap().0, at("2026-01-01T01:10:00Z"));
    }
}

#[test]
fn the_job_says_for_which_slot_it_is() {
    let (mut world, key) =
        world(json!({"schedule": "7 3 * * *", "jobTemplate": {"metadata": {"annotations": {"a": "b"}, "labels": {"l": "v"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}}}}));
    go(&mut world, &key, "03:09:00");
    let job = world.of_kind(Kind::Job)[0].as_job().unwrap().clone();
    assert_eq!(job.metadata.name.unwrap(), format!("c-{}", at("2026-01-01T03:07:00Z").as_second() / 60));
    let annotations = job.metadata.annotations.unwrap();
    assert_eq!((annotations["a"].as_str(), annotations[SCHEDULED_TIMESTAMP].as_str()), ("b", "2026-01-01T03:07:00Z"));
    let owner = &job.metadata.owner_references.unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("CronJob", "cj", Some(true)));
}
