//! A Job that is run again by hand: once for each wish, whatever happens in between.
//!
//! Every step here is one transaction, and nothing is remembered beside what they wrote: an agent that dies between any two of them and starts again
//! finds just this.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;

use super::tests::{job, key, sync};
use super::*;
use crate::controllers::job::rerun::{Asked, RERUN, Refusal, rerun};
use crate::controllers::world::{World, seconds};

const RECORD: &str = "job-tombstone/default/j";

fn wanted(ttl: Option<i32>) -> Object {
    let mut spec = json!({"backoffLimit": 0});
    if let Some(ttl) = ttl {
        spec["ttlSecondsAfterFinished"] = json!(ttl);
    }
    job(spec)
}

/// What the agent does when it is asked to; commits it.
fn ask(world: &mut World, manifest: Option<&Object>, force: bool) -> Result<bool, Refusal> {
    let stored = world.objects.get(&key()).cloned();
    let tombstone = world.records.get(RECORD).map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    let plan = rerun(&Asked {
        key: &key(),
        stored: stored.as_ref().and_then(|o| o.as_job()),
        manifest: manifest.and_then(Object::as_job),
        tombstone: tombstone.as_deref(),
        force,
        now: world.now,
    })?;
    Ok(world.apply(plan))
}

fn settle(world: &mut World, desired: &[&Object]) {
    for _ in 0..10 {
        sync(world, desired, &[]);
        world.step(&key());
        world.finish_deleted();
    }
}

fn run_to_end(world: &mut World, code: i32) {
    settle(world, &[&wanted(None)]);
    let live: Vec<String> = world.active().iter().map(|p| p.metadata.name.clone().unwrap()).collect();
    live.iter().for_each(|name| world.exit(name, code));
    world.step(&key());
    world.step(&key());
    assert!(job::finished(&world.job(&key())).is_some());
}

fn told(world: &World) -> Vec<&str> {
    world.events.iter().filter(|e| e.reason == RERUN).map(|e| e.message.as_str()).collect()
}

#[test]
fn a_finished_job_runs_again_with_a_new_uid_and_tells_of_it() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let manifest = wanted(None);
    run_to_end(&mut world, 1);
    let old = world.job(&key()).metadata.uid.unwrap();
    assert_eq!(ask(&mut world, Some(&manifest), false), Ok(true));
    assert_eq!(ask(&mut world, Some(&manifest), false), Ok(false), "it is on its way");
    settle(&mut world, &[&manifest]);
    let new = world.job(&key());
    assert!(new.metadata.uid.as_deref() != Some(&old) && job::finished(&new).is_none());
    assert_eq!((world.owned(&old).len(), world.active().len(), world.records.len()), (0, 1, 0));
    let made = format!("Made again, as asked for at 2026-01-01T00:00:00Z; the run before had the uid {old}");
    let asked = "Runs again, as asked for; this run (Failed: BackoffLimitExceeded) and its pods are deleted first";
    assert_eq!(told(&world), [asked, &made]);
    assert_eq!(world.events.iter().find(|e| e.message == made).unwrap().uid, new.metadata.uid.unwrap());
}

#[test]
fn a_running_job_is_stopped_only_by_force_and_one_buried_by_its_ttl_comes_back() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let manifest = wanted(Some(0));
    settle(&mut world, &[&manifest]);
    assert_eq!(ask(&mut world, Some(&manifest), false), Err(Refusal::Running("1 active, 0 succeeded, 0 failed".into())));
    assert_eq!(ask(&mut world, Some(&manifest), true), Ok(true));
    assert!(world.active().is_empty() || world.job(&key()).metadata.deletion_timestamp.is_some());
    settle(&mut world, &[&manifest]);
    let second = world.job(&key()).metadata.uid.unwrap();
    let live = world.active()[0].metadata.name.clone().unwrap();
    world.exit(&live, 0);
    settle(&mut world, &[&manifest]);
    assert!(world.objects.is_empty() && world.records.contains_key(RECORD), "its time to live is over");
    assert_eq!(ask(&mut world, Some(&manifest), false), Ok(true));
    settle(&mut world, &[&manifest]);
    assert_ne!(world.job(&key()).metadata.uid.unwrap(), second);
    assert!(world.records.is_empty());
}

