//! Slots, concurrency, deadlines, history and clock steps on a virtual clock.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::well_known::NOT_ADMITTED;
use crate::controllers::world::{World, at, object, seconds};

/// A world with one CronJob, made at 2026-01-01T00:00:30Z.
fn world(spec: Value) -> (World, Key) {
    let mut world = World::new("2026-01-01T00:00:30Z");
    let mut whole = json!({"schedule": "*/10 * * * *", "concurrencyPolicy": "Allow", "jobTemplate": {"metadata": {"labels": {"l": "v"}}, "spec":
        {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let meta = json!({"name": "c", "namespace": "default", "uid": "cj", "generation": 1, "creationTimestamp": world.now.to_string()});
    let key = world.put(object(Kind::CronJob, json!({"metadata": meta, "spec": whole})));
    (world, key)
}

fn cron_job(world: &World, key: &Key) -> CronJob {
    world.objects[key].as_cron_job().unwrap().clone()
}

fn last(world: &World, key: &Key) -> Option<String> {
    Some(cron_job(world, key).status?.last_schedule_time?.0.to_string())
}

fn jobs(world: &World) -> Vec<String> {
    world.of_kind(Kind::Job).iter().map(|j| j.key().name).collect()
}

fn edit(world: &mut World, key: &Key, change: impl FnOnce(&mut CronJobSpec)) {
    let mut cj = cron_job(world, key);
    change(&mut cj.spec);
    world.put(cj.into());
}

/// The Job ends now.
fn end(world: &mut World, name: &str, complete: bool) {
    let key = Key::new(Kind::Job, "default", name);
    let mut job = world.job(&key);
    let now = world.now.to_string();
    let kind = if complete { "Complete" } else { "Failed" };
    let mut status = json!({"startTime": now, "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now}]});
    if complete {
        status["completionTime"] = json!(now);
    }
    job.status = serde_json::from_value(status).unwrap();
    world.put(job.into());
}

fn go(world: &mut World, key: &Key, time: &str) {
    world.now = at(time);
    world.settle(key);
}

fn reasons(world: &World) -> Vec<&str> {
    world.events.iter().map(|e| e.reason.as_str()).collect()
}

#[test]
fn a_slot_starts_one_job_and_is_remembered_with_it() {
    let (mut world, key) = world(json!({"timeZone": "Europe/Berlin"}));
    world.settle(&key);
    assert_eq!((jobs(&world).len(), world.wake_at), (0, Some(at("2026-01-01T00:10:00Z"))));
    go(&mut world, &key, "2026-01-01T00:10:00Z");
    assert_eq!(jobs(&world), ["c-29453770"]);
    assert_eq!(last(&world, &key).as_deref(), Some("2026-01-01T00:10:00Z"));
    let job = world.of_kind(Kind::Job)[0].as_job().unwrap().clone();
    assert_eq!(job.metadata.annotations.as_ref().unwrap()[SCHEDULED_TIMESTAMP], "2026-01-01T01:10:00+01:00");
    assert_eq!(job.metadata.labels.as_ref().unwrap()["l"], "v");
    assert!(job.spec.unwrap().selector.is_some());
    assert_eq!(cron_job(&world, &key).status.unwrap().active.unwrap()[0].uid, job.metadata.uid);
    // Deleting the Job must not run its slot again.
    world.objects.retain(|k, _| k.kind == Kind::CronJob);
    go(&mut world, &key, "2026-01-01T00:19:59Z");
    assert_eq!((jobs(&world).len(), world.event_count("MissingJob")), (0, 1));
}

#[test]
fn finished_jobs_are_noticed_and_old_ones_go() {
    let (mut world, key) = world(json!({"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 0}));
    for (time, complete) in [("00:10", true), ("00:20", false), ("00:30", true), ("00:40", true)] {
        go(&mut world, &key, &format!("2026-01-01T{time}:00Z"));
        let newest = jobs(&world).pop().unwrap();
        world.now += seconds(5);
        end(&mut world, &newest, complete);
        world.settle(&key);
    }
    let deleted =
        world.of_kind(Kind::Job).iter().filter(|j| j.meta().deletion_timestamp.is_some()).map(|j| j.key().name).collect::<Vec<_>>();
    assert_eq!(deleted, ["c-29453770", "c-29453780"], "the oldest success and the failure");
    assert_eq!(cron_job(&world, &key).status.unwrap().last_successful_time.unwrap().0, at("2026-01-01T00:40:05Z"));
    assert_eq!(world.event_count("SawCompletedJob"), 4);
    assert_eq!(
        world.events.iter().find(|e| e.reason == "SawCompletedJob").unwrap().message,
        "Saw completed job: c-29453770, condition: Complete"
    );
}

#[test]
fn forbid_keeps_the_slot_owed() {
    let (mut world, key) = world(json!({"concurrencyPolicy": "Forbid"}));
    go(&mut world, &key, "2026-01-01T00:10:00Z");
    go(&mut world, &key, "2026-01-01T00:20:00Z");
    go(&mut world, &key, "2026-01-01T00:30:00Z");
    go(&mut world, &key, "2026-01-01T00:31:00Z");
    assert_eq!((jobs(&world).len(), world.event_count("JobAlreadyActive")), (1, 2));
    assert_eq!(last(&world, &key).as_deref(), Some("2026-01-01T00:10:00Z"));
    end(&mut world, "c-29453770", true);
    world.settle(&key);
    assert_eq!(last(&world, &key).as_deref(), Some("2026-01-01T00:30:00Z"), "the newest missed slot starts");
}

#[test]
fn replace_deletes_what_runs() {
    let (mut world, key) = world(json!({"concurrencyPolicy": "Replace"}));
    go(&mut world, &key, "2026-01-01T00:10:00Z");
    go(&mut world, &key, "2026-01-01T00:20:00Z");
    assert_eq!(jobs(&world).len(), 2);
    assert!(world.of_kind(Kind::Job)[0].meta().deletion_timestamp.is_some());
    let active = cron_job(&world, &key).status.unwrap().active.unwrap();
    assert_eq!(active.iter().map(|r| r.name.clone().unwrap()).collect::<Vec<_>>(), ["c-29453780"]);
}

#[test]
fn only_the_newest_missed_slot_runs_and_many_are_worth_a_warning() {
    let (mut world, key) = world(json!({}));
    go(&mut world, &key, "2026-01-01T10:05:00Z");
    assert_eq!((last(&world, &key).as_deref(), world.event_count("TooManyMissedTimes")), (Some("2026-01-01T10:00:00Z"), 0));
    go(&mut world, &key, "2026-01-03T10:05:00Z");
    assert_eq!((last(&world, &key).as_deref(), world.event_count("TooManyMissedTimes")), (Some("2026-01-03T10:00:00Z"), 1));
    assert_eq!(jobs(&world).len(), 2);
}

#[test]
fn too_late_is_said_once() {
    let (mut world, key) = world(json!({"startingDeadlineSeconds": 60}));
    go(&mut world, &key, "2026-01-01T00:11:01Z");
    go(&mut world, &key, "2026-01-01T00:12:00Z");
    assert_eq!(reasons(&world), ["MissSchedule"]);
    assert_eq!(world.events[0].message, "Missed scheduled time to start a job: Thu, 01 Jan 2026 00:10:00 +0000");
    assert_eq!(last(&world, &key), None);
    go(&mut world, &key, "2026-01-01T00:21:00Z");
    assert_eq!(last(&world, &key).as_deref(), Some("2026-01-01T00:20:00Z"), "exactly at the deadline is not late");
}

#[test]
fn suspended_or_not_admitted_it_waits_and_then_runs_the_newest_slot() {
    let (mut world, key) = world(json!({"suspend": true}));
    go(&mut world, &key, "2026-01-01T00:25:00Z");
    assert_eq!(jobs(&world).len(), 0);
    edit(&mut world, &key, |s| s.suspend = Some(false));
    world.node.spec = serde_json::from_value(json!({"unschedulable": true})).unwrap();
    world.settle(&key);
    assert_eq!(jobs(&world).len(), 0);
    assert!(cron_job(&world, &key).metadata.annotations.unwrap().contains_key(NOT_ADMITTED));
    world.node.spec = None;
    world.settle(&key);
    assert_eq!(last(&world, &key).as_deref(), Some("2026-01-01T00:20:00Z"));
}

#[test]
fn what_cannot_be_read_is_said_once() {
    for (spec, reason) in [
        (json!({"schedule": "* * * * 7"}), "UnparseableSchedule"),
        (json!({"timeZone": "Mars/Olympus"}), "UnknownTimeZone"),
        (json!({"schedule": "0 0 31 2 *"}), "InvalidSchedule"),
    ] {
        let (mut world, key) = world(spec);
        world.settle(&key);
        go(&mut world, &key, "2026-01-02T00:00:00Z");
        assert_eq!(reasons(&world), [reason]);
    }
}

#[test]
fn a_clock_that_steps_is_harmless() {
    let (mut world, key) = world(json!({}));
    go(&mut world, &key, "2026-01-01T10:00:00Z");
    // Back an hour: no slot runs twice, and it goes on where it was.
    go(&mut world, &key, "2026-01-01T09:00:00Z");
    world.step(&key);
    assert_eq!((jobs(&world).len(), world.wake_at), (1, Some(at("2026-01-01T10:10:00Z"))));
    // From a wrong year: the CronJob isn't silent until then.
    go(&mut world, &key, "2038-01-01T00:00:00Z");
    go(&mut world, &key, "2026-01-02T00:05:00Z");
    assert_eq!((jobs(&world).len(), last(&world, &key).as_deref()), (2, Some("2026-01-02T00:00:00Z")));
    go(&mut world, &key, "2026-01-02T00:10:00Z");
    assert_eq!(jobs(&world).len(), 3);
}

#[test]
fn a_changed_schedule_owes_nothing_from_before() {
    let (mut world, key) = world(json!({"schedule": "0 0 * * *"}));
    world.now = at("2026-01-01T12:02:00Z");
    let mut cj = cron_job(&world, &key);
    cj.spec.schedule = "*/5 * * * *".into();
    pods::annotate(&mut cj.metadata, SCHEDULE_SINCE, Some(world.now.to_string()));
    world.put(cj.into());
    world.settle(&key);
    assert_eq!(jobs(&world).len(), 0);
    go(&mut world, &key, "2026-01-01T12:05:00Z");
    assert_eq!(jobs(&world).len(), 1);
}

#[test]
fn every_counts_from_the_last_slot() {
    let (mut world, key) = world(json!({"schedule": "@every 90s"}));
    go(&mut world, &key, "2026-01-01T00:02:10Z");
    assert_eq!(last(&world, &key).as_deref(), Some("2026-01-01T00:02:00Z"));
    world.step(&key);
    assert_eq!(world.wake_at, Some(at("2026-01-01T00:03:30Z")));
    // Two slots of one minute share a name: one Job.
    let (mut world, key) = self::world(json!({"schedule": "@every 20s"}));
    go(&mut world, &key, "2026-01-01T00:01:10Z");
    go(&mut world, &key, "2026-01-01T00:01:30Z");
    assert_eq!((jobs(&world).len(), last(&world, &key).as_deref()), (1, Some("2026-01-01T00:01:30Z")));
}

#[test]
fn a_repeated_hour_fires_twice_and_a_skipped_time_not_at_all() {
    let (mut world, key) = world(json!({"schedule": "30 2 * * *", "timeZone": "Europe/Berlin", "successfulJobsHistoryLimit": 100}));
    let mut run = |from: &str, hours: i64| {
        let before = world.event_count("SuccessfulCreate");
        world.now = at(from);
        for _ in 0..hours * 2 {
            world.now += seconds(1800);
            world.settle(&key);
        }
        world.event_count("SuccessfulCreate") - before
    };
    run("2026-03-28T11:00:00Z", 1);
    assert_eq!(run("2026-03-28T12:00:00Z", 24), 0, "02:30 does not exist on 29 March");
    run("2026-10-24T11:00:00Z", 1);
    assert_eq!(run("2026-10-24T12:00:00Z", 24), 2, "02:30 comes twice on 25 October");
}

#[test]
fn deleting_it_takes_its_jobs_first() {
    let (mut world, key) = world(json!({}));
    go(&mut world, &key, "2026-01-01T00:10:00Z");
    world.apply(Plan { delete: vec![cascade::whole(&world.objects[&key])], ..Plan::default() });
    world.settle(&key);
    let job = world.of_kind(Kind::Job)[0].clone();
    assert!(job.meta().deletion_timestamp.is_some());
    world.step(&job.key());
    world.step(&key);
    assert!(world.objects.is_empty());
}

#[derive(Clone, Debug)]
enum Move {
    Wait(i64),
    End(usize, bool),
    Gone,
    Suspend(bool),
    Forget,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        5 => (-400i64..1500).prop_map(Move::Wait),
        1 => prop_oneof![Just(-200_000i64), Just(200_000)].prop_map(Move::Wait),
        3 => (0usize..3, any::<bool>()).prop_map(|(n, ok)| Move::End(n, ok)),
        2 => Just(Move::Gone),
        1 => any::<bool>().prop_map(Move::Suspend),
        1 => Just(Move::Forget),
    ];
    prop::collection::vec(one, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forbid_never_overlaps_and_a_slot_never_runs_twice(
        steps in moves(), policy in prop_oneof!["Allow", "Forbid", "Replace"], deadline in prop::option::of(1i64..900),
    ) {
        let mut spec = json!({"concurrencyPolicy": policy, "schedule": "*/5 * * * *"});
        if let Some(n) = deadline {
            spec["startingDeadlineSeconds"] = json!(n);
        }
        let (mut world, key) = world(spec);
        let mut started: BTreeSet<String> = BTreeSet::new();
        for step in &steps {
            let before: Vec<String> = world.of_kind(Kind::Job).iter().map(|j| j.uid().to_owned()).collect();
            world.settle(&key);
            for job in world.of_kind(Kind::Job).iter().filter(|j| !before.contains(&j.uid().to_owned())) {
                prop_assert!(started.insert(job.key().name), "{} ran twice", job.key());
            }
            let running = world.of_kind(Kind::Job).iter().filter(|j| job::finished(j.as_job().unwrap()).is_none()).count();
            prop_assert!(policy != "Forbid" || running <= 1, "two Jobs run under Forbid");
            let listed = cron_job(&world, &key).status.and_then(|s| s.active).unwrap_or_default().len();
            prop_assert!(policy != "Replace" || listed <= 1);
            match step {
                Move::Wait(n) => world.now += seconds(*n),
                Move::End(n, ok) => {
                    let unfinished: Vec<_> = world.of_kind(Kind::Job).iter().filter(|j| job::finished(j.as_job().unwrap()).is_none())
                        .map(|j| j.key().name).collect();
                    if let Some(name) = unfinished.get(n % unfinished.len().max(1)) {
                        end(&mut world, name, *ok);
                    }
                }
                // The Jobs' controller removes what is being deleted.
                Move::Gone => world.objects.retain(|_, o| o.kind() != Kind::Job || o.meta().deletion_timestamp.is_none()),
                Move::Suspend(on) => edit(&mut world, &key, |s| s.suspend = Some(*on)),
                Move::Forget => world.objects.retain(|_, o| o.as_job().is_none_or(|j| job::finished(j).is_none())),
            }
        }
    }
}
