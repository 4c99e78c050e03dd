//! systemd's watchdog is fed by the reconcile loop and by nothing else: a stuck loop must stop the feeding.

use std::sync::Arc;
use std::time::Duration;

use minik8s::agent::HEARTBEAT;
use minik8s::agent::manifests::ManifestSet;

use super::agent::Agent;
use super::scratch;
use super::world::World;

/// `WatchdogSec=` of the unit.
fn limit() -> Duration {
    let unit = include_str!("../../systemd/minik8s.service");
    let seconds = unit.lines().find_map(|line| line.strip_prefix("WatchdogSec=")).unwrap();
    Duration::from_secs(seconds.parse().unwrap())
}

/// The longest time without a feeding within so many seconds.
async fn longest_gap(world: &World, seconds: u64) -> Duration {
    let (mut fed, mut gap, mut longest) = (world.state().beats, Duration::ZERO, Duration::ZERO);
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = world.state().beats;
        gap = if now == fed { gap + Duration::from_secs(1) } else { Duration::ZERO };
        (fed, longest) = (now, longest.max(gap));
    }
    longest
}

#[test]
fn a_living_loop_feeds_the_watchdog_and_a_stuck_one_does_not() {
    let base = scratch();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(1, base.path(), 0, 0, false);
        let agent = Agent::start(&world);
        world.sets.send_replace(Some(Arc::new(ManifestSet::default())));
        let rests = longest_gap(&world, 900).await;
        assert!(rests <= HEARTBEAT && rests * 2 < limit(), "at rest it is fed every {rests:?}");
        // A disk that answers no more holds the loop in its next commit; everything else of the agent goes on.
        world.state().disk_takes = Duration::from_secs(86_400);
        world.sets.send_replace(Some(Arc::new(ManifestSet { objects: vec![job()], ..ManifestSet::default() })));
        assert!(longest_gap(&world, 900).await > limit() * 10, "nobody else feeds it");
        assert!(!agent.has_stopped());
        agent.kill(&world).await;
    });
}

fn job() -> Arc<minik8s::api::Object> {
    let job = serde_json::json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "j", "namespace": "default", "uid": "u", "annotations": {"minik8s.io/source": "j.yaml#0", "minik8s.io/manifest-hash": "h"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    Arc::new(minik8s::api::Object::from_json(minik8s::api::Kind::Job, job.to_string().as_bytes()).unwrap())
}
