//! A pod's network after a restart of the agent, and addresses that a plugin does not take back.

use super::life::{delete, gone, running, status_in};
use super::world::{Host, World, container, pod};

fn told(host: &Host, reason: &str, words: &str) -> bool {
    let mut events = host.objects.values().filter_map(|o| o.as_event());
    events.any(|e| e.reason.as_deref() == Some(reason) && e.message.as_ref().is_some_and(|m| m.contains(words)))
}

#[tokio::test(start_paused = true)]
async fn a_network_that_fails_its_check_is_told_of_and_what_runs_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![container("c"), container("d")]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c") && running(h, "d")).await;
    assert!(!world.host().trace.iter().any(|call| call == "check"), "what this agent made it need not ask for");
    agent.kill().await;
    let made = |host: &Host| host.trace.iter().filter(|call| *call == "attach" || *call == "netns").count();
    let before = made(&world.host());
    world.host().check_fails = true;
    world.host().namespaces.clear();
    let agent = world.agent().await;
    world.until("told", |h| told(h, "FailedPodSandBoxStatus", "Unable to get pod sandbox status: CNI plugin \"bridge\"")).await;
    agent.kill().await;
    let host = world.host();
    assert!(host.namespaces.contains("u-1"), "pinned again");
    assert_eq!(host.trace.iter().filter(|call| *call == "check").count(), 1, "once a pod");
    assert_eq!(made(&host), before, "nothing is made anew");
    assert!(host.signals.is_empty() && ["c", "d"].iter().all(|c| status_in(&host, c).is_some_and(|s| s.restart_count == 0)));
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_addresses_are_not_taken_back_goes_all_the_same_and_they_are_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    world.host().detach_fails = true;
    let began = world.now();
    delete(&world, 0);
    world.until("gone", gone).await;
    assert!((10..=60).contains(&world.now().duration_since(began).as_secs()), "after a few tries");
    assert!(told(&world.host(), "FailedKillPod", "error killing pod: failed to \"KillPodSandbox\" for \"u-1\" with KillPodSandboxError: "));
    assert!(!world.host().holds_nothing());
    world.host().detach_panics = true;
    world.until("it panicked", |h| !h.detach_panics).await;
    world.host().detach_fails = false;
    world.until("given back", Host::holds_nothing).await;
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_namespaces_stay_does_not_go_and_such_failures_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    world.host().unpin_fails = true;
    let tries = |host: &Host| host.trace.iter().filter(|call| *call == "detach").count();
    delete(&world, 0);
    world.until("tried often", |h| tries(h) >= 8).await;
    assert!(!gone(&world.host()));
    {
        let mut host = world.host();
        (host.unpin_fails, host.detach_fails) = (false, true);
    }
    let before = tries(&world.host());
    world.until("gone", gone).await;
    assert!(tries(&world.host()) >= before + 5, "these are awaited as often as if nothing had failed before");
    world.host().detach_fails = false;
    world.until("given back", Host::holds_nothing).await;
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_resolv_conf_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().dns_omitted = vec!["Nameserver limits were exceeded".to_owned()];
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("told", |h| running(h, "c") && told(h, "DNSConfigForming", "Nameserver limits were exceeded")).await;
    agent.kill().await;
}
