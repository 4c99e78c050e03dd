//! Pins: found again, seen in older mount namespaces, and the host's own where a pod asks for those.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use minik8s::network::{CniNetwork, Namespace, Network};

use crate::lab::{Lab, inside, sh, spec};

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_pinned_found_again_and_removed() {
    let lab = Lab::new(1);
    let began = Instant::now();
    let sandbox = lab.network.create(&spec("a")).await.unwrap();
    println!("create: {:?}", began.elapsed());
    let (Namespace::Pinned(net), Namespace::Pinned(uts), Namespace::Pinned(ipc)) = (&sandbox.network, &sandbox.uts, &sandbox.ipc) else {
        panic!("{sandbox:?}")
    };
    let host = |kind| std::fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino();
    for (path, kind) in [(net, "net"), (uts, "uts"), (ipc, "ipc")] {
        assert_ne!(std::fs::metadata(path).unwrap().ino(), host(kind), "{kind}");
    }
    assert_eq!(sh(&format!("nsenter --uts={} hostname", uts.display())), "host-a");
    assert!(inside(net, "ip -o addr show dev lo").contains("127.0.0.1/8"));
    assert_ne!(sh("hostname"), "host-a");
    let before = std::fs::metadata(net).unwrap().ino();
    assert_eq!(lab.network.create(&spec("a")).await.unwrap(), sandbox);
    assert_eq!(std::fs::metadata(net).unwrap().ino(), before);
    // Another agent on the same directories (a restart) finds them too.
    let again = CniNetwork::new(lab.config.clone()).unwrap();
    assert_eq!(again.list().await.unwrap(), ["a"]);
    again.remove("a").await.unwrap();
    again.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_are_seen_in_mount_namespaces_copied_before() {
    let lab = Lab::new(14);
    // As a containerd whose unit has a mount namespace of its own, started before the pod.
    let ready = lab.dir.path().join("ready");
    let script = format!("touch {}; exec sleep 1000", ready.display());
    let mut copy = Command::new("unshare").args(["-m", "--propagation", "unchanged", "sh", "-c", &script]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ready.exists() && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    lab.network.create(&spec("a")).await.unwrap();
    let there = format!("/proc/{}/root{}", copy.id(), lab.netns("a").display());
    let pinned = || nix::sys::statfs::statfs(there.as_str()).is_ok_and(|s| s.filesystem_type() == nix::sys::statfs::NSFS_MAGIC);
    let seen = pinned();
    lab.network.remove("a").await.unwrap();
    let gone = !pinned();
    copy.kill().unwrap();
    copy.wait().unwrap();
    assert!(seen && gone, "seen: {seen}, gone with the pod: {gone}");
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_s_namespaces_stay_the_host_s() {
    let lab = Lab::new(2);
    let mut host = spec("h");
    (host.host_network, host.host_ipc) = (true, true);
    let sandbox = lab.network.create(&host).await.unwrap();
    assert_eq!((sandbox.network, sandbox.uts, sandbox.ipc), (Namespace::Host, Namespace::Host, Namespace::Host));
    assert_eq!(lab.network.attach(&host).await.unwrap(), lab.network.host_ips());
    assert!(!lab.network.host_ips().is_empty());
    println!("host_ips: {:?}", lab.network.host_ips());
    lab.network.remove("h").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_made_pin_is_finished() {
    let lab = Lab::new(3);
    // Killed after the file was made and before the mount.
    std::fs::create_dir_all(lab.netns("a").parent().unwrap()).unwrap();
    std::fs::write(lab.netns("a"), "").unwrap();
    assert_eq!(lab.network.list().await.unwrap(), ["a"]);
    lab.network.create(&spec("a")).await.unwrap();
    assert!(inside(&lab.netns("a"), "ip -o link").starts_with("1: lo"));
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}
