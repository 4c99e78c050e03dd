//! A Pod's life through the worker: start, crash loop, failures of image, config and start, deletion, containerd away, reboot.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, SecurityContext};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::world::{Host, World, container, phase, pod};
use crate::agent::worker::files;
use crate::pod::container_id;
use crate::runtime::{RuntimeEvent, TaskState};

pub(super) fn delete(world: &World, grace: i64) {
    let at = world.now().checked_add(SignedDuration::from_secs(grace)).unwrap();
    world.edit(|pod| {
        pod.metadata.deletion_timestamp = Some(Time(at));
        pod.metadata.deletion_grace_period_seconds = Some(grace);
    });
}

fn stored(host: &Host) -> Option<&Pod> {
    host.objects.values().find_map(|o| o.as_pod())
}

pub(super) fn status_in(host: &Host, name: &str) -> Option<ContainerStatus> {
    crate::pod::attempt::status_of(stored(host)?, name).cloned()
}

pub(super) fn running(host: &Host, name: &str) -> bool {
    status_in(host, name).is_some_and(|s| crate::pod::phase::running(&s))
}

pub(super) fn waits_for(host: &Host, name: &str, reason: &str) -> bool {
    status_in(host, name).is_some_and(|s| crate::pod::status::waiting_reason(&s) == Some(reason))
}

pub(super) fn gone(host: &Host) -> bool {
    stored(host).is_none()
}

#[tokio::test(start_paused = true)]
async fn a_start_given_up_before_its_intent_is_durable_makes_nothing_after_the_release() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().commit_takes = Duration::from_millis(50);
    world.host().setup_takes = Duration::from_secs(10);
    world.put(pod("Never", vec![container("c")]));
    let _agent = world.agent().await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    // The commit under way comes too late now, and its start with it.
    delete(&world, 0);
    world.until("gone", gone).await;
    assert!(world.host().holds_nothing(), "{:?}", world.host().trace);
}

