//! The host goes down: pods end by their grace and are no failures of theirs.

use super::world::{World, at, container, pod, sidecar};
use super::{Kill, delete, phase};
use crate::controllers::pods::interrupted;

const MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";

fn down(w: &mut World, most: i64) {
    w.seen.shutdown = Some((at(w.now), most));
}

#[test]
fn a_running_pod_is_stopped_by_its_grace_and_fails_as_a_disruption() {
    for policy in ["Always", "OnFailure", "Never"] {
        let mut w = World::new(pod(policy, vec![sidecar("s")], vec![container("c")]), &[]);
        w.run_until(10);
        down(&mut w, 60);
        w.run_until(100);
        let kills = [("c", Kill::Stop, 10), ("c", Kill::Kill, 40), ("s", Kill::Stop, 40), ("s", Kill::Kill, 42)];
        assert_eq!(w.kills, kills.map(|(name, kill, at)| (name.to_owned(), kill, at)), "{policy}");
        assert_eq!((w.phase(), w.seen.released), (phase::FAILED, true));
        let status = w.pod.status.clone().unwrap();
        assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Terminated"), Some(MESSAGE)));
        assert_eq!(w.condition("DisruptionTarget"), ("True".to_owned(), "TerminationByKubelet".to_owned(), MESSAGE.to_owned()));
        assert!(interrupted(&w.pod), "neither its Job nor its DaemonSet counts it");
        assert_eq!(w.times("c"), [0], "nothing starts again");
    }
}

#[test]
fn no_pod_gets_longer_than_the_shutdown_waits() {
    let mut w = World::new(pod("Always", vec![], vec![container("c")]), &[]);
    w.run_until(10);
    down(&mut w, 5);
    w.run_until(100);
    assert_eq!(w.kills, [("c".to_owned(), Kill::Stop, 10), ("c".to_owned(), Kill::Kill, 15)]);
}

#[test]
fn one_that_is_being_deleted_waits_no_longer_either() {
    let mut w = World::new(pod("Always", vec![], vec![container("c")]), &[]);
    w.run_until(10);
    delete(&mut w, 600);
    w.run_until(20);
    down(&mut w, 7);
    w.run_until(100);
    assert_eq!(w.kills, [("c".to_owned(), Kill::Stop, 10), ("c".to_owned(), Kill::Kill, 27)]);
}

#[test]
fn what_is_done_keeps_its_phase() {
    let mut w = World::new(pod("Never", vec![], vec![container("c")]), &[("c", &[(3, 0)])]);
    w.run_until(10);
    assert_eq!(w.phase(), phase::SUCCEEDED);
    down(&mut w, 60);
    w.run_until(20);
    assert_eq!((w.phase(), w.pod.status.clone().unwrap().reason), (phase::SUCCEEDED, None));
    assert!(!interrupted(&w.pod) && w.kills.is_empty());
}

#[test]
fn a_program_that_ends_well_when_asked_has_not_done_its_work() {
    let mut w = World::new(pod("OnFailure", vec![], vec![container("c")]), &[]);
    w.run_until(10);
    down(&mut w, 60);
    w.settle();
    w.ends.insert("c".into(), (12, 0));
    w.run_until(20);
    assert!(w.phase() == phase::FAILED && interrupted(&w.pod), "its Job runs it again");
}

#[test]
fn a_pod_in_its_back_off_ends_at_once() {
    let mut w = World::new(pod("Always", vec![], vec![container("c")]), &[("c", &[(0, 1), (0, 1), (0, 1)])]);
    w.run_until(15);
    down(&mut w, 60);
    w.run_until(16);
    assert_eq!((w.phase(), w.times("c").len()), (phase::FAILED, 3));
    assert!(interrupted(&w.pod) && w.kills.is_empty());
}