#[test]
fn what_cannot_come_back_is_refused_and_leaves_nothing() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let manifest = wanted(None);
    assert_eq!(ask(&mut world, Some(&manifest), true), Err(Refusal::NotFound));
    run_to_end(&mut world, 0);
    assert_eq!(ask(&mut world, None, false), Err(Refusal::NoManifest));
    assert_eq!(ask(&mut world, Some(&manifest), false), Ok(true));
    // The file goes before the Job has come back: nothing is made, nothing is left.
    settle(&mut world, &[]);
    assert!(world.objects.is_empty() && world.records.is_empty(), "{:?} {:?}", world.objects, world.records);
    let mut owned = world.objects.clone();
    settle(&mut world, &[&manifest]);
    let mut of_cron_job = world.job(&key());
    of_cron_job.metadata.owner_references = Some(vec![pods::controlled_by(Kind::CronJob, &object_meta("c"))]);
    owned.insert(key(), Arc::new(of_cron_job.into()));
    world.objects = owned;
    assert_eq!(ask(&mut world, Some(&manifest), true), Err(Refusal::OfCronJob("c".into())));
}

fn object_meta(name: &str) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    serde_json::from_value(json!({"name": name, "uid": "cj"})).unwrap()
}

#[test]
fn a_faulty_file_keeps_the_wish_until_it_can_be_read_and_an_older_tombstone_is_read() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let manifest = wanted(None);
    run_to_end(&mut world, 0);
    assert_eq!(ask(&mut world, Some(&manifest), false), Ok(true));
    for _ in 0..4 {
        sync(&mut world, &[], &["j.yaml"]);
        world.step(&key());
        world.finish_deleted();
    }
    assert!(world.objects.is_empty() && world.records.contains_key(RECORD));
    settle(&mut world, &[&manifest]);
    assert_eq!(world.of_kind(Kind::Job).len(), 1);
    let before = r#"{"manifest": "m", "immutable": "i", "source": "j.yaml#0"}"#;
    assert_eq!(tombstone(before).unwrap().again, None);
}

#[derive(Clone, Debug)]
enum Move {
    Sync,
    Step,
    FinishDeleted,
    Exit(i32),
    Rerun(bool),
    Wait(i64),
}

fn moves() -> impl Strategy<Value = (Option<i32>, Vec<Move>)> {
    let one = prop_oneof![
        4 => Just(Move::Sync),
        4 => Just(Move::Step),
        3 => Just(Move::FinishDeleted),
        3 => (0i32..2).prop_map(Move::Exit),
        4 => any::<bool>().prop_map(Move::Rerun),
        2 => (0i64..90).prop_map(Move::Wait),
    ];
    (prop_oneof![Just(None), Just(Some(0)), Just(Some(30))], prop::collection::vec(one, 1..80))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_wish_makes_one_job_and_only_one((ttl, steps) in moves()) {
        let mut world = World::new("2026-01-01T00:00:00Z");
        let manifest = wanted(ttl);
        let (mut uids, mut wishes) = (BTreeSet::new(), 0);
        let check = |world: &World, uids: &mut BTreeSet<String>, wishes: usize| {
            uids.extend(world.of_kind(Kind::Job).iter().map(|j| j.uid().to_owned()));
            prop_assert!(uids.len() <= 1 + wishes, "{} Jobs of one manifest and {wishes} wishes", uids.len());
            Ok::<(), TestCaseError>(())
        };
        for step in &steps {
            match step {
                Move::Sync => sync(&mut world, &[&manifest], &[]),
                Move::Step => { world.step(&key()); }
                Move::FinishDeleted => world.finish_deleted(),
                Move::Exit(code) => {
                    let live = world.pods().into_iter().find(|p| !pods::terminal(p)).and_then(|p| p.metadata.name);
                    live.iter().for_each(|name| world.exit(name, *code));
                }
                Move::Rerun(force) => wishes += usize::from(ask(&mut world, Some(&manifest), *force) == Ok(true)),
                Move::Wait(n) => world.now += seconds(*n),
            }
            check(&world, &mut uids, wishes)?;
        }
        settle(&mut world, &[&manifest]);
        check(&world, &mut uids, wishes)?;
        prop_assert_eq!(uids.len(), 1 + wishes, "a wish was lost: {:?}", told(&world));
        prop_assert!(world.records.values().all(|r| !String::from_utf8_lossy(r).contains("again")), "a wish outlives its Job");
    }
}
