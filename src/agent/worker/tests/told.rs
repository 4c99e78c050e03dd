//! What only the host or the runtime can tell a worker: OOM kills, device nodes.

use k8s_openapi::api::core::v1::SecurityContext;
use oci_spec::runtime::LinuxDevice;

use super::life::{running, status_in, waits_for};
use super::world::{Host, World, container, phase, pod};
use crate::oci::cdi::SpecFile;
use crate::pod::container_id;
use crate::runtime::RuntimeEvent;

#[tokio::test(start_paused = true)]
async fn oom_is_told_by_the_cgroup_and_the_message_is_the_containers_own() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.host().script.insert("c".into(), (1, 137));
    world.host().oom = true;
    world.host().message = "last words".into();
    world.put(pod("Never", vec![container("c")]));
    let agent = world.agent().await;
    world.until("failed", |h| phase(h) == "Failed").await;
    let end = status_in(&world.host(), "c").and_then(|s| s.state?.terminated).unwrap();
    assert_eq!((end.reason.as_deref(), end.message.as_deref(), end.exit_code), (Some("OOMKilled"), Some("last words"), 137));
    agent.kill().await;
}

/// Under systemd on cgroup v1: the scope is gone, and the event comes a moment after the end.
#[tokio::test(start_paused = true)]
async fn oom_is_told_by_the_runtime_where_the_cgroup_is_gone() {
    for (event, reason) in [(true, "OOMKilled"), (false, "Error")] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        world.host().scopes_vanish = true;
        world.put(pod("Never", vec![container("c")]));
        let agent = world.agent().await;
        world.until("running", |h| running(h, "c")).await;
        let id = container_id("u-1", "c", 0);
        world.exit(&id, 137);
        if event {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            world.tell(RuntimeEvent::Oom { id });
        }
        world.until("failed", |h| phase(h) == "Failed").await;
        let end = status_in(&world.host(), "c").and_then(|s| s.state?.terminated).unwrap();
        assert_eq!((end.reason.as_deref(), end.exit_code), (Some(reason), 137));
        agent.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_privileged_container_waits_for_the_host_s_devices_and_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut privileged = container("c");
    privileged.security_context = Some(SecurityContext { privileged: Some(true), ..SecurityContext::default() });
    world.put(pod("Always", vec![privileged]));
    let agent = world.agent().await;
    world.until("refused", |h| waits_for(h, "c", "CreateContainerConfigError")).await;
    let waiting = status_in(&world.host(), "c").and_then(|s| s.state?.waiting).unwrap();
    assert_eq!(waiting.message.as_deref(), Some("failed to list the host's devices: no /dev"));
    let mut kvm = LinuxDevice::default();
    kvm.set_path("/dev/kvm".into());
    world.host().devices = Some(vec![kvm.clone()]);
    world.until("running", |h| running(h, "c")).await;
    let spec = world.host().specs[&container_id("u-1", "c", 0)].clone();
    assert_eq!(spec.linux().as_ref().unwrap().devices().as_deref(), Some(&[kvm][..]));
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_container_waits_for_the_devices_it_was_given_and_has_them_after_a_restart_of_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let mut dongle = LinuxDevice::default();
    dongle.set_path("/dev/dongle".into()).set_major(10).set_minor(7);
    world.host().devices = Some(Vec::new());
    let mut wants = pod("Always", vec![container("c")]);
    let note =
        r#"{"c":{"a.com/x":[{"devices":[{"path":"/dev/dongle"},"v.com/gpu=0"]}]},"other":{"a.com/x":[{"devices":["v.com/gpu=1"]}]}}"#;
    wants.metadata.annotations.get_or_insert_default().insert("minik8s.io/assigned-devices".into(), note.into());
    world.put(wants);
    let agent = world.agent().await;
    let told = |what: &'static str| {
        move |h: &Host| {
            let waiting = status_in(h, "c").and_then(|s| s.state?.waiting);
            waiting.is_some_and(|w| w.reason.as_deref() == Some("CreateContainerError") && w.message.as_deref() == Some(what))
        }
    };
    world.until("no file", told("CDI device injection failed: unresolvable CDI devices v.com/gpu=0")).await;
    let text = "{cdiVersion: 0.5.0, kind: v.com/gpu, devices: [{name: '0', containerEdits: {env: [GPU=0]}}]}".to_owned();
    world.host().cdi = vec![SpecFile { path: "/etc/cdi/gpu.yaml".into(), directory: 0, text: Ok(text) }];
    world.until("no node", told("failed to add device \"/dev/dongle\": entity not found")).await;
    assert!(
        world.event_reasons().iter().any(|e| e == "Failed: Error: failed to add device \"/dev/dongle\": entity not found"),
        "{:?}",
        world.event_reasons()
    );
    world.host().devices = Some(vec![dongle]);
    world.until("running", |h| running(h, "c")).await;
    agent.kill().await;
    let agent = world.agent().await;
    world.exit(&container_id("u-1", "c", 0), 1);
    world.until("running again", |h| h.specs.contains_key(&container_id("u-1", "c", 1)) && running(h, "c")).await;
    for attempt in 0..2 {
        let spec = world.host().specs[&container_id("u-1", "c", attempt)].clone();
        let nodes: Vec<_> = spec.linux().as_ref().unwrap().devices().iter().flatten().map(|d| d.path().display().to_string()).collect();
        assert_eq!(nodes, ["/dev/dongle"]);
        assert!(spec.process().as_ref().unwrap().env().as_ref().unwrap().contains(&"GPU=0".to_owned()));
    }
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_another_pod_has_by_another_name_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let device = |path: &str| {
        let mut device = LinuxDevice::default();
        device.set_path(path.into()).set_major(10).set_minor(7);
        device
    };
    world.host().devices = Some(vec![device("/dev/dongle"), device("/dev/by-id/dongle")]);
    let with = |name: &str, uid: &str, path: &str| {
        let mut pod = pod("Never", vec![container("c")]);
        (pod.metadata.name, pod.metadata.uid) = (Some(name.into()), Some(uid.into()));
        let note = format!(r#"{{"c":{{"a.com/x":[{{"devices":[{{"path":"{path}"}}]}}]}}}}"#);
        pod.metadata.annotations.get_or_insert_default().insert("minik8s.io/assigned-devices".into(), note);
        pod
    };
    // The stand-in's questions are about the first by name.
    world.put(with("z", "u-0", "/dev/dongle"));
    world.put(with("p", "u-1", "/dev/by-id/dongle"));
    let agent = world.agent().await;
    let why = "device /dev/by-id/dongle is /dev/dongle, which pod z_default(u-0) has: a.com/x names it twice";
    let waits = |h: &Host| waits_for(h, "c", "CreateContainerError") && h.specs.contains_key(&container_id("u-0", "c", 0));
    world.until("one runs, the other waits", waits).await;
    let waiting = status_in(&world.host(), "c").and_then(|s| s.state?.waiting).unwrap();
    assert_eq!(waiting.message.as_deref(), Some(why));
    world.exit(&container_id("u-0", "c", 0), 0);
    world.until("what was freed is the other's", |h| running(h, "c")).await;
    agent.kill().await;
}
