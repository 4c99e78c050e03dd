//! ConfigMaps, Secrets and size limits through the worker: what is missing is waited for and not polled for, what changes arrives.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value, json};

use super::world::{Host, World, container, phase, pod};
use crate::api::{Kind, Object};
use crate::pod::{attempt, status};

fn object(kind: Kind, name: &str, data: Value) -> Object {
    let value = json!({"metadata": {"name": name, "namespace": "default"}, "data": data});
    Object::from_json(kind, value.to_string().as_bytes()).unwrap()
}

fn with_env(source: Value) -> Pod {
    let fields = json!({"name": "c", "image": "busybox:1.36", "command": ["true"], "env": [{"name": "X", "valueFrom": source}]});
    let container: Container = serde_json::from_value(fields).unwrap();
    pod("Always", vec![container])
}

fn with_volume(source: Value) -> Pod {
    let mut pod = pod("Always", vec![container("c")]);
    pod.spec.as_mut().unwrap().volumes = Some(vec![serde_json::from_value(source).unwrap()]);
    pod
}

fn waiting(host: &Host) -> Option<(String, Option<String>)> {
    let pod = host.objects.values().find_map(|o| o.as_pod())?;
    let waiting = attempt::status_of(pod, "c")?.state.clone()?.waiting?;
    Some((waiting.reason?, waiting.message))
}

fn running(host: &Host) -> bool {
    let pod = host.objects.values().find_map(|o| o.as_pod());
    pod.and_then(|p| attempt::status_of(p, "c")).is_some_and(crate::pod::phase::running)
}

fn written(host: &Host, volume: &str, path: &str) -> Option<String> {
    Some(String::from_utf8_lossy(&host.payloads.get(volume)?.get(path)?.data).into_owned())
}

fn calls(host: &Host, name: &str) -> usize {
    host.trace.iter().filter(|call| *call == name).count()
}

#[tokio::test(start_paused = true)]
async fn a_missing_variable_is_waited_for_and_starts_the_container_when_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(with_env(json!({"secretKeyRef": {"name": "s", "key": "k"}})));
    let agent = world.agent().await;
    let missing = ("CreateContainerConfigError".to_owned(), Some("secret \"s\" not found".to_owned()));
    world.until("it is told", |h| waiting(h).as_ref() == Some(&missing)).await;
    assert!(world.event_reasons().contains(&"Failed: Error: secret \"s\" not found".to_owned()), "{:?}", world.event_reasons());
    // Long enough for the back-off to have grown to minutes.
    tokio::time::sleep(Duration::from_secs(1000)).await;
    world.put_object(object(Kind::Secret, "other", json!({"k": "eA=="})));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!running(&world.host()));
    let came = world.now();
    world.put_object(object(Kind::Secret, "s", json!({"other": "eA=="})));
    let no_key = Some("couldn't find key k in Secret default/s".to_owned());
    world.until("the key is missing", |h| waiting(h).is_some_and(|w| w.1 == no_key)).await;
    world.put_object(object(Kind::Secret, "s", json!({"k": "eA=="})));
    world.until("running", running).await;
    assert!(world.now().duration_since(came).as_millis() < 100, "at once");
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_volume_is_waited_for_and_starts_the_container_when_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(with_volume(json!({"name": "v", "configMap": {"name": "m"}})));
    let agent = world.agent().await;
    let event = "FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"m\" not found".to_owned();
    world
        .until("it is told", |h| h.objects.values().any(|o| o.as_event().is_some_and(|e| e.reason.as_deref() == Some("FailedMount"))))
        .await;
    assert!(world.event_reasons().contains(&event), "{:?}", world.event_reasons());
    assert_eq!(waiting(&world.host()), Some((status::CONTAINER_CREATING.to_owned(), None)));
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let came = world.now();
    world.put_object(object(Kind::ConfigMap, "m", json!({"k": "1"})));
    world.until("running", running).await;
    assert!(world.now().duration_since(came).as_millis() < 100, "at once");
    assert_eq!(written(&world.host(), "v", "k").as_deref(), Some("1"));
    agent.kill().await;
}

