//! What may become of a Job and its pods in the property tests: drawn as a list of moves, and done to a world.

use k8s_openapi::api::batch::v1::JobSpec;
use proptest::prelude::*;
use serde_json::json;

use crate::api::Key;
use crate::controllers::world::{World, seconds};
use crate::controllers::{Plan, pods};

#[derive(Clone, Debug)]
pub(super) enum Move {
    Exit(usize, i32),
    Interrupt(usize),
    Run(usize),
    Delete(usize),
    FinishDeleted,
    Wait(i64),
    Parallelism(i32),
    Suspend(bool),
    Admit(bool),
}

/// How often a move is drawn, and of what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights {
    pub exit: u32,
    /// Exit codes from 0 to below this.
    pub codes: i32,
    pub run: u32,
    /// 0: the node stays open to pods.
    pub admit: u32,
    /// Pods told apart.
    pub pods: usize,
    /// The longest list of moves.
    pub most: usize,
}

pub(super) fn moves(weights: Weights) -> impl Strategy<Value = Vec<Move>> {
    let Weights { exit, codes, run, admit, pods, most } = weights;
    let one = prop_oneof![
        exit => (0..pods, 0..codes).prop_map(|(n, code)| Move::Exit(n, code)),
        1 => (0..pods).prop_map(Move::Interrupt),
        run => (0..pods).prop_map(Move::Run),
        1 => (0..pods).prop_map(Move::Delete),
        2 => Just(Move::FinishDeleted),
        4 => (-100i64..700).prop_map(Move::Wait),
        1 => (0i32..5).prop_map(Move::Parallelism),
        1 => any::<bool>().prop_map(Move::Suspend),
        admit => any::<bool>().prop_map(Move::Admit),
    ];
    prop::collection::vec(one, 1..most)
}

pub(super) fn act(world: &mut World, key: &Key, step: &Move) {
    let live: Vec<String> = world.pods().iter().filter(|p| !pods::terminal(p)).map(|p| p.metadata.name.clone().unwrap()).collect();
    let pick = |n: &usize| live.get(n % live.len().max(1)).cloned();
    match step {
        Move::Exit(n, code) => pick(n).iter().for_each(|name| world.exit(name, *code)),
        Move::Interrupt(n) => pick(n).iter().for_each(|name| world.interrupt(name)),
        Move::Run(n) => pick(n).iter().for_each(|name| world.run(name)),
        Move::Delete(n) => {
            let pod = pick(n).and_then(|name| world.pods().into_iter().find(|p| p.metadata.name.as_deref() == Some(&*name)));
            let delete = pod.iter().map(pods::deletion).collect();
            world.apply(Plan { delete, ..Plan::default() });
        }
        Move::FinishDeleted => world.finish_deleted(),
        Move::Wait(n) => world.now += seconds(*n),
        Move::Parallelism(n) => edit(world, key, |s| s.parallelism = Some(*n)),
        Move::Suspend(on) => edit(world, key, |s| s.suspend = Some(*on)),
        Move::Admit(on) => world.node.spec = (!on).then(|| serde_json::from_value(json!({"unschedulable": true})).unwrap()),
    }
}

/// Somebody edits the Job's spec.
pub(super) fn edit(world: &mut World, key: &Key, change: impl FnOnce(&mut JobSpec)) {
    let mut job = world.job(key);
    change(job.spec.as_mut().unwrap());
    world.put(job.into());
}
