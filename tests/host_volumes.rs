//! The volumes driver on this machine: real mounts, and a removal that a hostile container tries to lead astray.
//!
//! Needs root. Every test has directories of its own and asserts that it leaves no mount.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use minik8s::volumes::{HostVolumes, MountProgram, Volumes, VolumesConfig};
use serde_json::{Value, json};

#[path = "host_volumes/attack.rs"]
mod attack;
#[path = "host_volumes/configuration.rs"]
mod configuration;
#[path = "host_volumes/fs_group.rs"]
mod fs_group;
#[path = "host_volumes/nfs.rs"]
mod nfs;

struct Lab {
    dir: tempfile::TempDir,
    volumes: HostVolumes,
}

impl Lab {
    fn new() -> Lab {
        Lab::patient(Duration::from_secs(2))
    }

    /// mount(8) has so long.
    fn patient(limit: Duration) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("hosts"), "127.0.0.1 localhost thehost\n").unwrap();
        std::fs::write(at("resolv.conf"), "nameserver 127.0.0.53\n").unwrap();
        std::fs::write(at("resolved.conf"), "nameserver 10.0.0.53\nsearch corp\n").unwrap();
        let config = VolumesConfig {
            run: at("run"),
            state: at("state"),
            memory_bytes: 1 << 30,
            mount: MountProgram { program: at("mount"), limit },
            hosts: at("hosts"),
            resolv_conf: at("resolv.conf"),
            resolved_conf: at("resolved.conf"),
        };
        Lab { volumes: HostVolumes::new(config), dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn finish(self) {
        assert_eq!(self.volumes.list().await.unwrap(), Vec::<String>::new());
        assert_eq!(mounts_under(self.dir.path()), Vec::<String>::new());
    }
}

impl Drop for Lab {
    /// What a failed test left.
    fn drop(&mut self) {
        for mount in mounts_under(self.dir.path()).iter().rev() {
            let _ = Command::new("umount").args(["-l", mount]).status();
        }
    }
}

fn mounts_under(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = text.lines().filter_map(|l| l.split(' ').nth(4)).map(str::to_owned);
    points.filter(|p| Path::new(p).starts_with(dir)).collect()
}

fn pod(volumes: Value) -> Pod {
    let spec = json!({"containers": [{"name": "c"}], "volumes": volumes});
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "default", "uid": "u-1"}, "spec": spec})).unwrap()
}

fn mount(arguments: &[&str]) {
    assert!(Command::new("mount").args(arguments).status().unwrap().success(), "{arguments:?}");
}

#[tokio::test]
async fn a_pod_s_files_and_volumes_are_set_up_once() {
    let lab = Lab::new();
    let pod = pod(json!([
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "host", "hostPath": {"path": lab.at("shared"), "type": "DirectoryOrCreate"}},
    ]));
    let files = lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap();
    let read = |path: &Option<PathBuf>| std::fs::read_to_string(path.as_ref().unwrap()).unwrap();
    assert_eq!(read(&files.hostname), "p\n");
    assert_eq!(read(&files.resolv_conf), "search corp\nnameserver 10.0.0.53\n", "systemd-resolved's stub is not for pods");
    for volume in ["disk", "memory"] {
        assert_eq!(std::fs::metadata(&files.volumes[volume]).unwrap().permissions().mode() & 0o7777, 0o777, "{volume}");
    }
    assert!(files.volumes["disk"].starts_with(lab.at("state")) && lab.at("shared").is_dir());
    let (shm, memory) = (files.shm.clone().unwrap(), &files.volumes["memory"]);
    let size = |path: &Path| nix::sys::statvfs::statvfs(path).map(|s| s.blocks() * s.fragment_size()).unwrap();
    assert_eq!((size(&shm), size(memory)), (64 << 20, 1 << 20));
    assert_eq!(std::fs::metadata(&shm).unwrap().permissions().mode() & 0o7777, 0o1777);
    std::fs::write(files.volumes["disk"].join("kept"), "x").unwrap();
    std::fs::write(memory.join("kept"), "x").unwrap();

    // A restart of the agent: the same again, nothing mounted twice, nothing lost.
    let mounted = mounts_under(lab.dir.path());
    assert_eq!(lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap(), files);
    assert_eq!(mounts_under(lab.dir.path()), mounted);
    assert!(files.volumes["disk"].join("kept").exists() && memory.join("kept").exists());
    lab.volumes.remove("u-1").await.unwrap();
    lab.volumes.remove("u-1").await.unwrap();
    lab.finish().await;
}

#[tokio::test]
async fn the_full_name_is_in_etc_hostname_where_it_is_the_kernels() {
    let lab = Lab::new();
    for (full, name) in [(Some(true), "p.sub.default.svc.cluster.local"), (None, "p")] {
        let mut pod = pod(json!([]));
        let spec = pod.spec.as_mut().unwrap();
        (spec.subdomain, spec.set_hostname_as_fqdn) = (Some("sub".to_owned()), full);
        let files = lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap();
        assert_eq!(std::fs::read_to_string(files.hostname.unwrap()).unwrap(), format!("{name}\n"));
        lab.volumes.remove("u-1").await.unwrap();
    }
    lab.finish().await;
}

#[tokio::test]
async fn hosts_is_written_in_place_and_stays_the_same_file() {
    let lab = Lab::new();
    let pod = pod(json!([]));
    let hosts = lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap().hosts.unwrap();
    let inode = std::fs::metadata(&hosts).unwrap().ino();
    lab.volumes.write_hosts(&pod, "p", &["10.1.2.3".parse().unwrap()]).await.unwrap();
    assert_eq!(std::fs::metadata(&hosts).unwrap().ino(), inode);
    assert!(std::fs::read_to_string(&hosts).unwrap().ends_with("\n10.1.2.3\tp\n"));
    // Set up again by a restarted agent: the addresses stay.
    lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap();
    assert!(std::fs::read_to_string(&hosts).unwrap().ends_with("\n10.1.2.3\tp\n"));
    lab.volumes.remove("u-1").await.unwrap();
    lab.finish().await;
}

