//! What an earlier agent left of a Pod that is over.

use super::world::{World, container, phase, pod};

#[tokio::test(start_paused = true)]
async fn a_recorded_container_that_cannot_be_removed_at_once_is_removed_later() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().script.insert("c".into(), (3, 0));
    world.put(pod("Never", vec![container("c")]));
    let agent = world.agent().await;
    world.host().remove_errors = u32::MAX;
    world.until("ended", |h| phase(h) == "Succeeded").await;
    agent.kill().await;
    assert_eq!(world.host().containers.len(), 1);
    world.host().remove_errors = 3;
    let agent = world.agent().await;
    world.until("removed", |h| h.containers.is_empty()).await;
    agent.kill().await;
}
