//! subPath against a container that may do anything to its volume: whatever it puts there, nothing outside of the volume is ever bound.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minik8s::volumes::{SubPath, Volumes};
use serde_json::json;

use super::{Lab, mount, mounts_under, pod};

/// A pod with one emptyDir, and the secret of the host's that nobody may reach, beside the volume.
async fn stage() -> (Lab, PathBuf) {
    let lab = Lab::new();
    let files = lab.volumes.setup(&pod(json!([{"name": "v", "emptyDir": {}}])), "p", &Arc::default()).await.unwrap();
    fs::create_dir(lab.at("host")).unwrap();
    fs::write(lab.at("host/secret"), "the host's").unwrap();
    let volume = files.volumes["v"].clone();
    (lab, volume)
}

async fn bind(lab: &Lab, volume: &Path, path: &str) -> Result<PathBuf, String> {
    let wanted = SubPath { container: "c".to_owned(), index: 0, volume: "v".to_owned(), path: path.to_owned() };
    lab.volumes.sub_path("u-1", volume, &wanted).await.map_err(|e| e.to_string())
}

#[tokio::test]
async fn directories_files_and_inner_links_are_bound_and_what_is_missing_is_made() {
    let (lab, volume) = stage().await;
    fs::create_dir_all(volume.join("a/b")).unwrap();
    fs::write(volume.join("a/b/f"), "inside").unwrap();
    symlink("a", volume.join("link")).unwrap();
    for path in ["a/b", "link/b", "./a//b/", "a/../a/b"] {
        let bound = bind(&lab, &volume, path).await.unwrap();
        assert_eq!(fs::read_to_string(bound.join("f")).unwrap(), "inside", "{path}");
    }
    let file = bind(&lab, &volume, "a/b/f").await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "inside");
    let made = bind(&lab, &volume, "link/new/deep").await.unwrap();
    fs::write(made.join("g"), "new").unwrap();
    assert_eq!(fs::read_to_string(volume.join("a/new/deep/g")).unwrap(), "new");
    assert_eq!(fs::metadata(volume.join("a/new")).unwrap().mode() & 0o7777, 0o777, "as the volume");
    // One mount however often it was asked for; all of them go with the pod, and nothing of the volume's does before.
    let mounted = mounts_under(lab.dir.path()).into_iter().filter(|m| m.contains("volume-subpaths")).count();
    assert_eq!(mounted, 1);
    lab.volumes.remove("u-1").await.unwrap();
    lab.finish().await;
}

#[tokio::test]
async fn nothing_is_made_in_a_volume_that_is_mounted_read_only() {
    let (lab, volume) = stage().await;
    fs::create_dir(volume.join("there")).unwrap();
    let at = volume.to_str().unwrap();
    mount(&["--bind", at, at]);
    mount(&["-o", "remount,bind,ro", at]);
    let refused = bind(&lab, &volume, "missing").await.unwrap_err();
    assert!(refused.contains("No such file or directory"), "{refused}");
    assert!(bind(&lab, &volume, "there").await.unwrap().is_dir());
    lab.volumes.remove("u-1").await.unwrap();
    lab.finish().await;
}

#[tokio::test]
async fn links_that_lead_out_are_refused() {
    let (lab, volume) = stage().await;
    let host = lab.at("host");
    let up = format!("{}etc", "../".repeat(40));
    fs::create_dir_all(volume.join("deep/er")).unwrap();
    for (name, target) in [
        ("root", "/"),
        ("host", host.to_str().unwrap()),
        ("up", up.as_str()),
        ("parent", ".."),
        ("deep/er/out", "../../../.."),
        ("first", "second"),
        ("second", "/etc"),
        ("proc", "/proc/self/root"),
        ("inside-by-absolute-path", volume.to_str().unwrap()),
        ("loop", "loop"),
    ] {
        symlink(target, volume.join(name)).unwrap();
        for path in [name.to_owned(), format!("{name}/etc"), format!("{name}/secret")] {
            let result = bind(&lab, &volume, &path).await;
            assert!(result.is_err(), "{path} → {target}: {result:?}");
        }
    }
    for path in ["..", "deep/../../x", "/etc"] {
        assert!(bind(&lab, &volume, path).await.is_err(), "{path}");
    }
    assert!(!mounts_under(lab.dir.path()).iter().any(|m| m.contains("volume-subpaths")));
    assert_eq!(fs::read_dir(&host).unwrap().count(), 1, "nothing was made outside");
    lab.volumes.remove("u-1").await.unwrap();
    assert_eq!(fs::read_to_string(host.join("secret")).unwrap(), "the host's");
    lab.finish().await;
}

/// The attack of CVE-2017-1002101 and CVE-2021-25741: a directory is exchanged for a link to the host's between look and mount.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_becomes_a_link_to_the_host_meanwhile_never_gets_there() {
    let (lab, volume) = stage().await;
    fs::create_dir_all(volume.join("x/sub")).unwrap();
    symlink("/", volume.join("evil")).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let attacker = {
        let (over, volume) = (over.clone(), volume.clone());
        std::thread::spawn(move || {
            let (at, flags) = (nix::fcntl::AT_FDCWD, nix::fcntl::RenameFlags::RENAME_EXCHANGE);
            while !over.load(Ordering::Relaxed) {
                nix::fcntl::renameat2(at, &volume.join("x"), at, &volume.join("evil"), flags).unwrap();
            }
        })
    };
    let device = fs::metadata(&volume).unwrap().dev();
    let (mut bound, mut refused) = (0, 0);
    for round in 0..2000 {
        // x is now a directory of the volume, now the host's root. `new…` is to be made.
        for path in ["x/sub".to_owned(), "x/etc".to_owned(), format!("x/minik8s-attack-{round}/a")] {
            match bind(&lab, &volume, &path).await {
                Err(_) => refused += 1,
                Ok(target) => {
                    bound += 1;
                    assert!(!target.join("passwd").exists(), "the host's /etc is bound");
                    assert_eq!(fs::metadata(&target).unwrap().dev(), device);
                }
            }
        }
        if bound > 50 && refused > 50 {
            break;
        }
    }
    over.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
    assert!(bound > 0 && refused > 0, "both happen: {bound} bound, {refused} refused");
    assert!(!fs::read_dir("/").unwrap().any(|e| e.unwrap().file_name().to_str().unwrap().starts_with("minik8s-attack")));
    lab.volumes.remove("u-1").await.unwrap();
    assert!(Path::new("/etc/passwd").exists());
    lab.finish().await;
}
