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
