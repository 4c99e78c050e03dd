//! nfs volumes with a stand-in for mount(8), which is passed in: no NFS server can run here. What it mounts is a directory, really.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use minik8s::volumes::{PodFiles, VolumeError, Volumes as _};
use serde_json::json;

use super::{Lab, mounts_under, pod};

async fn setup(lab: &Lab, pod: &Pod) -> Result<PodFiles, VolumeError> {
    lab.volumes.setup(pod, "p", &Arc::default()).await
}

/// A stand-in of this script; `$at` is where.
fn mount(lab: &Lab, script: &str) {
    let path = lab.at("mount");
    let text = format!("#!/bin/sh\necho \"$@\" >> {}\nfor at; do :; done\n{script}\n", lab.at("calls").display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn calls(lab: &Lab) -> Vec<String> {
    std::fs::read_to_string(lab.at("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn an_export_is_mounted_once_and_detached_with_the_pod() {
    let lab = Lab::new();
    let export = lab.at("export");
    std::fs::create_dir(&export).unwrap();
    std::fs::write(export.join("file"), "text").unwrap();
    mount(&lab, &format!("exec mount --bind {} \"$at\"", export.display()));
    let pod = pod(json!([
        {"name": "v", "nfs": {"server": "nas", "path": "/export"}},
        {"name": "w", "nfs": {"server": "nas", "path": "/export", "readOnly": true}},
    ]));
    let files = setup(&lab, &pod).await.unwrap();
    assert_eq!(std::fs::read_to_string(files.volumes["v"].join("file")).unwrap(), "text");
    assert_eq!(files.read_only.iter().collect::<Vec<_>>(), ["w"]);
    assert_eq!(setup(&lab, &pod).await.unwrap(), files, "as another agent finds it");
    let at = |name: &str| files.volumes[name].display().to_string();
    assert_eq!(calls(&lab), [format!("-t nfs nas:/export {}", at("v")), format!("-t nfs -o ro nas:/export {}", at("w"))]);
    lab.volumes.remove(pod.metadata.uid.as_deref().unwrap()).await.unwrap();
    assert_eq!(mounts_under(lab.dir.path()), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(export.join("file")).unwrap(), "text");
    lab.finish().await;
}

#[tokio::test]
async fn a_refusal_a_missing_helper_and_a_server_that_does_not_answer_are_told_in_time() {
    let lab = Lab::new();
    let pod = pod(json!([{"name": "v", "nfs": {"server": "nas", "path": "/export"}}]));
    let message = async || setup(&lab, &pod).await.unwrap_err().to_string();
    mount(&lab, "echo 'mount.nfs: access denied by server' >&2; exit 32");
    let told = message().await;
    let begin = "MountVolume.SetUp failed for volume \"v\" : mount failed: exit status 32\nMounting command: ";
    assert!(told.starts_with(begin) && told.ends_with("\nOutput: mount.nfs: access denied by server"), "{told}");
    // mount(8)'s words on a machine without NFS.
    mount(&lab, "echo \"mount: /x: unknown filesystem type 'nfs'.\" >&2; exit 32");
    let told = message().await;
    assert!(told.ends_with("This node has no mount.nfs: apt-get install nfs-common"), "{told}");
    // A helper, as mount(8) starts mount.nfs.
    mount(&lab, &format!("sleep 1000 & echo $! > {}; wait", lab.at("helper").display()));
    let begun = Instant::now();
    let told = message().await;
    assert!(told.contains("mount failed: no end after 2s, killed") && begun.elapsed().as_secs() < 10, "{told}");
    let helper = Path::new("/proc").join(std::fs::read_to_string(lab.at("helper")).unwrap().trim()).join("cmdline");
    while std::fs::read(&helper).is_ok_and(|command| !command.is_empty()) {
        assert!(begun.elapsed().as_secs() < 10, "the helper goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    std::fs::remove_file(lab.at("mount")).unwrap();
    assert!(message().await.contains("No such file or directory"));
    lab.volumes.remove(pod.metadata.uid.as_deref().unwrap()).await.unwrap();
    lab.finish().await;
}

/// Waits until `holds`.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed().as_secs() < 10, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_removal_while_the_server_is_awaited_ends_mount_and_its_helper_and_no_mount_comes_after_it() {
    let lab = Arc::new(Lab::patient(Duration::from_secs(150)));
    let export = lab.at("export");
    std::fs::create_dir(&export).unwrap();
    let pod = pod(json!([{"name": "v", "nfs": {"server": "nas", "path": "/export"}}]));
    // A helper which mounts as soon as the server answers, and a file that only it and mount(8) hold open.
    let (answer, awaited) = (lab.at("answer"), lab.at("awaited"));
    let helper = format!("(while ! test -e {}; do sleep 0.05; done; mount --bind {} \"$at\") &", answer.display(), export.display());
    mount(&lab, &format!("exec 9> {}\n{helper}\nwait", awaited.display()));
    let (setting, its) = (lab.clone(), pod.clone());
    let pending = tokio::spawn(async move { setup(&setting, &its).await.map(|_| ()) });
    until("mount runs", || awaited.exists()).await;
    // As the worker does: the setup is given up, and the removal comes after it at once.
    pending.abort();
    assert!(pending.await.unwrap_err().is_cancelled());
    let begun = Instant::now();
    lab.volumes.remove("u-1").await.unwrap();
    assert!(begun.elapsed().as_secs() < 10);
    assert_eq!(holders(&awaited), Vec::<String>::new(), "all have ended before the removal has");
    // Were any of them left, it would mount now.
    std::fs::write(&answer, "").unwrap();
    assert!(!lab.at("run/pods/u-1").exists());
    // Nothing stands in the way of the same pod's volumes: the server answers.
    setup(&lab, &pod).await.unwrap();
    assert_eq!(mounts_under(&lab.at("run/pods/u-1/volumes")).len(), 1);
    lab.volumes.remove("u-1").await.unwrap();
    Arc::into_inner(lab).unwrap().finish().await;
}

#[tokio::test]
async fn a_removal_waits_for_whatever_else_is_set_up() {
    let lab = Arc::new(Lab::new());
    // A file of the host's that keeps its reader waiting, in a thread that nobody can stop.
    let fifo = lab.at("hosts");
    std::fs::remove_file(&fifo).unwrap();
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (setting, its) = (lab.clone(), pod(json!([])));
    let pending = tokio::spawn(async move { setup(&setting, &its).await.map(|_| ()) });
    until("it is at it", || lab.at("run/pods/u-1").exists()).await;
    pending.abort();
    assert!(pending.await.unwrap_err().is_cancelled());
    let removing = lab.clone();
    let removal = tokio::spawn(async move { removing.volumes.remove("u-1").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let waits = !removal.is_finished() && lab.at("run/pods/u-1").exists();
    // Before anything may fail, or the thread would be waited for.
    std::fs::write(&fifo, "").unwrap();
    assert!(waits);
    removal.await.unwrap().unwrap();
    assert!(!lab.at("run/pods/u-1").exists());
    Arc::into_inner(lab).unwrap().finish().await;
}

/// The processes that have the file open.
fn holders(file: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let holds = |process: &std::path::PathBuf| {
        let open = std::fs::read_dir(process.join("fd")).into_iter().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).any(|target| target == file)
    };
    processes.filter(holds).map(|process| process.display().to_string()).collect()
}
