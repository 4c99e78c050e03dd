//! How single containers end: condemned by a probe or a hook while their Pod goes on, with their preStop hook inside the grace.

use k8s_openapi::api::core::v1::{Container, Probe};
use serde_json::json;

use super::delete;
use super::world::{World, at, container, pod, sidecar};
use crate::pod::attempt::{container_id, status_id, status_of};
use crate::pod::probes::ProbeKind;
use crate::pod::signals::{Condemned, Verdict};
use crate::pod::{Kill, Probed, compute_pod_actions, phase};

fn with_hook(mut container: Container) -> Container {
    container.lifecycle = Some(serde_json::from_value(json!({"preStop": {"sleep": {"seconds": 5}}})).unwrap());
    container
}

fn condemn(w: &mut World, name: &str, why: Verdict) {
    w.seen.condemned.insert(name.into(), Condemned { why, since: at(w.now) });
}

/// All messages of Killing events the next step records.
fn killing(w: &World) -> Vec<String> {
    let plan = compute_pod_actions(&w.pod, &w.seen, at(w.now));
    plan.events.into_iter().filter(|e| e.reason == "Killing").map(|e| e.message).collect()
}

#[test]
fn a_failed_liveness_probe_stops_the_container_with_the_probes_grace_and_it_is_restarted() {
    let mut c = container("c");
    c.liveness_probe = Some(Probe { termination_grace_period_seconds: Some(7), ..Probe::default() });
    let mut w = World::new(pod("Always", vec![], vec![c, container("d")]), &[]);
    w.run_until(10);
    condemn(&mut w, "c", Verdict::Probe(ProbeKind::Liveness));
    assert_eq!(killing(&w), ["Container c failed liveness probe, will be restarted"]);
    w.run_until(30);
    assert_eq!(w.kills, [("c".to_owned(), Kill::Stop, 10), ("c".to_owned(), Kill::Kill, 17)]);
    assert_eq!((w.times("c"), w.times("d").len()), (vec![0, 17], 1));
    assert!(w.seen.condemned.is_empty());
}

#[test]
fn what_the_killing_event_says() {
    for (policy, own, rules, message) in [
        ("Always", None, false, "Container c failed startup probe, will be restarted"),
        ("Never", None, false, "Container c failed startup probe"),
        ("Never", Some("OnFailure"), false, "Container c failed startup probe, will be restarted"),
        ("Never", Some("Never"), true, "Container c failed startup probe, will be restarted"),
    ] {
        let mut c = container("c");
        c.restart_policy = own.map(str::to_owned);
        let rule = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}]);
        c.restart_policy_rules = rules.then(|| serde_json::from_value(rule).unwrap());
        let mut w = World::new(pod(policy, vec![], vec![c]), &[]);
        w.run_until(1);
        condemn(&mut w, "c", Verdict::Probe(ProbeKind::Startup));
        assert_eq!(killing(&w), [message]);
    }
    let mut w = World::new(pod("Never", vec![sidecar("s")], vec![container("c")]), &[]);
    w.run_until(1);
    condemn(&mut w, "s", Verdict::Probe(ProbeKind::Liveness));
    condemn(&mut w, "c", Verdict::PostStart);
    assert_eq!(killing(&w), ["Init container s failed liveness probe", "FailedPostStartHook"]);
}

#[test]
fn the_pre_stop_hook_runs_inside_the_grace() {
    let mut w = World::new(pod("Always", vec![], vec![with_hook(container("c"))]), &[]);
    w.run_until(10);
    delete(&mut w, 20);
    w.run_until(14);
    assert_eq!(w.kills, [("c".to_owned(), Kill::PreStop, 10)]);
    w.seen.pre_stopped.insert("c".into());
    w.run_until(40);
    assert_eq!(w.kills[1..], [("c".to_owned(), Kill::Stop, 14), ("c".to_owned(), Kill::Kill, 30)]);
}

