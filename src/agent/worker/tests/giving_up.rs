//! A start given up while the pod's volumes are being set up, which may take minutes: nobody waits for them, and nothing of them stays.

use std::time::Duration;

use super::life::{delete, gone};
use super::world::{Agent, Host, World, container, phase, pod};

/// The pod's volumes, set up in so long, are all that its start waits for.
async fn pending(world: &std::sync::Arc<World>, takes: Duration) -> Agent {
    world.host().setup_takes = takes;
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("all else is made", |h| ["attach", "image"].iter().all(|call| h.trace.iter().any(|made| made == call))).await;
    // The clock stands still until everybody waits.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!world.host().trace.iter().any(|call| call == "volumes" || call == "create"), "{:?}", world.host().trace);
    agent
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_does_not_wait_for_volumes_that_are_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let agent = pending(&world, Duration::from_secs(150)).await;
    let began = world.now();
    delete(&world, 30);
    world.until("gone", gone).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 0);
    assert!(world.host().holds_nothing(), "{:?}", world.host().trace);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(world.host().holds_nothing(), "and nothing comes after: {:?}", world.host().trace);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_has_to_go_does_not_wait_for_them_either() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let agent = pending(&world, Duration::from_secs(150)).await;
    let began = world.now();
    assert!(agent.workers.evict("u-1", "The node was low on resource: memory. ".to_owned()));
    world.until("failed and released", |h| phase(h) == "Failed" && Host::holds_nothing(h)).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 0);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_waits_for_its_address_which_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().attach_takes = Duration::from_secs(40);
    let agent = pending(&world, Duration::from_secs(150)).await;
    let began = world.now();
    delete(&world, 30);
    world.until("gone", gone).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 20, "CNI ADD is not given up half-way");
    assert!(world.host().holds_nothing(), "{:?}", world.host().trace);
    agent.kill().await;
}
