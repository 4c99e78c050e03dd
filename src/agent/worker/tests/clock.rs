//! The clock is set back by a year while the agent runs: nothing restarts, and no timer is stuck for the size of the step.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::life::{delete, running, waits_for};
use super::world::{Host, World, container, pod};
use crate::pod::container_id;

const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);
/// A timer's own length, and the longest a worker rests.
const SOON: Duration = Duration::from_secs(60);

/// How long it takes in time that passes, whatever the clock shows.
async fn soon(world: &Arc<World>, what: &str, holds: impl FnMut(&Host) -> bool) {
    let begun = tokio::time::Instant::now();
    world.until(what, holds).await;
    assert!(begun.elapsed() < SOON, "{what}: after {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_runs_goes_on_running() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    world.set_clock(-YEAR);
    world.edit(|pod| drop(pod.metadata.labels.get_or_insert_default().insert("a".into(), "b".into())));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(running(&world.host(), "c") && world.host().signals.is_empty());
    assert_eq!(world.host().started.values().copied().collect::<Vec<_>>(), [1]);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_loops_back_off_ends() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().script.insert("c".into(), (0, 1));
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("backs off", |h| waits_for(h, "c", "CrashLoopBackOff")).await;
    world.set_clock(-YEAR);
    soon(&world, "restarted", |h| h.started.len() == 3).await;
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_pull_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().pull_error = true;
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("backs off", |h| waits_for(h, "c", "ImagePullBackOff")).await;
    world.set_clock(-YEAR);
    world.host().pull_error = false;
    soon(&world, "running", |h| running(h, "c")).await;
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refused_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().store_full = true;
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    world.set_clock(-YEAR);
    world.host().store_full = false;
    soon(&world, "running", |h| running(h, "c")).await;
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_grace_period_ends_and_is_not_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    world.host().stubborn.insert(container_id("u-1", "c", 0));
    delete(&world, 20);
    let begun = tokio::time::Instant::now();
    world.until("asked", |h| h.signals.len() == 1).await;
    world.set_clock(-YEAR);
    soon(&world, "gone", |h| h.objects.values().all(|o| o.as_pod().is_none())).await;
    assert!(begun.elapsed() >= Duration::from_secs(20) && world.host().signals.len() == 2);
    agent.kill().await;
}