#[test]
fn a_hook_that_never_ends_leaves_two_seconds_and_none_runs_without_a_grace() {
    let mut w = World::new(pod("Always", vec![], vec![with_hook(container("c"))]), &[]);
    w.run_until(10);
    delete(&mut w, 20);
    w.run_until(60);
    assert_eq!(w.kills, [("c".to_owned(), Kill::PreStop, 10), ("c".to_owned(), Kill::Stop, 30), ("c".to_owned(), Kill::Kill, 32)]);

    let mut w = World::new(pod("Always", vec![], vec![with_hook(container("c"))]), &[]);
    w.run_until(10);
    delete(&mut w, 0);
    w.run_until(60);
    assert_eq!(w.kills, [("c".to_owned(), Kill::Stop, 10), ("c".to_owned(), Kill::Kill, 12)]);
}

#[test]
fn hooks_of_sidecars_run_at_once_and_their_signals_wait_for_their_turn() {
    let inits = vec![with_hook(sidecar("s")), sidecar("t")];
    let mut w = World::new(pod("Always", inits, vec![container("c")]), &[]);
    w.run_until(10);
    delete(&mut w, 20);
    w.settle();
    assert_eq!(w.kills, [("c".to_owned(), Kill::Stop, 10), ("s".to_owned(), Kill::PreStop, 10)]);
    w.seen.pre_stopped.insert("s".into());
    w.ends.insert("c".into(), (12, 0));
    w.run_until(13);
    assert_eq!(w.kills[2..], [("t".to_owned(), Kill::Stop, 12)]);
    w.run_until(60);
    let rest = [("s".to_owned(), Kill::Stop, 30), ("t".to_owned(), Kill::Kill, 30), ("s".to_owned(), Kill::Kill, 32)];
    assert_eq!(w.kills[3..], rest);
}

#[test]
fn a_sidecar_that_has_not_started_holds_back_what_comes_after_it() {
    let mut w = World::new(pod("Always", vec![sidecar("s")], vec![container("c")]), &[]);
    w.seen.probed.insert("s".into(), Probed { started: false, ready: false });
    w.run_until(10);
    assert_eq!((w.times("s").len(), w.times("c").len(), w.phase()), (1, 0, "Pending"));
    assert_eq!(w.condition("Initialized").2, "containers with incomplete status: [s]");
    w.seen.probed.insert("s".into(), Probed { started: true, ready: false });
    w.run_until(12);
    assert_eq!((w.times("c"), w.phase()), (vec![10], "Running"));
    assert_eq!(w.condition("Ready").2, "containers with unready status: [s]");
    w.seen.probed.insert("s".into(), Probed { started: true, ready: true });
    w.run_until(13);
    assert_eq!(w.condition("Ready").0, "True");
}

/// An OnFailure Job's pod, stopped at its backoffLimit the moment its next restart is announced, is kept with the log of its last run.
#[test]
fn a_restart_that_was_only_announced_leaves_the_run_before_it_the_last() {
    let mut w = World::new(pod("OnFailure", vec![], vec![container("c")]), &[("c", &[(1, 3), (1, 4)])]);
    w.run_until(11);
    w.now = 12;
    let plan = compute_pod_actions(&w.pod, &w.seen, at(12));
    assert_eq!((plan.start.len(), plan.start[0].attempt), (1, 2));
    w.pod = plan.pod;
    delete(&mut w, 30);
    w.run_until(13);
    let status = status_of(&w.pod, "c").expect("there");
    let end = phase::ended(status).expect("closed");
    assert_eq!((w.phase(), end.exit_code, end.reason.as_deref()), ("Failed", 4, Some("Error")));
    assert_eq!((status.restart_count, status.container_id.clone()), (1, Some(status_id(&container_id("u-1", "c", 1)))));
    assert_eq!(
        (end.container_id.clone(), status.last_state.as_ref().and_then(|s| s.terminated.as_ref())),
        (status.container_id.clone(), None)
    );
}
