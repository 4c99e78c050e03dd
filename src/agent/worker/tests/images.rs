//! A container's image: told of when a registry is asked, and not blamed for a containerd that is away.

use std::time::Duration;

use super::life::{running, status_in, waits_for};
use super::world::{Host, World, container, pod};
use crate::runtime::RuntimeEvent;

#[tokio::test(start_paused = true)]
async fn a_containerd_that_does_not_answer_is_no_failed_pull() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().runtime_away = true;
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    // The agent's first look at the runtime has to be over; its pods are taken up whether or not it answers.
    agent.workers.pod_changed(std::sync::Arc::new(world.pod().unwrap().into()));
    let message = |h: &Host| status_in(h, "c").and_then(|s| s.state?.waiting?.message).unwrap_or_default();
    world.until("it says so", |h| message(h).contains("does not answer")).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(waits_for(&world.host(), "c", "ContainerCreating") && message(&world.host()).contains("by itself"));
    let events = world.event_reasons();
    assert!(events.iter().any(|e| e.starts_with("FailedSync: containerd at s does not answer")), "{events:?}");
    assert!(!events.iter().any(|e| e.contains("Back-off") || e.starts_with("Failed:")), "{events:?}");
    world.host().runtime_away = false;
    world.host().pull_takes = Some(Duration::from_secs(5));
    let back = world.now();
    world.tell(RuntimeEvent::Connected);
    world.until("tried again", |h| waits_for(h, "c", "ContainerCreating") && message(h).is_empty()).await;
    world.until("running", |h| running(h, "c")).await;
    assert_eq!(world.now().duration_since(back).as_secs(), 5, "at once, without a back-off");
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_is_told_of_when_it_begins_and_when_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().pull_takes = Some(Duration::from_secs(90));
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    let told = |h: &Host, reason: &str| h.objects.values().any(|o| o.as_event().is_some_and(|e| e.reason.as_deref() == Some(reason)));
    let began = world.now();
    world.until("Pulling", |h| told(h, "Pulling")).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 0);
    // How far it is, half way: ours.
    let half = "Pulling image \"busybox:1.36\": 50%, 1.5 of 3.0 MiB";
    let message = |h: &Host| status_in(h, "c").and_then(|s| s.state?.waiting?.message).unwrap_or_default();
    world.until("it says how far it is", |h| message(h) == half && waits_for(h, "c", "ContainerCreating")).await;
    world.until("running", |h| running(h, "c")).await;
    let events = world.event_reasons();
    assert!(events.contains(&format!("Pulling: {half}")), "{events:?}");
    let pulled = "Pulled: Successfully pulled image \"busybox:1.36\" in ";
    assert!(
        events.iter().any(|e| e == "Pulling: Pulling image \"busybox:1.36\"") && events.iter().any(|e| e.starts_with(pulled)),
        "{events:?}"
    );
    assert!(!told(&world.host(), "Failed"));
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_a_volume_is_there_before_the_container_and_given_back_with_the_volumes() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut with_volume = pod("Always", vec![container("c")]);
    let spec = with_volume.spec.as_mut().unwrap();
    spec.volumes = serde_json::from_value(serde_json::json!([
        {"name": "files", "image": {"reference": "r.io/files:1", "pullPolicy": "IfNotPresent"}},
        {"name": "unused", "image": {"reference": "r.io/unused:1"}},
    ]))
    .unwrap();
    spec.containers[0].volume_mounts = serde_json::from_value(serde_json::json!([{"name": "files", "mountPath": "/files"}])).unwrap();
    let uid = with_volume.metadata.uid.clone().unwrap();
    world.host().pull_error = true;
    world.put(with_volume);
    let agent = world.agent().await;
    world.until("the pull fails", |h| waits_for(h, "c", "ImagePullBackOff")).await;
    assert!(world.host().specs.is_empty() && world.host().image_volumes.is_empty());
    world.host().pull_error = false;
    world.until("running", |h| running(h, "c")).await;
    let held: Vec<_> = world.host().image_volumes.keys().cloned().collect();
    assert_eq!(held, [(uid, "files".to_owned())], "only what the container mounts");
    let trace = world.host().trace.clone();
    let at = |what: &str| trace.iter().position(|call| call.starts_with(what)).unwrap_or_else(|| panic!("{what} in {trace:?}"));
    assert!(at("volumes") < at("mount_image") && at("mount_image") < at("create"), "{trace:?}");
    let present = "Pulled: Container image \"r.io/files:1\" already present on machine";
    assert!(world.event_reasons().iter().any(|e| e.starts_with(present)), "{:?}", world.event_reasons());
    world.edit(|pod| {
        pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now()));
        pod.metadata.deletion_grace_period_seconds = Some(0);
    });
    world.until("given back", |h| h.image_volumes.is_empty() && h.volumes.is_empty()).await;
    let trace = world.host().trace.clone();
    let at = |what: &str| trace.iter().rposition(|call| call.starts_with(what)).unwrap_or_else(|| panic!("{what} in {trace:?}"));
    assert!(at("unmount") < at("release_image_volumes"), "{trace:?}");
    agent.kill().await;
}
