//! ConfigMaps, Secrets, claims and size limits on real file systems.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use minik8s::volumes::{PayloadFile, Payloads, Volumes};
use serde_json::json;

use super::{Lab, mounts_under, pod};

/// Path, text, mode.
type Row<'a> = (&'a str, &'a str, u32);

fn payloads(volumes: &[(&str, &[Row])]) -> Arc<Payloads> {
    let file = |(path, text, mode): &Row| ((*path).to_owned(), PayloadFile { data: text.as_bytes().to_vec(), mode: *mode });
    let volumes: BTreeMap<_, _> = volumes.iter().map(|(name, files)| ((*name).to_owned(), files.iter().map(file).collect())).collect();
    Arc::new(Payloads { at: Timestamp::from_second(1_700_000_000).unwrap(), volumes })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn file_system(path: &Path) -> nix::sys::statfs::FsType {
    nix::sys::statfs::statfs(path).unwrap().filesystem_type()
}

#[tokio::test]
async fn secrets_are_on_tmpfs_config_maps_on_disk_and_nobody_else_gets_there() {
    let lab = Lab::new();
    let pod = pod(json!([
        {"name": "map", "configMap": {"name": "m"}}, {"name": "sec", "secret": {"secretName": "s"}},
        {"name": "down", "downwardAPI": {}}, {"name": "proj", "projected": {"sources": []}},
    ]));
    let first = payloads(&[
        ("map", &[("a", "1", 0o644)]),
        ("sec", &[("d/pw", "hunter2", 0o400)]),
        ("down", &[("name", "p", 0o644)]),
        ("proj", &[]),
    ]);
    let files = lab.volumes.setup(&pod, "p", &first).await.unwrap();
    assert_eq!(fs::read_to_string(files.volumes["map"].join("a")).unwrap(), "1");
    assert_eq!(fs::read_to_string(files.volumes["sec"].join("d/pw")).unwrap(), "hunter2");
    assert_eq!((mode(&files.volumes["sec"].join("d/pw")), mode(&files.volumes["sec"]), mode(&files.volumes["map"])), (0o400, 0o755, 0o755));
    for name in ["sec", "down", "proj"] {
        assert_eq!(file_system(&files.volumes[name]), nix::sys::statfs::TMPFS_MAGIC, "{name}");
    }
    assert!(files.volumes["map"].starts_with(lab.at("state")));
    assert_eq!((mode(&lab.at("state/pods/u-1")), mode(&lab.at("run/pods/u-1"))), (0o750, 0o750));
    assert_eq!(files.read_only.iter().map(String::as_str).collect::<Vec<_>>(), ["down", "map", "proj", "sec"]);

    // Changed while it is there; a volume that is not set up is left alone.
    let next = payloads(&[("map", &[("b", "2", 0o600)]), ("sec", &[("d/pw", "changed", 0o400)]), ("down", &[]), ("proj", &[])]);
    lab.volumes.refresh(&pod, &next).await.unwrap();
    assert!(!files.volumes["map"].join("a").exists());
    assert_eq!(fs::read_to_string(files.volumes["map"].join("b")).unwrap(), "2");
    assert_eq!(fs::read_to_string(files.volumes["sec"].join("d/pw")).unwrap(), "changed");
    let mounted = mounts_under(lab.dir.path());
    assert_eq!(lab.volumes.setup(&pod, "p", &next).await.unwrap(), files);
    assert_eq!(mounts_under(lab.dir.path()), mounted);
    lab.volumes.remove("u-1").await.unwrap();
    lab.volumes.refresh(&pod, &next).await.unwrap();
    lab.finish().await;
}

#[tokio::test]
async fn a_reader_sees_one_whole_set_of_files_at_any_time() {
    let lab = Lab::new();
    let pod = pod(json!([{"name": "map", "configMap": {"name": "m"}}]));
    let numbered = |n: usize| {
        let text = n.to_string();
        payloads(&[("map", &[("a", text.as_str(), 0o644), ("b", text.as_str(), 0o644)])])
    };
    let dir = lab.volumes.setup(&pod, "p", &numbered(0)).await.unwrap().volumes["map"].clone();
    let over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (over, dir) = (over.clone(), dir.clone());
        std::thread::spawn(move || {
            let mut seen = 0;
            while !over.load(Ordering::Relaxed) {
                // As a program does that wants one set: it resolves ..data once.
                let set = dir.join(fs::read_link(dir.join("..data")).expect("..data is always there"));
                // An old set may go while it is read.
                let (Ok(a), Ok(b)) = (fs::read_to_string(set.join("a")), fs::read_to_string(set.join("b"))) else { continue };
                assert_eq!(a, b);
                seen += 1;
            }
            seen
        })
    };
    for n in 1..200 {
        lab.volumes.refresh(&pod, &numbered(n)).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
    assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "199");
    lab.volumes.remove("u-1").await.unwrap();
    lab.finish().await;
}

#[tokio::test]
async fn a_claim_is_a_directory_that_stays() {
    let lab = Lab::new();
    let pod = pod(json!([{"name": "data", "persistentVolumeClaim": {"claimName": "db", "readOnly": true}}]));
    let files = lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap();
    let dir = lab.at("state/claims/default/db");
    assert_eq!(files.volumes["data"], dir);
    assert!(files.read_only.contains("data"));
    assert_eq!((mode(&dir), mode(&lab.at("state/claims"))), (0o777, 0o750));
    fs::write(dir.join("kept"), "x").unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    lab.volumes.remove("u-1").await.unwrap();
    lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap();
    assert_eq!((fs::read_to_string(dir.join("kept")).unwrap().as_str(), mode(&dir)), ("x", 0o700));
    let bad = super::pod(json!([{"name": "data", "persistentVolumeClaim": {"claimName": "../.."}}]));
    assert!(lab.volumes.setup(&bad, "p", &Arc::default()).await.unwrap_err().to_string().contains("invalid claim"));
    lab.volumes.remove("u-1").await.unwrap();
    lab.finish().await;
}

#[tokio::test]
async fn an_empty_dir_over_its_limit_is_named() {
    let lab = Lab::new();
    let pod = pod(json!([{"name": "free", "emptyDir": {}}, {"name": "small", "emptyDir": {"sizeLimit": "64Ki"}}]));
    assert_eq!(lab.volumes.over_limit(&pod).await.unwrap(), None, "before it is set up");
    let files = lab.volumes.setup(&pod, "p", &Arc::default()).await.unwrap();
    fs::write(files.volumes["free"].join("f"), vec![1; 1 << 20]).unwrap();
    assert_eq!(lab.volumes.over_limit(&pod).await.unwrap(), None);
    fs::write(files.volumes["small"].join("f"), vec![1; 1 << 17]).unwrap();
    assert_eq!(lab.volumes.over_limit(&pod).await.unwrap().as_deref(), Some("small"));
    lab.volumes.remove("u-1").await.unwrap();
    lab.finish().await;
}
