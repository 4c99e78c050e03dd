//! RestartAllContainers: what ends, in which order all begins again, what stays, and that a crash at any point changes nothing.

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, ContainerRestartRuleOnExitCodes, Pod, PodCondition};

use super::world::{World, at, container, pod, sidecar};
use crate::pod::attempt::status_of;
use crate::pod::{Kill, compute_pod_actions, conditions, phase};

/// Restarts all when it ends with 42.
fn trigger(container: Container) -> Container {
    let codes = ContainerRestartRuleOnExitCodes { operator: "In".into(), values: Some(vec![42]) };
    let rule = ContainerRestartRule { action: "RestartAllContainers".into(), exit_codes: Some(codes) };
    let policy = container.restart_policy.clone().or(Some("Never".into()));
    Container { restart_policy_rules: Some(vec![rule]), restart_policy: policy, ..container }
}

fn condition(pod: &Pod, kind: &str) -> PodCondition {
    pod.status.as_ref().unwrap().conditions.iter().flatten().find(|c| c.type_ == kind).cloned().unwrap()
}

fn order(world: &World) -> Vec<(&str, u32)> {
    world.starts.iter().map(|(name, attempt, _)| (name.as_str(), *attempt)).collect()
}

#[test]
fn all_containers_end_and_begin_as_at_first_whatever_their_policies() {
    let spec =
        pod("Never", vec![container("init"), sidecar("side")], vec![trigger(container("main")), container("other"), container("done")]);
    let mut world = World::new(
        spec,
        &[("init", &[(1, 0), (1, 0)]), ("main", &[(10, 42), (5, 0)]), ("other", &[(100, 0), (5, 0)]), ("done", &[(2, 0), (2, 0)])],
    );
    world.run_until(60);
    let once = [("init", 0), ("side", 0), ("main", 0), ("other", 0), ("done", 0)];
    let again = [("init", 1), ("side", 1), ("main", 1), ("other", 1), ("done", 1)];
    assert_eq!(order(&world), [once, again].concat());
    let other = status_of(&world.pod, "other").unwrap();
    assert_eq!((other.restart_count, other.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code), (1, 137));
    assert_eq!(world.phases, ["Pending", "Running", "Pending", "Running", "Succeeded"]);
    let said = condition(&world.pod, "AllContainersRestarting");
    assert_eq!((said.status.as_str(), said.reason.as_deref()), ("False", Some("PodCompleted")));
}

#[test]
fn what_runs_gets_its_stop_signal_and_two_seconds_without_hooks() {
    let mut main = container("other");
    main.lifecycle = serde_json::from_value(serde_json::json!({"preStop": {"exec": {"command": ["x"]}}})).unwrap();
    let mut world = World::new(pod("Always", vec![], vec![trigger(container("main")), main]), &[("main", &[(10, 42), (500, 0)])]);
    world.run_until(11);
    let said = condition(&world.pod, "AllContainersRestarting");
    assert_eq!((said.status.as_str(), said.reason.as_deref()), ("True", Some("RestartAllContainersStarted")));
    assert_eq!(said.message.as_deref(), Some("container exited with restart policy rule"));
    assert_eq!(phase::of(&world.pod), Some("Pending"));
    assert!(!conditions::holds(&world.pod, "Ready") && conditions::holds(&world.pod, "Initialized"));
    world.run_until(30);
    assert_eq!(world.kills[..2], [("other".to_owned(), Kill::Stop, 10), ("other".to_owned(), Kill::Kill, 12)]);
    assert_eq!(condition(&world.pod, "AllContainersRestarting").status, "False");
    assert_eq!(order(&world), [("main", 0), ("other", 0), ("main", 1), ("other", 1)]);
    assert_eq!(world.starts[2].2, 12);
}

#[test]
fn init_containers_and_sidecars_may_ask_for_it_too_and_a_failed_init_still_fails() {
    let spec = pod("Never", vec![trigger(container("a")), trigger(sidecar("side")), container("b")], vec![container("main")]);
    let mut world = World::new(spec, &[("a", &[(1, 42), (1, 0), (1, 0)]), ("side", &[(3, 42)]), ("b", &[(30, 0), (1, 1)])]);
    world.run_until(200);
    assert_eq!(order(&world), [("a", 0), ("a", 1), ("side", 0), ("b", 0), ("a", 2), ("side", 1), ("b", 1)]);
    assert_eq!(phase::of(&world.pod), Some("Failed"));
    assert_eq!(condition(&world.pod, "AllContainersRestarting").reason.as_deref(), Some("PodFailed"));
}

#[test]
fn every_round_waits_for_the_back_off() {
    let mut world = World::new(pod("Never", vec![], vec![trigger(container("main"))]), &[("main", &[(1, 42); 5])]);
    world.run_until(400);
    let starts: Vec<i64> = world.starts.iter().map(|(.., second)| *second).collect();
    assert_eq!(starts, [0, 1, 12, 33, 74, 155]);
}

#[test]
fn nothing_is_restarted_on_other_codes_or_while_the_pod_ends() {
    let mut world = World::new(pod("Never", vec![], vec![trigger(container("main"))]), &[("main", &[(1, 41)])]);
    world.run_until(20);
    assert_eq!((order(&world).len(), phase::of(&world.pod)), (1, Some("Failed")));
    let mut world = World::new(pod("Never", vec![], vec![trigger(container("main")), container("other")]), &[("main", &[(5, 42)])]);
    world.run_until(4);
    world.pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(34)));
    world.pod.metadata.deletion_grace_period_seconds = Some(30);
    world.run_until(60);
    assert_eq!(order(&world), [("main", 0), ("other", 0)]);
}

#[test]
fn the_same_state_asks_for_the_same_again() {
    let mut world = World::new(pod("Always", vec![], vec![trigger(container("main")), container("other")]), &[("main", &[(10, 42)])]);
    world.run_until(10);
    let plan = |pod: &Pod| compute_pod_actions(pod, &world.seen, at(11));
    let first = plan(&world.pod);
    assert_eq!(plan(&first.pod).pod, first.pod);
}
