//! A restart of all containers while one of them is still being made.

use std::time::Duration;

use super::life::{running, status_in};
use super::world::{Host, World, container, pod};

#[tokio::test(start_paused = true)]
async fn what_was_being_made_when_all_are_restarted_is_given_up_and_made_after_all() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().pull_takes = Some(Duration::from_secs(30));
    world.host().script.insert("main".into(), (20, 42));
    let mut main = container("main");
    main.restart_policy = Some("Never".into());
    let rules = serde_json::json!([{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]);
    main.restart_policy_rules = serde_json::from_value(rules).unwrap();
    world.put(pod("Never", vec![main, container("other")]));
    let agent = world.agent().await;
    let message = |h: &Host| status_in(h, "other").and_then(|s| s.state?.waiting?.message).unwrap_or_default();
    world.until("the second is being pulled", |h| running(h, "main") && message(h).contains("50%")).await;
    world.host().pull_takes = None;
    world.host().script.clear();
    world.until("the first has ended", |h| h.recorded.iter().any(|(_, code)| *code == 42)).await;
    let ended = world.now();
    world.until("both run", |h| running(h, "main") && running(h, "other")).await;
    assert!(world.now().duration_since(ended).as_secs() < 5, "nobody waits for a pull that was given up");
    let counts = ["main", "other"].map(|name| status_in(&world.host(), name).unwrap().restart_count);
    assert_eq!(counts, [1, 0], "what never ran was not restarted");
    assert!(world.host().violations.is_empty());
    agent.kill().await;
}
