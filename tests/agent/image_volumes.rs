//! Images as volumes: mounted read-only, kept under a running pod, given back with it, whatever is killed in between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lab::image::{Node, OciImage, tar};
use crate::rig::{Rig, all_run, phase};

const WAIT: Duration = Duration::from_secs(40);
const POD: &str = "p-lab-node";
const FILES: &str = "registry.test/files:1";
const MANIFEST: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "cat /files/hello /part/inner; touch /files/new || echo read-only; /files/program || echo not run; exec sleep 100000"]
    volumeMounts:
    - {name: files, mountPath: /files}
    - {name: files, mountPath: /part, subPath: dir}
  volumes:
  - name: files
    image: {reference: "registry.test/files:1", pullPolicy: IfNotPresent}
"#;

/// Two layers, so that the view is an overlay.
fn files() -> OciImage {
    let file = |mode, text: &str| Node::File(mode, text.as_bytes().to_vec());
    let lower = BTreeMap::from([("hello".to_owned(), file(0o644, "hidden\n")), ("dir".to_owned(), Node::Dir(0o755))]);
    let upper = BTreeMap::from([
        ("hello".to_owned(), file(0o644, "hello\n")),
        ("dir".to_owned(), Node::Dir(0o755)),
        ("dir/inner".to_owned(), file(0o644, "inner\n")),
        ("program".to_owned(), file(0o755, "#!/bin/sh\necho run\n")),
    ]);
    OciImage::new(&[tar(&lower), tar(&upper)], false)
}

/// Where an image is mounted on the host, and how.
fn mounted_at(rig: &Rig) -> (PathBuf, String) {
    let info = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = info.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut found = mounts.filter(|m| Path::new(m[4]).starts_with(rig.dir("run")) && m[4].ends_with("/files"));
    let mount = found.next().unwrap();
    (mount[4].into(), mount[5].to_owned())
}

fn views(rig: &Rig) -> usize {
    rig.lab.ctr(&["snapshots", "ls"]).lines().filter(|line| line.starts_with("minik8s-volume-")).count()
}

fn waits_for(rig: &Rig, reason: &str) -> bool {
    rig.pods().iter().any(|p| p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == reason)
}

#[test]
fn an_image_is_mounted_and_outlives_agent_container_and_its_own_record() {
    let mut rig = Rig::new();
    rig.lab.import(&files(), FILES, &[]);
    rig.write("p.yaml", MANIFEST);
    rig.wait("it has said all", WAIT, |r| r.pods().iter().any(|p| all_run(p, 1)) && r.cli(&["logs", POD]).contains("not run"));
    let logs = rig.cli(&["logs", POD]);
    assert!(logs.starts_with("hello\ninner\n") && logs.contains("read-only\n") && logs.contains("not run\n"), "{logs}");
    assert_eq!(views(&rig), 1);
    let pid = rig.container_pid("main");
    rig.kill_agent();
    rig.lab.ctr(&["images", "rm", "--sync", FILES]);
    rig.start_agent();
    assert_eq!(rig.container_pid("main"), pid);
    assert_eq!(rig.cli(&["exec", POD, "--", "cat", "/files/hello"]), "hello\n", "its layers stay under it");
    rig.lab.import(&files(), FILES, &[]);
    rig.signal_container("main", 9);
    rig.wait("it runs again", WAIT, |r| r.pods().iter().any(|p| all_run(p, 1) && p["status"]["containerStatuses"][0]["restartCount"] == 1));
    assert!(rig.cli(&["logs", POD]).starts_with("hello\ninner\n"));
    assert_eq!(views(&rig), 1, "the same mount");
    rig.remove("p.yaml");
    rig.wait("nothing is held any more", WAIT, |r| r.pods().is_empty() && views(r) == 0);
    rig.close();
}

#[test]
fn what_a_killed_agent_held_for_a_pod_is_given_back() {
    let mut rig = Rig::new();
    rig.lab.import(&files(), FILES, &[]);
    rig.write("p.yaml", MANIFEST);
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| all_run(p, 1)));
    rig.kill_agent();
    rig.remove("p.yaml");
    std::fs::remove_file(rig.state_file()).unwrap();
    assert_eq!(views(&rig), 1);
    rig.start_agent();
    rig.wait("nobody's pod has gone with all it held", WAIT, |r| r.tasks() == 0 && views(r) == 0);
    rig.close();
}

#[test]
fn an_image_that_is_not_to_be_had_is_told_of_as_a_containers() {
    let rig = Rig::new();
    rig.write("p.yaml", &MANIFEST.replace("IfNotPresent", "Never"));
    rig.wait("it says so", WAIT, |r| waits_for(r, "ErrImageNeverPull"));
    let message = rig.pods()[0]["status"]["containerStatuses"][0]["state"]["waiting"]["message"].clone();
    assert_eq!(message, "Container image \"registry.test/files:1\" is not present with pull policy of Never");
    assert_eq!(phase(&rig.pods()[0]), "Pending");
    rig.lab.import(&files(), FILES, &[]);
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| all_run(p, 1)));
    rig.close();
}

/// The view of a single layer is a bind of containerd's own directory, which other containers are made from.
#[test]
fn an_image_of_one_layer_is_read_only_on_the_host_and_no_sub_path_is_made_in_it() {
    let mut rig = Rig::new();
    let files = BTreeMap::from([("hello".to_owned(), Node::File(0o644, b"hello\n".to_vec()))]);
    rig.lab.import(&OciImage::new(&[tar(&files)], false), FILES, &[]);
    rig.write("p.yaml", &MANIFEST.replace("subPath: dir", "subPath: made/here"));
    rig.wait("it cannot be made", WAIT, |r| waits_for(r, "CreateContainerConfigError"));
    let (at, how) = mounted_at(&rig);
    assert!(how.starts_with("ro,nosuid,nodev,noexec"), "{how}");
    assert!(at.join("hello").exists() && !at.join("made").exists());
    rig.kill_agent();
    let writable = std::process::Command::new("mount").args(["-o", "remount,bind,rw,exec"]).arg(&at).status().unwrap();
    assert!(writable.success() && mounted_at(&rig).1.starts_with("rw"), "as a kill between the two steps leaves it");
    rig.start_agent();
    rig.wait("it is read-only again", WAIT, |r| mounted_at(r).1.starts_with("ro,nosuid,nodev,noexec"));
    rig.close();
}
