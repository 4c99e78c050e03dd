//! fsGroup on real files, and against a container that does anything to its claim meanwhile: nothing outside of the volume changes.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::Pod;
use minik8s::volumes::{PayloadFile, Payloads, Volumes};
use serde_json::{Value, json};

use super::{Lab, mount, pod};

const GROUP: u32 = 4321;

fn grouped(uid: &str, volumes: Value, policy: Option<&str>) -> Pod {
    let mut pod = pod(volumes);
    pod.metadata.uid = Some(uid.to_owned());
    let context = json!({"fsGroup": GROUP, "fsGroupChangePolicy": policy});
    pod.spec.as_mut().unwrap().security_context = Some(serde_json::from_value(context).unwrap());
    pod
}

fn claim() -> Value {
    json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}])
}

/// Group and permissions, of a symlink itself.
fn owner(path: &Path) -> (u32, String) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.gid(), format!("{:04o}", found.mode() & 0o7777))
}

fn make(path: &Path, mode: u32) {
    fs::write(path, "x").unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn payloads(text: &str) -> Arc<Payloads> {
    let file = |mode| PayloadFile { data: text.as_bytes().to_vec(), mode };
    let files = BTreeMap::from([("key".to_owned(), file(0o400)), ("d/deep".to_owned(), file(0o644))]);
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    Arc::new(Payloads { at, volumes: ["config", "secret"].map(|name| (name.to_owned(), files.clone())).into() })
}

#[tokio::test]
async fn volumes_of_kubernetes_get_the_group_and_those_of_the_host_do_not() {
    let lab = Lab::new();
    fs::create_dir(lab.at("shared")).unwrap();
    make(&lab.at("shared/f"), 0o600);
    let volumes = json!([
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "config", "configMap": {"name": "c"}},
        {"name": "secret", "secret": {"secretName": "s"}},
        {"name": "host", "hostPath": {"path": lab.at("shared")}},
    ]);
    let pod = grouped("u-1", volumes, None);
    let before = owner(&lab.at("shared"));
    let files = lab.volumes.setup(&pod, "p", &payloads("one")).await.unwrap();
    for volume in ["disk", "memory"] {
        assert_eq!(owner(&files.volumes[volume]), (GROUP, "2777".to_owned()), "{volume}");
        make(&files.volumes[volume].join("new"), 0o600);
        assert_eq!(owner(&files.volumes[volume].join("new")).0, GROUP, "setgid hands the group on");
    }
    assert_eq!((owner(&lab.at("shared")), owner(&lab.at("shared/f"))), (before, (0, "0600".to_owned())));
    for text in ["one", "two"] {
        lab.volumes.refresh(&pod, &payloads(text)).await.unwrap();
        for volume in ["config", "secret"] {
            let at = |name: &str| owner(&files.volumes[volume].join(name));
            let data = fs::canonicalize(files.volumes[volume].join("..data")).unwrap();
            assert_eq!(fs::read_to_string(data.join("key")).unwrap(), text);
            assert_eq!((at(""), at("key").0, at("..data").0), ((GROUP, "2755".to_owned()), GROUP, GROUP), "{volume}");
            let inner = ["", "key", "d", "d/deep"].map(|name| owner(&data.join(name)));
            assert_eq!(
                inner.map(|(group, mode)| format!("{group}:{mode}")),
                ["4321:2755", "4321:0440", "4321:2755", "4321:0644"],
                "{volume}"
            );
        }
    }
    // What a container made of its emptyDir stays so when the agent comes back.
    chown(&files.volumes["disk"], None, Some(7)).unwrap();
    lab.volumes.setup(&pod, "p", &payloads("two")).await.unwrap();
    assert_eq!(owner(&files.volumes["disk"]).0, 7);
    lab.volumes.remove("u-1").await.unwrap();
    lab.finish().await;
}

