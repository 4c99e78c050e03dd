//! Kill -9 at every driver call, before and after its effect: nothing runs twice, every end is recorded once, nothing is left behind.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;

use super::world::{Death, World, container, phase, pod};
use crate::agent::worker::tests::life::delete;

/// Runs the Pod to its end with one death at `call`; returns whether the agent got that far.
async fn run_with_death(policy: &'static str, messages: Option<&str>, codes: &[(&str, u32)], death: Death) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().commit_takes = Duration::from_millis(3);
    for (name, code) in codes {
        world.host().script.insert((*name).to_owned(), (3, *code));
    }
    let containers = codes.iter().map(|(name, _)| Container { termination_message_policy: messages.map(str::to_owned), ..container(name) });
    world.put(pod(policy, containers.collect()));
    world.die_at(death);
    let agent = world.agent().await;
    let finished = world.until("released", |h| phase(h) == "Succeeded" || phase(h) == "Failed");
    let died = tokio::select! {
        () = world.death() => true,
        () = async { finished.await; settled(&world, &agent).await } => world.host().dead,
    };
    agent.kill().await;
    world.revive();
    let agent = world.agent().await;
    let wait = world.until("terminal and released", |h| {
        let held = h.containers.len() + h.namespaces.len() + h.volumes.len() + h.cgroups.len();
        (phase(h) == "Succeeded" || phase(h) == "Failed") && held == 0
    });
    wait.await;
    settled(&world, &agent).await;
    check(&world, codes, death);
    delete(&world, 1);
    world.until("gone", |h| h.objects.values().all(|o| o.as_pod().is_none())).await;
    agent.kill().await;
    died
}

async fn settled(world: &World, agent: &super::world::Agent) {
    for _ in 0..1000 {
        if agent.workers.active() == 0 || world.host().dead {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the worker does not settle");
}

fn check(world: &World, codes: &[(&str, u32)], death: Death) {
    let host = world.host();
    assert!(host.violations.is_empty(), "{death:?}: {:?}", host.violations);
    assert!(host.started.values().all(|n| *n == 1), "an attempt ran twice: {death:?} {:?}\n{:?}", host.started, host.trace);
    assert_eq!(host.started.len(), codes.len(), "each container ran once: {death:?}\n{:?}", host.trace);
    let mut recorded: Vec<_> = host.recorded.iter().map(|(_, code)| *code).collect();
    recorded.sort_unstable();
    let mut want: Vec<_> = codes.iter().map(|(_, code)| i32::try_from(*code).unwrap()).collect();
    want.sort_unstable();
    assert_eq!(recorded, want, "each end is recorded once, as it was: {death:?}\n{:?}", host.trace);
    assert!(host.namespaces.is_empty() && host.volumes.is_empty() && host.cgroups.is_empty() && host.containers.is_empty());
}

async fn every_death(policy: &'static str, messages: Option<&str>, codes: &[(&str, u32)]) -> usize {
    for call in 1..200 {
        let mut died = false;
        for after_effect in [false, true] {
            died |= run_with_death(policy, messages, codes, Death { call, after_effect }).await;
        }
        if !died {
            return call;
        }
    }
    panic!("more calls than expected");
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_of_a_pod_that_never_restarts() {
    let calls = every_death("Never", None, &[("a", 0), ("b", 3)]).await;
    assert!(calls > 15, "only {calls} calls were tried");
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_of_a_pod_that_restarts_on_failure() {
    let calls = every_death("OnFailure", None, &[("a", 0)]).await;
    assert!(calls > 10, "only {calls} calls were tried");
}

/// The task is deleted before the end is durable: the marker has to carry it over the agent's death.
#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_of_a_pod_whose_message_is_the_end_of_its_log() {
    let calls = every_death("Never", Some("FallbackToLogsOnError"), &[("a", 3)]).await;
    assert!(calls > 10, "only {calls} calls were tried");
}

/// A crash loop, or a deletion, with one death at `call`; returns whether the agent got that far.
async fn restarts_with_death(death: Death, deleted: bool) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().commit_takes = Duration::from_millis(3);
    if !deleted {
        world.host().script.insert("c".into(), (3, 1));
    }
    world.put(pod("Always", vec![container("c")]));
    if !deleted {
        world.die_at(death);
    }
    let agent = world.agent().await;
    if deleted {
        world.until("runs", |h| phase(h) == "Running").await;
        world.host().stubborn.insert(crate::pod::container_id("u-1", "c", 0));
        world.die_at(death);
        delete(&world, 20);
    }
    let done = world.until("done", |h| if deleted { h.objects.values().all(|o| o.as_pod().is_none()) } else { h.recorded.len() >= 3 });
    let died = tokio::select! {
        () = world.death() => true,
        () = done => false,
    };
    agent.kill().await;
    world.revive();
    let agent = world.agent().await;
    if deleted {
        world.until("gone", |h| h.objects.values().all(|o| o.as_pod().is_none()) && h.containers.is_empty() && h.cgroups.is_empty()).await;
        assert!(world.host().namespaces.is_empty() && world.host().started.len() == 1);
    } else {
        world.until("five ends", |h| h.recorded.len() >= 5).await;
    }
    agent.kill().await;
    let host = world.host();
    assert!(host.violations.is_empty(), "{death:?}: {:?}", host.violations);
    assert!(host.started.values().all(|n| *n == 1), "an attempt ran twice: {death:?}\n{:?}", host.trace);
    let ids: std::collections::BTreeSet<_> = host.recorded.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), host.recorded.len(), "an end was recorded twice: {death:?}\n{:?}", host.recorded);
    assert!(deleted || host.recorded.iter().all(|(_, code)| *code == 1), "an end was made up: {death:?}\n{:?}", host.recorded);
    died
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_of_a_crash_loop_and_of_a_deletion() {
    for deleted in [false, true] {
        let mut reached = 0;
        for call in 1..100 {
            let before = restarts_with_death(Death { call, after_effect: false }, deleted).await;
            let after = restarts_with_death(Death { call, after_effect: true }, deleted).await;
            if !before && !after {
                break;
            }
            reached = call;
        }
        assert!((4..99).contains(&reached), "deleted {deleted}: {reached} calls");
    }
}
