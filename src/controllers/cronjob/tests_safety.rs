//! A CronJob with the Jobs it makes and their pods, run by the real controllers, whatever becomes of pods, clock and manifest.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;

use super::tests_rows::world;
use super::*;
use crate::controllers::world::{World, seconds};

type Checked = Result<(), TestCaseError>;

#[derive(Clone, Debug)]
enum Move {
    Wait(i64),
    Exit(usize, i32),
    Interrupt(usize),
    FinishDeleted,
    DeleteJob(usize),
    Suspend(bool),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0i64..900).prop_map(Move::Wait),
        1 => (-7200i64..0).prop_map(Move::Wait),
        1 => prop_oneof![Just(-200_000i64), Just(200_000)].prop_map(Move::Wait),
        5 => (0usize..4, 0i32..2).prop_map(|(n, code)| Move::Exit(n, code)),
        1 => (0usize..4).prop_map(Move::Interrupt),
        4 => Just(Move::FinishDeleted),
        1 => (0usize..4).prop_map(Move::DeleteJob),
        1 => any::<bool>().prop_map(Move::Suspend),
    ];
    prop::collection::vec(one, 1..50)
}

fn act(world: &mut World, key: &Key, step: &Move) {
    let live: Vec<String> = world.pods().iter().filter(|p| !pods::terminal(p)).map(|p| p.metadata.name.clone().unwrap()).collect();
    let pick = |n: &usize| live.get(n % live.len().max(1)).cloned();
    match step {
        Move::Wait(n) => world.now += seconds(*n),
        Move::Exit(n, code) => pick(n).iter().for_each(|name| world.exit(name, *code)),
        Move::Interrupt(n) => pick(n).iter().for_each(|name| world.interrupt(name)),
        Move::FinishDeleted => world.finish_deleted(),
        Move::DeleteJob(n) => {
            let jobs = world.of_kind(Kind::Job);
            let delete = jobs.get(n % jobs.len().max(1)).map(|j| cascade::whole(j)).into_iter().collect();
            world.apply(Plan { delete, ..Plan::default() });
        }
        Move::Suspend(on) => {
            let mut cj = world.objects[key].as_cron_job().unwrap().clone();
            cj.spec.suspend = Some(*on);
            world.put(cj.into());
        }
    }
}

/// The CronJob and all its Jobs, until none has anything to do.
fn settle(world: &mut World, key: &Key) {
    for _ in 0..20 {
        let keys: Vec<Key> = [key.clone()].into_iter().chain(world.of_kind(Kind::Job).iter().map(|j| j.key())).collect();
        let worked = keys.iter().filter(|key| world.step(key)).count();
        if worked == 0 {
            return;
        }
    }
    panic!("the controllers never come to rest");
}

#[derive(Default)]
struct Seen {
    /// Slot → uid of the Job that ran for it.
    slots: BTreeMap<String, String>,
    /// Uids of pods that have ended.
    ended: BTreeSet<String>,
}

impl Seen {
    fn check(&mut self, world: &World, key: &Key, policy: &str) -> Checked {
        self.a_slot_never_runs_twice(world)?;
        self.a_terminated_uid_never_restarts(world)?;
        match policy {
            "Forbid" => forbid_never_overlaps(world),
            "Replace" => replace_leaves_one_that_is_not_going(world, key),
            _ => Ok(()),
        }
    }

    fn a_slot_never_runs_twice(&mut self, world: &World) -> Checked {
        for job in world.of_kind(Kind::Job) {
            let slot = pods::annotation(job.meta(), SCHEDULED_TIMESTAMP).unwrap_or_default().to_owned();
            let uid = self.slots.entry(slot.clone()).or_insert_with(|| job.uid().to_owned());
            prop_assert_eq!(uid.as_str(), job.uid(), "slot {} ran twice", slot);
        }
        Ok(())
    }

    fn a_terminated_uid_never_restarts(&mut self, world: &World) -> Checked {
        for pod in world.pods() {
            let uid = pod.metadata.uid.clone().unwrap();
            prop_assert!(pods::terminal(&pod) || !self.ended.contains(&uid));
            if pods::terminal(&pod) {
                self.ended.insert(uid);
            }
        }
        Ok(())
    }
}

/// Not only the Jobs: containers of two slots must not run at once, not even while one is being stopped.
fn forbid_never_overlaps(world: &World) -> Checked {
    let running = world.pods().into_iter().filter(|p| !pods::terminal(p));
    let jobs: BTreeSet<String> = running.filter_map(|p| Some(p.metadata.owner_references?.first()?.uid.clone())).collect();
    prop_assert!(jobs.len() <= 1, "pods of {} Jobs run under Forbid", jobs.len());
    Ok(())
}

fn replace_leaves_one_that_is_not_going(world: &World, key: &Key) -> Checked {
    let staying = world.of_kind(Kind::Job).into_iter().filter(|j| j.meta().deletion_timestamp.is_none());
    let running = staying.filter(|j| job::finished(j.as_job().unwrap()).is_none()).count();
    prop_assert!(running <= 1, "{} Jobs run under Replace", running);
    let listed = world.objects[key].as_cron_job().unwrap().status.clone().and_then(|s| s.active).unwrap_or_default();
    prop_assert!(running <= listed.len() && listed.len() <= 1, "{} listed, {} running", listed.len(), running);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn safe_with_real_jobs_and_pods(
        steps in moves(), policy in prop_oneof!["Allow", "Forbid", "Replace"], deadline in prop::option::of(1i64..900), limit in 0i32..2,
    ) {
        let mut spec = json!({"concurrencyPolicy": policy, "schedule": "*/5 * * * *"});
        spec["startingDeadlineSeconds"] = json!(deadline);
        spec["jobTemplate"] = json!({"spec": {"backoffLimit": limit, "completions": 2, "parallelism": 2,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
        let (mut world, key) = world(spec);
        let mut seen = Seen::default();
        for step in &steps {
            settle(&mut world, &key);
            seen.check(&world, &key, &policy)?;
            act(&mut world, &key, step);
        }
    }
}