#[tokio::test]
async fn a_claim_is_given_whole_once_a_pod_and_no_link_or_mount_leads_out() {
    let lab = Lab::new();
    let (data, host) = (lab.at("state/claims/default/data"), lab.at("host"));
    for dir in [data.join("d/e"), data.join("mounted"), host.join("inner")] {
        fs::create_dir_all(dir).unwrap();
    }
    fs::set_permissions(data.join("d"), Permissions::from_mode(0o700)).unwrap();
    for (file, mode) in [("f", 0o600), ("d/e/setuid", 0o4755), ("d/e/read-only", 0o400)] {
        make(&data.join(file), mode);
    }
    make(&host.join("secret"), 0o600);
    make(&host.join("inner/secret"), 0o600);
    symlink(host.join("secret"), data.join("to-file")).unwrap();
    symlink(&host, data.join("d/to-directory")).unwrap();
    nix::unistd::mkfifo(&data.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    mount(&["--bind", host.to_str().unwrap(), data.join("mounted").to_str().unwrap()]);

    let setup = async |uid: &str, policy| lab.volumes.setup(&grouped(uid, claim(), policy), "p", &Arc::default()).await.unwrap();
    setup("u-1", None).await;
    let shown = |name: &str| {
        let (group, mode) = owner(&data.join(name));
        format!("{name} {group} {mode}")
    };
    for expected in [
        "f 4321 0660",
        "d 4321 2770",
        "d/e 4321 2775",
        "d/e/setuid 4321 4775",
        "d/e/read-only 4321 0660",
        "fifo 4321 0660",
        "to-file 4321 0777",
        "d/to-directory 4321 0777",
        "mounted/secret 0 0600",
    ] {
        assert_eq!(shown(expected.split(' ').next().unwrap()), expected);
    }
    assert_eq!(["secret", "inner", "inner/secret"].map(|name| owner(&host.join(name)).0), [0; 3]);

    // The agent comes back: what containers made of it is theirs. Another pod: by its policy.
    make(&data.join("f"), 0o600);
    setup("u-1", None).await;
    assert_eq!(shown("f"), "f 4321 0600");
    setup("u-2", Some("OnRootMismatch")).await;
    assert_eq!(shown("f"), "f 4321 0600", "the root is as it should be");
    fs::set_permissions(&data, Permissions::from_mode(0o750)).unwrap();
    setup("u-3", Some("OnRootMismatch")).await;
    assert_eq!(shown("f"), "f 4321 0660");
    make(&data.join("f"), 0o600);
    setup("u-4", Some("Always")).await;
    assert_eq!(shown("f"), "f 4321 0660");
    // Killed in the middle: nothing says that it was done.
    make(&data.join("f"), 0o600);
    fs::remove_file(lab.at("run/pods/u-4/fs-group/data")).unwrap();
    setup("u-4", Some("Always")).await;
    assert_eq!(shown("f"), "f 4321 0660");
    // Who only reads changes nothing.
    make(&data.join("f"), 0o600);
    let reader = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": true}}]);
    lab.volumes.setup(&grouped("u-5", reader, None), "p", &Arc::default()).await.unwrap();
    assert_eq!(shown("f"), "f 4321 0600");
    nix::mount::umount(&data.join("mounted")).unwrap();
    for uid in 1..=5 {
        lab.volumes.remove(&format!("u-{uid}")).await.unwrap();
    }
    lab.finish().await;
}

/// A directory of the claim becomes a symlink to the host's, and a directory again, all the time.
#[tokio::test]
async fn a_race_leads_nowhere() {
    let lab = Lab::new();
    let (data, host) = (lab.at("state/claims/default/data"), lab.at("host"));
    fs::create_dir_all(host.join("d")).unwrap();
    make(&host.join("d/secret"), 0o600);
    make(&host.join("secret"), 0o600);
    for n in 0..40 {
        fs::create_dir_all(data.join(format!("{n}/flip/d"))).unwrap();
        make(&data.join(format!("{n}/flip/d/secret")), 0o600);
        make(&data.join(format!("{n}/flip/secret")), 0o600);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let attacker = std::thread::spawn({
        let (data, host, stop) = (data.clone(), host.clone(), stop.clone());
        move || {
            let mut flips = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                for n in 0..40 {
                    let dir = data.join(n.to_string());
                    fs::rename(dir.join("flip"), dir.join("away")).unwrap();
                    symlink(&host, dir.join("flip")).unwrap();
                    fs::remove_file(dir.join("flip")).unwrap();
                    fs::rename(dir.join("away"), dir.join("flip")).unwrap();
                    flips += 1;
                }
            }
            flips
        }
    });
    for n in 0..150 {
        let uid = format!("u-{n}");
        // What moves meanwhile may be missed; nothing else may be touched.
        lab.volumes.setup(&grouped(&uid, claim(), Some("Always")), "p", &Arc::default()).await.unwrap();
        lab.volumes.remove(&uid).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(attacker.join().unwrap() > 150, "the attacker was not at work");
    for (name, mode) in [("secret", "0600"), ("d/secret", "0600")] {
        assert_eq!(owner(&host.join(name)), (0, mode.to_owned()));
    }
    assert_eq!((owner(&host).0, owner(&host.join("d")).0), (0, 0));
    lab.finish().await;
}