#[tokio::test(start_paused = true)]
async fn a_pod_comes_up_with_two_commits_and_the_address_overlaps_create() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().create_takes = Duration::from_millis(43);
    world.host().attach_takes = Duration::from_millis(50);
    let began = world.now();
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    assert!(world.now().duration_since(began).as_millis() < 60, "create and attach overlap");
    let trace = world.host().trace.clone();
    let place = |what: &str| trace.iter().position(|t| t == what).unwrap_or(usize::MAX);
    assert_eq!(trace.iter().filter(|t| *t == "commit").count(), 2, "{trace:?}");
    assert!(place("attach") < place("start") && place("create") < place("start"), "{trace:?}");
    let pod = world.pod().unwrap();
    let status = pod.status.as_ref().unwrap();
    assert_eq!((status.pod_ip.as_deref(), status.host_ip.as_deref()), (Some("10.0.0.7"), Some("192.168.0.1")));
    assert_eq!((status.phase.as_deref(), status.qos_class.as_deref()), (Some("Running"), Some("BestEffort")));
    let c = status_in(&world.host(), "c").unwrap();
    assert_eq!(c.container_id, Some(format!("containerd://{}", container_id("u-1", "c", 0))));
    assert_eq!((c.image_id.as_str(), c.ready), ("docker.io/library/busybox@sha256:1", true));
    let mut events = world.event_reasons();
    events.sort();
    let present = "Pulled: Container image \"busybox:1.36\" already present on machine and can be accessed by the pod";
    assert_eq!(events, ["Created: Container created", present, "Started: Container started"]);
    assert!(dir.path().join("pods/default_p_u-1/c").is_dir());
    agent.kill().await;
    assert!(world.host().signals.is_empty(), "shutdown touches no container");
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_backs_off_and_keeps_one_previous_log() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().script.insert("c".into(), (0, 1));
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    for n in 0..4 {
        let log = dir.path().join(format!("pods/default_p_u-1/c/{n}.log"));
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        std::fs::write(log, "x").unwrap();
    }
    let began = world.now();
    world.until("third restart", |h| status_in(h, "c").is_some_and(|s| s.restart_count == 4)).await;
    let passed = world.now().duration_since(began).as_secs();
    assert_eq!(passed, 10 + 20 + 40);
    world.until("waits", |h| waits_for(h, "c", "CrashLoopBackOff")).await;
    let logs = |n: u32| dir.path().join(format!("pods/default_p_u-1/c/{n}.log")).exists();
    assert!(!logs(0) && !logs(2) && logs(3), "only the attempt before this one keeps its log");
    assert_eq!(world.host().started.values().copied().collect::<Vec<_>>(), [1; 5]);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn deletion_stops_releases_and_removes_object_and_logs() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![container("a"), container("b")]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "a") && running(h, "b")).await;
    let stubborn = container_id("u-1", "b", 0);
    world.host().stubborn.insert(stubborn.clone());
    let began = world.now();
    delete(&world, 20);
    world.until("gone", gone).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 20);
    assert_eq!(world.host().signals, [(container_id("u-1", "a", 0), 15), (stubborn.clone(), 15), (stubborn, 9)]);
    assert!(world.host().holds_nothing());
    assert!(!dir.path().join("pods/default_p_u-1").exists());
    assert_eq!(std::fs::read_dir(dir.path().join("containers")).unwrap().count(), 0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(agent.workers.active(), 0);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn the_log_is_the_message_only_of_a_failure_with_that_policy() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().script.insert("c".into(), (1, 2));
    let mut c = container("c");
    c.termination_message_policy = Some("FallbackToLogsOnError".into());
    let p = pod("Never", vec![c]);
    let log = files::log_path(&world.drivers().paths, &p, "c", 0);
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    // The logger lags: what it has read it writes when the task is deleted, and not before.
    world.host().last_line = Some((log, "2026-01-01T00:00:00.000000000Z stderr F it broke\n"));
    world.put(p);
    let agent = world.agent().await;
    world.until("failed", |h| phase(h) == "Failed").await;
    let end = status_in(&world.host(), "c").and_then(|s| s.state?.terminated).unwrap();
    assert_eq!(end.message.as_deref().map(str::trim_end), Some("it broke"));
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_had_is_pulled_again_with_back_off() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().pull_error = true;
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("ErrImagePull", |h| waits_for(h, "c", "ErrImagePull")).await;
    let began = world.now();
    world.until("ImagePullBackOff", |h| waits_for(h, "c", "ImagePullBackOff")).await;
    let pulls = |h: &Host| h.trace.iter().filter(|t| *t == "image").count();
    world.until("third pull", |h| pulls(h) == 3).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 10 + 20);
    world.host().pull_error = false;
    world.until("running", |h| running(h, "c")).await;
    assert_eq!(status_in(&world.host(), "c").unwrap().restart_count, 0, "nothing had run");
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_config_waits_with_its_reason_and_a_failed_start_is_an_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut c = container("c");
    c.security_context = Some(SecurityContext { run_as_non_root: Some(true), ..SecurityContext::default() });
    world.put(pod("Always", vec![c]));
    let agent = world.agent().await;
    world.until("refused", |h| waits_for(h, "c", "CreateContainerConfigError")).await;
    assert!(
        world.event_reasons().iter().any(|e| e.starts_with("Failed: Error: container has runAsNonRoot and image will run as root")),
        "{:?}",
        world.event_reasons()
    );
    agent.kill().await;

    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().start_error = Some("exec: \"nope\": executable file not found in $PATH");
    world.put(pod("Never", vec![container("c")]));
    let agent = world.agent().await;
    world.until("failed", |h| phase(h) == "Failed").await;
    let end = status_in(&world.host(), "c").and_then(|s| s.state?.terminated).unwrap();
    assert_eq!((end.exit_code, end.reason.as_deref()), (128, Some("StartError")));
    assert_eq!(end.message.as_deref(), Some("exec: \"nope\": executable file not found in $PATH"));
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_starts_nothing_and_loses_no_exit() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().store_full = true;
    world.put(pod("Never", vec![container("c")]));
    let agent = world.agent().await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(world.host().containers.is_empty());
    world.host().store_full = false;
    world.until("running", |h| running(h, "c")).await;
    world.host().store_full = true;
    world.exit(&container_id("u-1", "c", 0), 5);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(world.host().containers.len(), 1, "its task stays until its end is durable");
    world.host().store_full = false;
    world.until("failed", |h| phase(h) == "Failed" && h.containers.is_empty()).await;
    assert_eq!(world.host().recorded.len(), 1);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn containerd_away_touches_nothing_and_an_exit_meanwhile_is_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Never", vec![container("a"), container("b")]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "a") && running(h, "b")).await;
    world.host().runtime_away = true;
    world.tell(RuntimeEvent::Disconnected);
    world.exit(&container_id("u-1", "a", 0), 4);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(phase(&world.host()), "Running");
    assert!(world.host().recorded.is_empty());
    world.host().runtime_away = false;
    let back = world.now();
    world.tell(RuntimeEvent::Connected);
    world.until("recorded", |h| !h.recorded.is_empty()).await;
    assert_eq!(world.now().duration_since(back).as_secs(), 0, "at once after the reconnect");
    assert!(running(&world.host(), "b"));
    world.exit(&container_id("u-1", "b", 0), 0);
    world.until("failed", |h| phase(h) == "Failed").await;
    assert_eq!(world.host().recorded.len(), 2);
    assert!(world.host().started.values().all(|n| *n == 1));
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_running_container_is_adopted_untouched_and_a_lost_shim_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    agent.kill().await;
    let before = world.host().trace.len();
    let agent = world.agent().await;
    world.until("examined", |h| h.trace[before..].contains(&"inspect".to_owned())).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.host().trace[before..], ["list", "inspect", "check"], "no commit, no start, no signal");
    agent.kill().await;
    let id = container_id("u-1", "c", 0);
    world.host().containers.get_mut(&id).unwrap().task = TaskState::None;
    let agent = world.agent().await;
    world.until("restarted", |h| running(h, "c") && status_in(h, "c").is_some_and(|s| s.restart_count == 1)).await;
    let last = status_in(&world.host(), "c").and_then(|s| s.last_state?.terminated).unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_reboot_restarts_what_may_restart_without_back_off() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("OnFailure", vec![container("c")]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    agent.kill().await;
    world.reboot();
    let agent = world.agent().await;
    let began = world.now();
    world.until("restarted", |h| running(h, "c") && status_in(h, "c").is_some_and(|s| s.restart_count == 1)).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 0);
    world.until("the old record is removed", |h| h.containers.len() == 1).await;
    assert!(world.event_reasons().iter().any(|e| e.starts_with("SandboxChanged")));
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn an_orphan_is_stopped_with_its_grace_and_released() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    agent.kill().await;
    let id = container_id("u-1", "c", 0);
    world.host().objects.clear();
    world.host().stubborn.insert(id.clone());
    let began = world.now();
    let agent = world.agent().await;
    world.until("released", |h| h.containers.is_empty() && h.namespaces.is_empty() && h.volumes.is_empty()).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 30);
    assert_eq!(world.host().signals, [(id.clone(), 15), (id, 9)]);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_told_to_be_kept_is_stopped_and_stays_as_failed() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut p = pod("OnFailure", vec![container("c")]);
    p.metadata.annotations = Some([(crate::api::well_known::KEEP_OBJECT.to_owned(), "true".to_owned())].into());
    world.put(p);
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    delete(&world, 5);
    world.until("kept", |h| phase(h) == "Failed" && h.containers.is_empty()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let pod = world.pod().unwrap();
    assert_eq!((pod.metadata.deletion_timestamp, agent.workers.active()), (None, 0));
    assert!(dir.path().join("pods/default_p_u-1").exists(), "its logs stay");
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_between_start_and_its_record_loses_neither_address_nor_image() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().create_takes = Duration::from_millis(43);
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("announced", |h| waits_for(h, "c", "ContainerCreating")).await;
    world.host().store_full = true;
    world.until("started", |h| h.trace.contains(&"start".to_owned())).await;
    agent.kill().await;
    assert!(!running(&world.host(), "c"));
    world.host().store_full = false;
    let agent = world.agent().await;
    world.until("running", |h| running(h, "c")).await;
    let status = world.pod().and_then(|p| p.status).unwrap();
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.7"));
    assert_eq!(status_in(&world.host(), "c").unwrap().image_id, "docker.io/library/busybox@sha256:1");
    assert_eq!(world.host().started.values().copied().collect::<Vec<_>>(), [1]);
    agent.kill().await;
}

