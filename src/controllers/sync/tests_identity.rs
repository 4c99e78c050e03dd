//! Which Job is the same Job (SEMANTICS.md §3, Ours): the directory, the Job controller and its pods together, whatever the user does to the file.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;

use super::tests::{job, key, sync};
use super::*;
use crate::controllers::world::{World, seconds};

/// What the file says: how many completions (cannot change), ttl and parallelism (can), or that it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    completions: i32,
    ttl: Option<i32>,
    parallelism: i32,
}

#[derive(Clone, Debug)]
enum Move {
    Write(Wish),
    Remove,
    Break(bool),
    Exit(i32),
    Interrupt,
    FinishDeleted,
    Wait(i64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let wish = (1i32..3, prop_oneof![Just(None), Just(Some(0)), Just(Some(30))], 1i32..3)
        .prop_map(|(completions, ttl, parallelism)| Wish { completions, ttl, parallelism });
    let one = prop_oneof![
        3 => wish.prop_map(Move::Write),
        1 => Just(Move::Remove),
        1 => any::<bool>().prop_map(Move::Break),
        6 => (0i32..2).prop_map(Move::Exit),
        1 => Just(Move::Interrupt),
        3 => Just(Move::FinishDeleted),
        3 => (-20i64..700).prop_map(Move::Wait),
    ];
    prop::collection::vec(one, 1..40)
}

fn act(world: &mut World, file: &mut Option<Wish>, broken: &mut bool, step: &Move) {
    let live: Vec<String> = world.pods().iter().filter(|p| !pods::terminal(p)).map(|p| p.metadata.name.clone().unwrap()).collect();
    match step {
        Move::Write(wish) => (*file, *broken) = (Some(*wish), false),
        Move::Remove => (*file, *broken) = (None, false),
        Move::Break(on) => *broken = *on && file.is_some(),
        Move::Exit(code) => live.first().iter().for_each(|name| world.exit(name, *code)),
        Move::Interrupt => live.first().iter().for_each(|name| world.interrupt(name)),
        Move::FinishDeleted => world.finish_deleted(),
        Move::Wait(n) => world.now += seconds(*n),
    }
}

/// The directory is read and the Job controller runs until nothing is left to do.
fn settle(world: &mut World, file: Option<Wish>, broken: bool) {
    let wished = file.map(|w| {
        let mut spec = json!({"completions": w.completions, "parallelism": w.parallelism, "backoffLimit": 1});
        if let Some(ttl) = w.ttl {
            spec["ttlSecondsAfterFinished"] = json!(ttl);
        }
        job(spec)
    });
    let desired: Vec<&Object> = wished.iter().filter(|_| !broken).collect();
    let faulty: &[&str] = if broken { &["j.yaml"] } else { &[] };
    for _ in 0..10 {
        let before = (world.objects.clone(), world.records.clone());
        sync(world, &desired, faulty);
        world.step(&key());
        if before == (world.objects.clone(), world.records.clone()) {
            return;
        }
    }
    panic!("the directory and the Job never come to rest");
}

#[derive(Default)]
struct Seen {
    /// How often the file became another Job: added, or changed where a Job cannot change.
    life: usize,
    /// Life → uid of its Job.
    jobs: BTreeMap<usize, String>,
    /// Uids of Jobs that have finished, with their pods.
    finished: BTreeMap<String, BTreeSet<String>>,
}

impl Seen {
    fn check(&mut self, world: &World) -> Result<(), TestCaseError> {
        let Some(object) = world.objects.get(&key()) else { return Ok(()) };
        self.a_job_is_made_once(object)?;
        self.a_finished_job_never_runs_again(world, object)
    }

    fn a_job_is_made_once(&mut self, object: &Object) -> Result<(), TestCaseError> {
        if object.meta().deletion_timestamp.is_none() {
            let uid = self.jobs.entry(self.life).or_insert_with(|| object.uid().to_owned());
            prop_assert_eq!(uid.as_str(), object.uid(), "one manifest made two Jobs");
        }
        Ok(())
    }

    fn a_finished_job_never_runs_again(&mut self, world: &World, object: &Object) -> Result<(), TestCaseError> {
        let pods: BTreeSet<String> = world.owned(object.uid()).iter().map(|p| p.uid().to_owned()).collect();
        let known = self.finished.get(object.uid());
        prop_assert!(known.is_none_or(|known| pods.is_subset(known)), "a finished Job has new pods");
        if job::finished(object.as_job().unwrap()).is_some() {
            self.finished.entry(object.uid().to_owned()).or_insert(pods);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_manifest_is_one_job_until_it_goes_or_changes_what_cannot_change(steps in moves()) {
        let mut world = World::new("2026-01-01T00:00:00Z");
        let (mut file, mut broken, mut seen) = (None::<Wish>, false, Seen::default());
        for step in &steps {
            let before = file;
            act(&mut world, &mut file, &mut broken, step);
            seen.life += usize::from(before.map(|w| w.completions) != file.map(|w| w.completions));
            settle(&mut world, file, broken);
            seen.check(&world)?;
        }
        // With the file gone, nothing is left in the end: neither Job nor pods nor tombstone.
        for _ in 0..6 {
            settle(&mut world, None, false);
            world.finish_deleted();
        }
        settle(&mut world, None, false);
        prop_assert!(world.objects.is_empty() && world.records.is_empty(), "left: {:?} {:?}", world.objects.keys(), world.records.keys());
    }
}
