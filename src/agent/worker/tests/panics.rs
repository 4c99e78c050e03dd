//! A panic at any driver call: a fault of the program in one place costs a pause, not the Pod.

use std::time::Duration;

use super::world::{World, container, phase, pod};

/// Runs a Pod to its end with a panic at `call`; returns whether there was one.
async fn run_with_panic(call: usize) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().commit_takes = Duration::from_millis(3);
    for (name, code) in [("a", 0), ("b", 3)] {
        world.host().script.insert(name.to_owned(), (3, code));
    }
    world.put(pod("Never", vec![container("a"), container("b")]));
    let agent = world.agent().await;
    world.host().panic_at = Some(call);
    world.until("over and released", |h| phase(h) == "Failed" && h.holds_nothing()).await;
    let reached = world.host().panic_at.take().is_none();
    agent.kill().await;
    let host = world.host();
    assert!(host.violations.is_empty(), "call {call}: {:?}", host.violations);
    assert!(host.started.values().all(|n| *n == 1), "call {call}: an attempt ran twice: {:?}\n{:?}", host.started, host.trace);
    let mut codes: Vec<i32> = host.recorded.iter().map(|(_, code)| *code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 3], "call {call}: {:?}", host.trace);
    reached
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_any_call_ends_in_another_try() {
    // The first is adoption's, before there are workers.
    let mut call = 2;
    while run_with_panic(call).await {
        call += 1;
        assert!(call < 200, "more calls than expected");
    }
    assert!(call > 15, "only {call} calls were tried");
}