/// The making of a cgroup cannot be given up half-way: the Pod is released after it, or the cgroup would stay.
#[tokio::test(start_paused = true)]
async fn a_cgroup_that_is_still_being_made_is_removed_too() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let (open, gate) = std::sync::mpsc::channel();
    world.host().cgroup_gate = Some(gate);
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("the cgroup is being made", |h| h.trace.iter().any(|call| call == "cgroup")).await;
    delete(&world, 0);
    // The paused clock does not go on by itself while a thread is busy: whatever can happen without the cgroup happens now.
    for _ in 0..200 {
        tokio::time::advance(Duration::from_millis(50)).await;
    }
    open.send(()).unwrap();
    world.until("gone", |h| stored(h).is_none()).await;
    assert!(world.host().holds_nothing());
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_created_without_an_address_goes_with_the_pod() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    {
        let mut host = world.host();
        // The address is refused after the create, and containerd does not remove what was created.
        (host.attach_takes, host.attach_fails, host.remove_errors) = (Duration::from_millis(50), true, 1);
    }
    world.put(pod("Always", vec![container("c")]));
    let agent = world.agent().await;
    world.until("it was created and stays", |h| h.remove_errors == 0 && h.containers.len() == 1).await;
    delete(&world, 0);
    world.until("the pod is gone", |h| h.objects.values().all(|o| o.as_pod().is_none())).await;
    assert!(world.host().holds_nothing(), "{:?}", world.host().trace);
    agent.kill().await;
}