/// The start looks for the object, which comes before the start is known to have failed.
#[tokio::test(start_paused = true)]
async fn what_comes_while_a_start_is_failing_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().commit_takes = Duration::from_secs(2);
    world.put(with_volume(json!({"name": "v", "configMap": {"name": "m"}})));
    let agent = world.agent().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.put_object(object(Kind::ConfigMap, "m", json!({"k": "1"})));
    let came = world.now();
    world.until("running", running).await;
    assert!(world.now().duration_since(came).as_secs() < 10, "without waiting for the back-off: {:?}", world.now().duration_since(came));
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_reaches_the_volumes_of_the_pods_it_concerns() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put_object(object(Kind::ConfigMap, "m", json!({"k": "1"})));
    world.put(with_volume(json!({"name": "v", "configMap": {"name": "m"}})));
    let agent = world.agent().await;
    world.until("running", running).await;
    world.put_object(object(Kind::ConfigMap, "none-of-its", json!({"k": "1"})));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let trace = world.host().trace.clone();
    let count = |name: &str| trace.iter().filter(|call| *call == name).count();
    assert_eq!((count("refresh"), count("volumes")), (0, 1), "nothing is polled for");
    world.put_object(object(Kind::ConfigMap, "m", json!({"k": "2"})));
    world.until("it arrived", |h| written(h, "v", "k").as_deref() == Some("2")).await;
    assert_eq!(calls(&world.host(), "start"), 1, "and restarts nothing");
    agent.kill().await;

    // Changed while no agent ran.
    world.put_object(object(Kind::ConfigMap, "m", json!({"k": "3"})));
    let agent = world.agent().await;
    world.until("it arrived", |h| written(h, "v", "k").as_deref() == Some("3")).await;
    assert_eq!(calls(&world.host(), "start"), 1);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn labels_in_a_volume_follow_the_pods() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let items = json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}, {"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}}]);
    world.put(with_volume(json!({"name": "v", "downwardAPI": {"items": items}})));
    let agent = world.agent().await;
    world.until("running", running).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = calls(&world.host(), "refresh");
    world.edit(|pod| pod.metadata.labels = Some([("tier".to_owned(), "gold".to_owned())].into()));
    world.until("it arrived", |h| written(h, "v", "labels").as_deref() == Some("tier=\"gold\"")).await;
    assert_eq!((before, written(&world.host(), "v", "notes").as_deref()), (0, Some("")), "the agent's own notes are no news");
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_empty_dir_holds_too_much_is_evicted() {
    for policy in ["Always", "Never"] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        let mut pod = with_volume(json!({"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}));
        pod.spec.as_mut().unwrap().restart_policy = Some(policy.to_owned());
        world.put(pod);
        let agent = world.agent().await;
        world.until("running", running).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(running(&world.host()));
        let filled = world.now();
        world.host().over_limit = Some("v".to_owned());
        world.until("failed", |h| phase(h) == "Failed").await;
        assert!(world.now().duration_since(filled).as_secs() <= 12);
        let status = world.pod().and_then(|p| p.status).unwrap();
        let message = "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ";
        assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some(message)), "{policy}");
        assert!(world.event_reasons().contains(&format!("Evicted: {message}")), "{:?}", world.event_reasons());
        world.until("released", Host::holds_nothing).await;
        agent.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_before_its_volume_is_found_too_full_has_ended_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().script.insert("c".to_owned(), (5, 0));
    let mut pod = with_volume(json!({"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}));
    pod.spec.as_mut().unwrap().restart_policy = Some("Never".to_owned());
    world.put(pod);
    let agent = world.agent().await;
    world.until("running", running).await;
    world.host().over_limit = Some("v".to_owned());
    world.until("over", |h| phase(h) == "Succeeded").await;
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_takes_more_than_its_ephemeral_storage_is_evicted() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut pod = with_volume(json!({"name": "v", "emptyDir": {}}));
    let limits = json!({"limits": {"ephemeral-storage": "1Mi"}});
    pod.spec.as_mut().unwrap().containers[0].resources = Some(serde_json::from_value(limits).unwrap());
    world.put(pod);
    let agent = world.agent().await;
    world.until("running", running).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(running(&world.host()));
    // The layer and the volumes each.
    world.host().disk.bytes = 600 << 10;
    world.until("failed", |h| phase(h) == "Failed").await;
    let message = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ";
    assert_eq!(world.pod().and_then(|p| p.status).unwrap().message.as_deref(), Some(message));
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_told_to_go_from_a_node_that_is_short_is_disrupted_and_evicted() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(with_volume(json!({"name": "v", "emptyDir": {}})));
    let agent = world.agent().await;
    world.until("running", running).await;
    let uid = world.pod().unwrap().metadata.uid.unwrap();
    assert!(!agent.workers.evict("another", "no".to_owned()));
    assert!(agent.workers.evict(&uid, "The node was low on resource: memory. ".to_owned()));
    world.until("failed", |h| phase(h) == "Failed").await;
    let status = world.pod().and_then(|p| p.status).unwrap();
    assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some("The node was low on resource: memory. ")));
    let conditions = status.conditions.unwrap();
    let disrupted = conditions.iter().find(|c| c.type_ == "DisruptionTarget").unwrap();
    assert_eq!((disrupted.status.as_str(), disrupted.reason.as_deref()), ("True", Some("TerminationByKubelet")));
    world.until("released", Host::holds_nothing).await;
    agent.kill().await;
}
