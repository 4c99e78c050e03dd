//! The probes' state machine: when what is due, what thresholds do, what waits for what.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::at;
use crate::pod::Probed;
use crate::pod::probes::ProbeKind::{Liveness, Readiness, Startup};
use crate::pod::probes::{ProbeKind, Probes};

fn probes(probes: Value, known: Option<Probed>) -> Option<Probes> {
    let mut container = json!({"name": "c"});
    for (name, probe) in probes.as_object().unwrap() {
        container[name] = probe.clone();
    }
    Probes::begin(&serde_json::from_value(container).unwrap(), at(0), at(0), known, 500)
}

/// Lets the probes answer by `passes` until `end`: (second, kind) of each that was run.
fn run(probes: &mut Probes, end: i64, passes: impl Fn(ProbeKind, i64) -> Option<bool>) -> Vec<(i64, ProbeKind)> {
    let mut ran = Vec::new();
    for now in 0..=end {
        // Twice a second: what one result lets begin may begin at once.
        for _ in 0..2 {
            for kind in probes.take_due(at(now)) {
                ran.push((now, kind));
                probes.result(kind, passes(kind, now), at(now));
            }
        }
    }
    ran
}

#[test]
fn a_container_without_probes_has_none_to_run() {
    assert_eq!(probes(json!({}), None), None);
}

#[test]
fn readiness_starts_failed_and_follows_its_thresholds() {
    let mut p = probes(
        json!({"readinessProbe": {"periodSeconds": 2, "initialDelaySeconds": 3, "successThreshold": 2, "failureThreshold": 2}}),
        None,
    )
    .unwrap();
    assert_eq!(p.probed(), Probed { started: true, ready: false });
    assert_eq!(p.next(), Some(at(3)));
    assert_eq!(run(&mut p, 4, |_, _| Some(true)), [(3, Readiness)]);
    assert!(!p.probed().ready, "one success is below the threshold");
    let mut answer = |now, passed| {
        assert_eq!(p.take_due(at(now)), [Readiness]);
        p.result(Readiness, passed, at(now));
        p.probed().ready
    };
    assert!(answer(5, Some(true)));
    assert!(answer(7, Some(false)));
    assert!(answer(9, None), "what could not be run counts for nothing");
    assert!(!answer(11, Some(false)), "the second failure, with nothing counted between");
    assert!(!answer(13, Some(true)));
    assert!(!answer(15, Some(false)));
    assert!(!answer(17, Some(true)));
    assert!(answer(19, Some(true)));
    assert_eq!(p.failed(), None, "readiness ends no container");
}

#[test]
fn a_failed_liveness_probe_ends_the_container_once_and_holds() {
    let mut p = probes(json!({"livenessProbe": {"periodSeconds": 5, "failureThreshold": 3}}), None).unwrap();
    assert_eq!(p.probed(), Probed { started: true, ready: true });
    let ran = run(&mut p, 60, |_, now| Some(now < 10));
    assert_eq!(ran, [(0, Liveness), (5, Liveness), (10, Liveness), (15, Liveness), (20, Liveness)]);
    assert_eq!((p.failed(), p.next()), (Some(Liveness), None));
}

#[test]
fn liveness_and_readiness_wait_for_the_startup_probe() {
    let all = json!({"startupProbe": {"periodSeconds": 1, "failureThreshold": 10}, "livenessProbe": {}, "readinessProbe": {}});
    let mut p = probes(all.clone(), None).unwrap();
    assert_eq!(p.probed(), Probed { started: false, ready: false });
    let ran = run(&mut p, 12, |kind, now| Some(kind != Startup || now >= 3));
    assert_eq!(ran[..4], [(0, Startup), (1, Startup), (2, Startup), (3, Startup)]);
    assert_eq!(ran[4..6], [(3, Liveness), (3, Readiness)], "at once, and the startup probe never again");
    assert!(ran[4..].iter().all(|(_, kind)| *kind != Startup));
    assert_eq!(p.probed(), Probed { started: true, ready: true });

    let mut p = probes(all, None).unwrap();
    assert_eq!(run(&mut p, 60, |_, _| Some(false)).len(), 10);
    assert_eq!((p.failed(), p.probed().started), (Some(Startup), false));
}

#[test]
fn a_restart_of_the_agent_keeps_the_last_word_and_spreads_the_probes() {
    let known = Probed { started: true, ready: true };
    let mut p = probes(json!({"startupProbe": {}, "readinessProbe": {"periodSeconds": 10, "failureThreshold": 1}}), Some(known)).unwrap();
    assert_eq!((p.probed(), p.next()), (known, Some(at(5))));
    assert_eq!(run(&mut p, 5, |_, _| Some(false)), [(5, Readiness)]);
    assert_eq!(p.probed(), Probed { started: true, ready: false });
}

#[test]
fn a_pod_that_is_stopped_is_asked_for_readiness_only() {
    let mut p = probes(json!({"livenessProbe": {"periodSeconds": 1}, "readinessProbe": {"periodSeconds": 1}}), None).unwrap();
    run(&mut p, 0, |_, _| Some(true));
    p.stop_judging();
    assert!(run(&mut p, 9, |_, _| Some(false)).iter().all(|(_, kind)| *kind == Readiness));
    assert_eq!((p.failed(), p.probed()), (None, Probed { started: true, ready: false }));
}

#[test]
fn a_slow_probe_is_not_run_twice_at_once_and_a_clock_set_back_holds_none() {
    let mut p = probes(json!({"livenessProbe": {"periodSeconds": 2}}), None).unwrap();
    assert_eq!(p.take_due(at(0)), [Liveness]);
    assert_eq!((p.take_due(at(50)), p.next()), (vec![], None));
    p.result(Liveness, Some(true), at(50));
    assert_eq!(p.take_due(at(50)), [Liveness]);
    p.result(Liveness, Some(true), at(50));
    assert_eq!(p.take_due(at(10)), [Liveness]);
}

proptest! {
    #[test]
    fn readiness_is_what_the_last_full_run_said(
        answers in prop::collection::vec(prop::option::of(any::<bool>()), 0..60),
        success in 1u32..4,
        failure in 1u32..4,
    ) {
        let probe = json!({"readinessProbe": {"periodSeconds": 1, "successThreshold": success, "failureThreshold": failure}});
        let mut p = probes(probe, None).unwrap();
        let (mut ready, mut run) = (false, (None, 0));
        for (now, answer) in answers.into_iter().enumerate() {
            let now = at(i64::try_from(now).unwrap());
            prop_assert_eq!(p.take_due(now), [Readiness]);
            p.result(Readiness, answer, now);
            if let Some(passed) = answer {
                run = (Some(passed), if run.0 == Some(passed) { run.1 + 1 } else { 1 });
                if run.1 >= if passed { success } else { failure } { ready = passed; }
            }
            prop_assert_eq!(p.probed().ready, ready);
        }
    }
}
