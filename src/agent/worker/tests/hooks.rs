//! Lifecycle hooks through the worker: what waits for postStart, what preStop comes before, what their failures do.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
use serde_json::{Value, json};

use super::life::{delete, running, status_in, waits_for};
use super::world::{Death, World, container, pod};
use crate::pod::container_id;

fn hooked(name: &str, lifecycle: Value) -> Container {
    Container { lifecycle: Some(serde_json::from_value(lifecycle).unwrap()), ..container(name) }
}

#[tokio::test(start_paused = true)]
async fn a_container_counts_as_running_and_the_next_starts_only_after_post_start() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().commands.insert("warm".into(), (Duration::from_secs(8), 0));
    world.put(pod("Always", vec![hooked("a", json!({"postStart": {"exec": {"command": ["warm"]}}})), container("b")]));
    let agent = world.agent().await;
    world.until("the hook runs", |h| !h.ran.is_empty()).await;
    let began = world.now();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(waits_for(&world.host(), "a", "ContainerCreating") && !running(&world.host(), "b"));
    world.until("both run", |h| running(h, "a") && running(h, "b")).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 8);
    assert!(world.host().signals.is_empty());
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_post_start_ends_the_container_and_it_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().commands.insert("warm".into(), (Duration::ZERO, 2));
    world.host().stubborn.insert(container_id("u-1", "c", 0));
    world.put(pod("Always", vec![hooked("c", json!({"postStart": {"exec": {"command": ["warm"]}}}))]));
    let agent = world.agent().await;
    world.until("the hook failed", |h| waits_for(h, "c", "PostStartHookError")).await;
    // A kill of the agent now must not leave a container running whose hook has failed.
    agent.kill().await;
    let agent = world.agent().await;
    let began = world.now();
    world.until("ended", |h| status_in(h, "c").is_some_and(|s| s.last_state.is_some() || s.restart_count == 1)).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 30, "its grace");
    world.host().commands.clear();
    world.until("it runs again", |h| running(h, "c")).await;
    let end = status_in(&world.host(), "c").and_then(|s| s.last_state?.terminated).unwrap();
    assert!(end.started_at.is_some());
    assert_eq!(world.host().recorded[0].1, 137);
    for event in ["FailedPostStartHook: PostStartHook failed", "Killing: FailedPostStartHook"] {
        assert!(world.event_reasons().iter().any(|e| e == event), "{:?}", world.event_reasons());
    }
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn deletion_during_post_start_does_not_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![hooked("c", json!({"postStart": {"sleep": {"seconds": 3600}}}))]));
    let agent = world.agent().await;
    world.until("started", |h| h.trace.contains(&"start".to_owned())).await;
    let began = world.now();
    delete(&world, 20);
    world.until("gone", |h| h.holds_nothing() && h.objects.values().all(|o| o.as_pod().is_none())).await;
    assert!(world.now().duration_since(began).as_secs() < 3);
    assert_eq!(world.host().signals, [(container_id("u-1", "c", 0), 15)]);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn pre_stop_runs_before_the_signal_and_its_failure_is_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().commands.insert("drain".into(), (Duration::from_secs(6), 1));
    world.put(pod("Always", vec![hooked("c", json!({"preStop": {"exec": {"command": ["drain"]}}}))]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    let began = world.now();
    delete(&world, 20);
    world.until("the hook runs", |h| !h.ran.is_empty()).await;
    assert!(world.host().signals.is_empty());
    world.until("gone", |h| h.objects.values().all(|o| o.as_pod().is_none())).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 6);
    assert_eq!(world.host().signals, [(container_id("u-1", "c", 0), 15)]);
    let reasons = world.event_reasons();
    assert!(reasons.iter().any(|e| e == "FailedPreStopHook: PreStopHook failed"), "{reasons:?}");
    assert_eq!(reasons.iter().filter(|e| *e == "Killing: Stopping container c").count(), 1);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_longer_than_the_grace_is_overtaken_and_a_natural_end_runs_none() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![hooked("c", json!({"preStop": {"sleep": {"seconds": 3600}}}))]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    world.host().stubborn.insert(container_id("u-1", "c", 0));
    let began = world.now();
    delete(&world, 20);
    world.until("gone", |h| h.objects.values().all(|o| o.as_pod().is_none())).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 22);
    agent.kill().await;

    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().script.insert("c".into(), (5, 0));
    world.put(pod("Never", vec![hooked("c", json!({"preStop": {"exec": {"command": ["drain"]}}}))]));
    let agent = world.agent().await;
    world.until("succeeded", |h| super::world::phase(h) == "Succeeded").await;
    assert!(world.host().ran.is_empty() && world.host().signals.is_empty());
    agent.kill().await;
}

/// Runs a Pod with both hooks and a readiness probe, deletes it, with one death at `call`; returns whether the agent got that far.
async fn hooks_with_death(death: Death) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().commit_takes = Duration::from_millis(3);
    world.host().commands.insert("drain".into(), (Duration::from_secs(2), 0));
    let hooks = json!({"postStart": {"exec": {"command": ["warm"]}}, "preStop": {"exec": {"command": ["drain"]}}});
    let mut c = hooked("c", hooks);
    c.readiness_probe = Some(serde_json::from_value(json!({"exec": {"command": ["ready"]}, "periodSeconds": 1})).unwrap());
    world.put(pod("Always", vec![c]));
    world.die_at(death);
    let agent = world.agent().await;
    let ready = world.until("ready", |h| status_in(h, "c").is_some_and(|s| s.ready));
    let mut died = tokio::select! {
        () = world.death() => true,
        () = ready => false,
    };
    delete(&world, 20);
    if !died {
        died = tokio::select! {
            () = world.death() => true,
            () = world.until("gone", |h| h.holds_nothing() && h.objects.values().all(|o| o.as_pod().is_none())) => false,
        };
    }
    agent.kill().await;
    world.revive();
    let agent = world.agent().await;
    world.until("gone", |h| h.holds_nothing() && h.objects.values().all(|o| o.as_pod().is_none())).await;
    agent.kill().await;
    let host = world.host();
    assert!(host.violations.is_empty(), "{death:?}: {:?}", host.violations);
    assert!(host.started.len() <= 1 && host.started.values().all(|n| *n == 1), "{death:?}: {:?}", host.trace);
    let drained = host.ran.iter().any(|(word, _)| word == "drain");
    assert!(drained || host.signals.is_empty(), "a signal without its hook: {death:?} {:?}", host.trace);
    died
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_of_a_pod_with_hooks_and_a_probe() {
    let mut reached = 0;
    for call in 1..100 {
        let before = hooks_with_death(Death { call, after_effect: false }).await;
        let after = hooks_with_death(Death { call, after_effect: true }).await;
        if !before && !after {
            break;
        }
        reached = call;
    }
    assert!((10..99).contains(&reached), "{reached} calls");
}
