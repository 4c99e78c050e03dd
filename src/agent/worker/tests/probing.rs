//! Probes through the worker: what they make of ready, started and restarts, and what a restart of the agent leaves of it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
use serde_json::json;

use super::life::{delete, running, status_in};
use super::world::{Host, World, container, pod};
use crate::pod::container_id;

/// A container with these probes; each runs the command of its own name.
fn probed(probes: &[(&str, i32)]) -> Container {
    let mut c = serde_json::to_value(container("c")).unwrap();
    for (name, period) in probes {
        c[*name] = json!({"exec": {"command": [name]}, "periodSeconds": period, "timeoutSeconds": 1, "failureThreshold": 2});
    }
    serde_json::from_value(c).unwrap()
}

fn ready(host: &Host) -> bool {
    status_in(host, "c").is_some_and(|s| s.ready)
}

#[tokio::test(start_paused = true)]
async fn a_container_is_ready_when_its_probe_passes_and_unready_after_the_threshold() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().commands.insert("readinessProbe".into(), (Duration::ZERO, 1));
    world.put(pod("Always", vec![probed(&[("readinessProbe", 5)])]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    let status = status_in(&world.host(), "c").unwrap();
    assert_eq!((status.ready, status.started), (false, Some(true)));
    let failed = "Unhealthy: Readiness probe failed: readinessProbe says 1";
    assert!(world.event_reasons().iter().any(|e| e == failed), "{:?}", world.event_reasons());
    world.host().commands.clear();
    let began = world.now();
    world.until("ready", ready).await;
    assert!(world.now().duration_since(began).as_secs() <= 5);
    world.host().commands.insert("readinessProbe".into(), (Duration::from_secs(9), 0));
    world.until("unready", |h| !ready(h)).await;
    let slow = "Unhealthy: Readiness probe failed: command timed out: \"readinessProbe\" timed out after 1s";
    assert!(world.event_reasons().iter().any(|e| e == slow), "{:?}", world.event_reasons());
    assert_eq!(status_in(&world.host(), "c").unwrap().restart_count, 0);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_liveness_probe_restarts_and_the_new_container_is_probed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().commands.insert("livenessProbe".into(), (Duration::ZERO, 7));
    world.put(pod("Always", vec![probed(&[("livenessProbe", 3)])]));
    let agent = world.agent().await;
    world.until("restarted", |h| running(h, "c") && status_in(h, "c").is_some_and(|s| s.restart_count == 1)).await;
    let first = container_id("u-1", "c", 0);
    assert_eq!(world.host().signals, [(first.clone(), 15)]);
    assert_eq!(world.host().ran.iter().filter(|(_, id)| *id == first).count(), 2);
    let killing = "Killing: Container c failed liveness probe, will be restarted";
    assert!(world.event_reasons().iter().any(|e| e == killing), "{:?}", world.event_reasons());
    world.host().commands.clear();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(status_in(&world.host(), "c").unwrap().restart_count, 1);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_comes_back_does_not_turn_a_ready_container_unready() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![probed(&[("startupProbe", 1), ("readinessProbe", 10)])]));
    let agent = world.agent().await;
    world.until("ready", ready).await;
    agent.kill().await;
    let before = world.host().trace.len();
    // The runtime does not answer at first: what it cannot be asked about stays as it was.
    world.host().runtime_away = true;
    let agent = world.agent().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(ready(&world.host()));
    agent.kill().await;
    world.host().runtime_away = false;
    let agent = world.agent().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let after: Vec<_> = world.host().trace[before..].to_vec();
    assert!(!after.contains(&"commit".to_owned()), "{after:?}");
    assert!(after.contains(&"exec".to_owned()), "the readiness probe goes on: {after:?}");
    assert!(world.host().ran.iter().filter(|(word, _)| word == "startupProbe").count() == 1, "started stays started");
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_of_the_agent_between_the_verdict_and_the_signal_ends_in_one_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![probed(&[("livenessProbe", 2)])]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    world.host().stubborn.insert(container_id("u-1", "c", 0));
    world.host().commands.insert("livenessProbe".into(), (Duration::ZERO, 1));
    world.until("asked to stop", |h| !h.signals.is_empty()).await;
    agent.kill().await;
    let agent = world.agent().await;
    world.until("restarted", |h| running(h, "c") && status_in(h, "c").is_some_and(|s| s.restart_count == 1)).await;
    assert!(world.host().violations.is_empty() && world.host().started.values().all(|n| *n == 1));
    assert!(world.host().signals.contains(&(container_id("u-1", "c", 0), 9)));
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_under_way_does_not_hold_up_the_end_of_its_pod() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut c = probed(&[("readinessProbe", 1)]);
    c.readiness_probe.as_mut().unwrap().timeout_seconds = Some(600);
    world.host().commands.insert("readinessProbe".into(), (Duration::from_secs(500), 0));
    world.put(pod("Always", vec![c]));
    let agent = world.agent().await;
    world.until("probed", |h| !h.ran.is_empty()).await;
    let began = world.now();
    delete(&world, 20);
    world.until("gone", |h| h.objects.values().all(|o| o.as_pod().is_none())).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 0);
    assert!(world.host().holds_nothing());
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_startup_probe_of_a_sidecar_holds_the_main_container_back() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut sidecar = probed(&[("startupProbe", 1)]);
    (sidecar.name, sidecar.restart_policy) = ("s".into(), Some("Always".into()));
    sidecar.startup_probe.as_mut().unwrap().failure_threshold = Some(100);
    world.host().commands.insert("startupProbe".into(), (Duration::ZERO, 1));
    world.host().script.insert("c".into(), (3, 0));
    let mut p = pod("Never", vec![container("c")]);
    p.spec.as_mut().unwrap().init_containers = Some(vec![sidecar]);
    world.put(p);
    let agent = world.agent().await;
    world.until("the sidecar runs", |h| running(h, "s")).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(world.host().started.len(), 1);
    world.host().commands.clear();
    world.until("succeeded", |h| super::world::phase(h) == "Succeeded" && h.holds_nothing()).await;
    assert_eq!(world.host().signals, [(container_id("u-1", "s", 0), 15)]);
    agent.kill().await;
}