#[tokio::test]
async fn what_cannot_be_set_up_is_told_in_kubernetes_words() {
    let lab = Lab::new();
    std::fs::write(lab.at("file"), "").unwrap();
    let file = lab.at("file");
    let cases = [
        (
            json!({"name": "v", "hostPath": {"path": file, "type": "Directory"}}),
            format!("hostPath type check failed: {} is not a directory", file.display()),
        ),
        (json!({"name": "v", "hostPath": {"path": "/a/../b"}}), "invalid HostPath `/a/../b`: must not contain '..'".to_owned()),
        (
            json!({"name": "v", "iscsi": {"iqn": "i", "lun": 0, "targetPortal": "p"}}),
            "volumes of kind \"iscsi\" are not supported on this node".to_owned(),
        ),
        (json!({"name": "v", "emptyDir": {"medium": "Tape"}}), "unknown storage medium \"Tape\"".to_owned()),
    ];
    for (volume, message) in cases {
        let error = lab.volumes.setup(&pod(json!([volume])), "p", &Arc::default()).await.unwrap_err().to_string();
        assert_eq!(error, format!("MountVolume.SetUp failed for volume \"v\" : {message}"));
    }
    let error = lab.volumes.setup(&pod(json!([{"name": "../x", "emptyDir": {}}])), "p", &Arc::default()).await.unwrap_err().to_string();
    assert!(error.contains("invalid volume name"), "{error}");
    lab.volumes.remove("u-1").await.unwrap();
    lab.finish().await;
}

#[tokio::test]
async fn removal_reaches_nothing_outside_of_the_pod() {
    let lab = Lab::new();
    let outside = lab.at("outside");
    std::fs::create_dir_all(outside.join("deep")).unwrap();
    std::fs::write(outside.join("deep/precious"), "x").unwrap();
    let outside_text = outside.to_str().unwrap();
    let pod = pod(json!([
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "host", "hostPath": {"path": outside, "type": "Directory"}},
    ]));
    let files = lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap();
    let disk = &files.volumes["disk"];
    // Symlinks out, a bind mount of the same file system inside, one of a directory with a blank, mounts stacked and nested.
    std::os::unix::fs::symlink("/", disk.join("root")).unwrap();
    std::os::unix::fs::symlink(&outside, disk.join("out")).unwrap();
    for name in ["bound", "with blank", "a/b/c"] {
        std::fs::create_dir_all(disk.join(name)).unwrap();
        mount(&["--bind", outside_text, disk.join(name).to_str().unwrap()]);
    }
    mount(&["-t", "tmpfs", "tmpfs", disk.join("a").to_str().unwrap()]);
    mount(&["--bind", "/", files.volumes["memory"].to_str().unwrap()]);
    lab.volumes.remove("u-1").await.unwrap();
    assert_eq!(std::fs::read_to_string(outside.join("deep/precious")).unwrap(), "x");
    assert!(Path::new("/etc/passwd").exists());
    lab.finish().await;
}

#[tokio::test]
async fn last_words_are_read_and_gone_with_the_pod() {
    let lab = Lab::new();
    let log = lab.volumes.termination_log("u-1", "c", 3).await.unwrap();
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o666);
    std::fs::write(&log, "out of luck").unwrap();
    assert_eq!(lab.volumes.termination_message("u-1", "c", 3).await, "out of luck");
    assert_eq!(lab.volumes.termination_message("u-1", "c", 4).await, "");
    assert_eq!(lab.volumes.list().await.unwrap(), ["u-1"]);
    assert!(lab.volumes.termination_log("u-1", "../../etc", 0).await.is_err());
    assert!(lab.volumes.remove("..").await.is_err() && lab.volumes.remove("").await.is_err());
    lab.volumes.remove("u-1").await.unwrap();
    lab.finish().await;
}

/// Mounting takes no page: a host that has set none aside does.
#[tokio::test]
async fn huge_pages_are_mounted_once_with_their_size_and_go_with_the_pod() {
    let lab = Lab::new();
    let mut pod = pod(json!([{"name": "huge", "emptyDir": {"medium": "HugePages-2Mi", "sizeLimit": "4Mi"}}]));
    let none = lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap_err().to_string();
    assert_eq!(
        none,
        "MountVolume.SetUp failed for volume \"huge\" : medium HugePages-2Mi: hugePages storage requested, but there is no resource request for huge pages"
    );
    let limits = json!({"limits": {"cpu": "1", "hugepages-2Mi": "8Mi"}});
    pod.spec.as_mut().unwrap().containers[0].resources = Some(serde_json::from_value(limits).unwrap());
    let files = lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap();
    let huge = &files.volumes["huge"];
    let of = |path: &Path| {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let lines = text.lines().filter(|l| l.split(' ').nth(4) == path.to_str()).map(|l| l.split(" - ").nth(1).unwrap().to_owned());
        lines.collect::<Vec<_>>()
    };
    let [mounted] = of(huge).try_into().unwrap();
    assert!(mounted.starts_with("hugetlbfs ") && mounted.contains("pagesize=2M") && mounted.contains("size=4194304"), "{mounted}");
    assert_eq!(std::fs::metadata(huge).unwrap().permissions().mode() & 0o7777, 0o777);
    lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap();
    assert_eq!(of(huge).len(), 1, "mounted once");
    lab.volumes.remove("u-1").await.unwrap();
    lab.finish().await;
}
