//! Life and death of containers.

use std::path::Path;

use minik8s::clock::{Clock as _, SystemClock};
use minik8s::runtime::containerd::probe_runtime_binary;
use minik8s::runtime::{Runtime, RuntimeError, RuntimeEvent, TaskState};

use crate::bare;
use crate::lab::eventually;
use crate::stage::{Stage, next_event};

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_times_and_states() {
    let stage = Stage::new().await;
    let before = SystemClock.now();
    assert_eq!(stage.run("zero", &["true"]).await.code, 0);
    assert_eq!(stage.run("three", &["sh", "-c", "exit 3"]).await.code, 3);
    let exit = stage.wait("zero").await;
    assert_eq!(exit.code, 0);
    assert!(exit.at > before && exit.at < SystemClock.now(), "{exit:?}");

    let created = stage.container("created", &["true"]);
    stage.runtime.create(&created).await.unwrap();
    let running_pid = stage.start(&stage.container("running", &["sleep", "1000"])).await;
    assert_eq!(stage.runtime.start("running").await.unwrap(), running_pid, "starting twice is the same");

    let mut states = stage.runtime.list().await.unwrap();
    states.sort_by(|a, b| a.id.cmp(&b.id));
    let ids: Vec<_> = states.iter().map(|state| state.id.as_str()).collect();
    assert_eq!(ids, ["created", "running", "three", "zero"]);
    assert_eq!(states[0].task, TaskState::Created);
    assert_eq!(states[1].task, TaskState::Running { pid: running_pid });
    assert!(matches!(&states[2].task, TaskState::Exited(exit) if exit.code == 3));
    assert_eq!(states[1].labels["io.kubernetes.pod.name"], "running");
    assert!(states[1].created_at > before);
    for state in &states {
        assert_eq!(&stage.runtime.inspect(&state.id).await.unwrap(), state);
    }

    stage.runtime.delete_task("three").await.unwrap();
    stage.runtime.delete_task("three").await.unwrap();
    assert_eq!(stage.runtime.inspect("three").await.unwrap().task, TaskState::None);
    assert!(matches!(stage.runtime.wait("three").await, Err(RuntimeError::NotFound { .. })));
    assert!(matches!(stage.runtime.delete_task("running").await, Err(RuntimeError::Failed { .. })));
    for state in &states {
        stage.runtime.remove(&state.id).await.unwrap();
        stage.runtime.remove(&state.id).await.unwrap();
    }
    assert!(matches!(stage.runtime.inspect("zero").await, Err(RuntimeError::NotFound { .. })));
    stage.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn signals() {
    let stage = Stage::new().await;
    stage.start(&stage.container("trap", &["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"])).await;
    eventually("the trap is set", || stage.log("trap").contains("ready"));
    stage.runtime.kill("trap", 15, false).await.unwrap();
    assert_eq!(stage.wait("trap").await.code, 7);
    // What has ended may be signalled; what never was may not.
    stage.runtime.kill("trap", 15, false).await.unwrap();
    stage.runtime.kill("trap", 9, true).await.unwrap();
    assert!(matches!(stage.runtime.kill("none", 9, true).await, Err(RuntimeError::NotFound { .. })));

    stage.start(&stage.container("deaf", &["sleep", "1000"])).await;
    stage.runtime.kill("deaf", 9, true).await.unwrap();
    assert_eq!(stage.wait("deaf").await.code, 137);
    for id in ["trap", "deaf"] {
        stage.runtime.remove(id).await.unwrap();
    }
    stage.assert_nothing_left();
}

/// The shim of a pod's only container goes with it, while the next is created already: a restart at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_follows_the_last_of_its_group_at_once() {
    let stage = Stage::new().await;
    let container = |n: u64| stage.grouped(&format!("run-{n}"), "pod", &["sleep", "1000"]);
    stage.start(&container(0)).await;
    for n in 0..100 {
        let (gone, next) = (format!("run-{n}"), container(n + 1));
        stage.runtime.kill(&gone, 9, true).await.unwrap();
        stage.wait(&gone).await;
        let created = async {
            tokio::time::sleep(std::time::Duration::from_micros(n * 500)).await;
            stage.runtime.create(&next).await
        };
        let (removed, created) = tokio::join!(stage.runtime.delete_task(&gone), created);
        assert!(removed.is_ok() && created.is_ok(), "{} µs after: {removed:?}, {created:?}", n * 500);
        stage.runtime.remove(&gone).await.unwrap();
        stage.runtime.start(&next.id).await.unwrap();
    }
    stage.runtime.remove("run-100").await.unwrap();
    stage.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_told_and_leaves_nothing() {
    let stage = Stage::new().await;
    let error = stage.runtime.create(&stage.container("bad", &["/no/such/program"])).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("failed to create container bad: "), "{text}");
    assert!(text.contains("/no/such/program") && text.to_lowercase().contains("no such file or directory"), "{text}");
    stage.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_twice_is_refused_and_harms_nothing() {
    let stage = Stage::new().await;
    let config = stage.container("one", &["sleep", "1000"]);
    let pid = stage.start(&config).await;
    assert!(matches!(stage.runtime.create(&config).await, Err(RuntimeError::Exists { id }) if id == "one"));
    assert_eq!(stage.runtime.inspect("one").await.unwrap().task, TaskState::Running { pid });
    stage.runtime.remove("one").await.unwrap();
    stage.start(&config).await;
    stage.runtime.remove("one").await.unwrap();
    stage.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_container_is_removed() {
    let stage = Stage::new().await;
    // A task without a record (containerd deletes a record under a live task).
    let config = stage.container("orphan", &["sleep", "1000"]);
    stage.start(&config).await;
    bare::Bare::new(&stage.lab).await.delete_record("orphan").await;
    stage.runtime.remove("orphan").await.unwrap();
    stage.assert_nothing_left();

    // The same, met by a create: refused, and then removable.
    stage.start(&config).await;
    bare::Bare::new(&stage.lab).await.delete_record("orphan").await;
    assert!(matches!(stage.runtime.create(&config).await, Err(RuntimeError::Exists { .. })));
    stage.runtime.remove("orphan").await.unwrap();
    stage.assert_nothing_left();

    // A snapshot without a record is in nobody's way.
    stage.lab.ctr(&["snapshots", "prepare", "orphan", &stage.image.chain_id]);
    stage.start(&config).await;
    stage.runtime.remove("orphan").await.unwrap();
    stage.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_group_share_a_shim_and_die_alone() {
    let stage = Stage::new().await;
    for id in ["a", "b", "c"] {
        stage.start(&stage.grouped(id, "pod-1", &["sleep", "1000"])).await;
    }
    assert_eq!(stage.lab.shims().len(), 1);
    stage.runtime.remove("a").await.unwrap();
    for id in ["b", "c"] {
        assert!(matches!(stage.runtime.inspect(id).await.unwrap().task, TaskState::Running { .. }), "{id}");
    }
    // The first one, whose bundle the shim was started in, again.
    stage.start(&stage.grouped("a", "pod-1", &["sleep", "1000"])).await;
    assert_eq!(stage.lab.shims().len(), 1);

    // The shim is killed: all are gone, and the group can be used again.
    for pid in stage.lab.shims() {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    eventually("no shim", || stage.lab.shims().is_empty());
    for id in ["a", "b", "c"] {
        let waited = stage.runtime.wait(id).await;
        assert!(matches!(waited, Ok(_) | Err(RuntimeError::NotFound { .. })), "{waited:?}");
        stage.runtime.remove(id).await.unwrap();
    }
    stage.start(&stage.grouped("d", "pod-1", &["sleep", "1000"])).await;
    stage.runtime.remove("d").await.unwrap();
    stage.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_of_exits() {
    let stage = Stage::new().await;
    let mut events = stage.runtime.events();
    stage.start(&stage.container("short", &["true"])).await;
    next_event(&mut events, |event| matches!(event, RuntimeEvent::Changed { id } if id == "short")).await;
    stage.runtime.remove("short").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn runtime_binaries_are_tried_before_use() {
    let scratch = tempfile::tempdir().unwrap();
    // As systemd mounts /run: device nodes in the bundle do not work there.
    let on_run = Nodev::mount(scratch.path());
    let runc = probe_runtime_binary(Path::new("runc"), scratch.path()).await.unwrap();
    assert!(runc.version.starts_with("runc version "), "{runc:?}");
    assert!(probe_runtime_binary(Path::new("/bin/false"), scratch.path()).await.is_err());
    assert!(probe_runtime_binary(Path::new("/no/such/runtime"), scratch.path()).await.is_err());
    // crun may or may not work here (1.8.1 refuses a hybrid hierarchy); either way it is told in its words.
    println!("crun: {:?}", probe_runtime_binary(Path::new("crun"), scratch.path()).await);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    drop(on_run);
}

/// A tmpfs mounted nodev, gone with this.
struct Nodev(std::path::PathBuf);

impl Nodev {
    fn mount(at: &Path) -> Nodev {
        nix::mount::mount(Some("tmpfs"), at, Some("tmpfs"), nix::mount::MsFlags::MS_NODEV, Some("size=1m")).unwrap();
        Nodev(at.to_owned())
    }
}

impl Drop for Nodev {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.0);
    }
}
