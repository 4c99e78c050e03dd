//! The network driver on this machine: real namespaces, the real CNI plugins of /usr/lib/cni, and plugins that misbehave.
//!
//! Needs root, iproute2, nsenter, busybox and containernetworking-plugins; fails where they are missing. Every test has bridge,
//! subnet and directories of its own and asserts that it leaves no mount, link, address or iptables rule.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use minik8s::network::{BridgeConfig, CniNetwork, Namespace, Network, NetworkConfig, NetworkError, PortMapping, SandboxSpec};

/// A driver with everything of its own.
struct Lab {
    dir: tempfile::TempDir,
    config: NetworkConfig,
    network: CniNetwork,
}

fn sh(script: &str) -> String {
    let out = Command::new("sh").arg("-c").arg(script).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

impl Lab {
    /// `number` keeps the tests of this file apart, the process id those of several runs at once.
    fn new(number: u8) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let pid = std::process::id();
        std::fs::create_dir_all(dir.path().join("net.d")).unwrap();
        let config = NetworkConfig {
            run: dir.path().join("run"),
            state: dir.path().join("state"),
            conf_dirs: vec![dir.path().join("net.d")],
            plugin_dirs: vec![dir.path().join("bin"), "/usr/lib/cni".into()],
            plugin_timeout: Duration::from_secs(30),
            bridge: BridgeConfig {
                name: format!("mkt{number}x{pid}"),
                subnet: Some(format!("10.{}.{}.0/24", 200 + number, pid % 256)),
                ipam_dir: dir.path().join("run/ipam"),
            },
        };
        let network = CniNetwork::new(config.clone()).unwrap();
        Lab { dir, config, network }
    }

    /// A shell script as a plugin: it has its standard input in `$in` and the lab's directory in `$lab`, and is logged.
    fn plugin(&self, name: &str, script: &str) {
        let bin = self.dir.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let (path, lab) = (bin.join(name), self.dir.path().display().to_string());
        let log = format!("echo \"{name} $CNI_COMMAND netns=$CNI_NETNS\" >>$lab/log");
        let text = format!("#!/bin/sh\nlab={lab}\nin=$(cat)\nprintf '%s' \"$in\" >$lab/{name}.$CNI_COMMAND\n{log}\n{script}\n");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn conflist(&self, file: &str, plugins: &[&str]) {
        let capabilities = serde_json::json!({"portMappings": true});
        let types: Vec<_> = plugins.iter().map(|p| serde_json::json!({"type": p, "capabilities": capabilities})).collect();
        let list = serde_json::json!({"cniVersion": "1.0.0", "name": "lab", "plugins": types});
        std::fs::write(self.dir.path().join("net.d").join(file), list.to_string()).unwrap();
    }

    fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn read(&self, file: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.dir.path().join(file)).unwrap()).unwrap()
    }

    fn netns(&self, uid: &str) -> PathBuf {
        self.config.run.join("ns").join(uid).join("net")
    }

    /// Nothing may be left.
    async fn finish(self) {
        assert_eq!(self.network.list().await.unwrap(), Vec::<String>::new());
        self.network.remove_root().await.unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*self.dir.path().to_string_lossy()), "{mounts}");
        let bridge = &self.config.bridge.name;
        assert!(!Path::new("/sys/class/net").join(bridge).exists());
        let rules = sh("iptables-save; ip6tables-save 2>/dev/null || true");
        assert!(!rules.contains(bridge.as_str()), "{rules}");
        assert!(!self.config.run.join("ipam").exists());
    }
}

impl Drop for Lab {
    /// What a failed test left.
    fn drop(&mut self) {
        let dir = self.dir.path().display();
        let unmount = format!("grep -o '{dir}[^ ]*' /proc/self/mountinfo | sort -r | while read m; do umount -l \"$m\"; done");
        let script = format!("{unmount}; ip link del {} 2>/dev/null; true", self.config.bridge.name);
        let _ = Command::new("sh").arg("-c").arg(script).status();
    }
}

fn spec(uid: &str) -> SandboxSpec {
    SandboxSpec {
        uid: uid.into(),
        namespace: "default".into(),
        name: format!("pod-{uid}"),
        hostname: format!("host-{uid}"),
        host_network: false,
        host_ipc: false,
        ports: Vec::new(),
    }
}

fn inside(netns: &Path, command: &str) -> String {
    sh(&format!("nsenter --net={} {command}", netns.display()))
}

const RESULT: &str = r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.8.7/24"}]}'"#;

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

#[tokio::test(flavor = "multi_thread")]
async fn pods_on_the_built_in_bridge_reach_each_other() {
    let lab = Lab::new(4);
    println!("without: {:?}", lab.network.describe().await);
    let mut ips = Vec::new();
    for uid in ["a", "b", "c"] {
        lab.network.create(&spec(uid)).await.unwrap();
        let began = Instant::now();
        let got = lab.network.attach(&spec(uid)).await.unwrap();
        println!("ADD: {:?}", began.elapsed());
        assert_eq!(lab.network.attach(&spec(uid)).await.unwrap(), got, "attached twice");
        ips.push(got[0]);
    }
    assert_ne!(ips[0], ips[1]);
    inside(&lab.netns("a"), &format!("busybox ping -c 1 -W 5 {}", ips[1]));
    sh(&format!("busybox ping -c 1 -W 5 {}", ips[0]));
    // A neighbour that knows no way to the pods: it answers only what comes from the host's own address.
    let (far, link) = (format!("mktfar{}", std::process::id()), format!("mktf{}", std::process::id()));
    sh(&format!("ip netns add {far} && ip link add {link} type veth peer name far netns {far} && ip addr add 10.199.77.1/30 dev {link}"));
    sh(&format!("ip link set {link} up; ip -n {far} addr add 10.199.77.2/30 dev far; ip -n {far} link set far up"));
    let masqueraded = Command::new("nsenter")
        .arg(format!("--net={}", lab.netns("a").display()))
        .args(["busybox", "ping", "-c", "1", "-W", "5", "10.199.77.2"])
        .output();
    sh(&format!("ip link del {link}; ip netns del {far}"));
    assert!(masqueraded.unwrap().status.success(), "not masqueraded");
    for uid in ["a", "b", "c"] {
        let began = Instant::now();
        lab.network.remove(uid).await.unwrap();
        println!("remove: {:?}", began.elapsed());
    }
    // The address book holds nothing: host-local's files are named after addresses.
    let book = lab.config.bridge.ipam_dir.join(&lab.config.bridge.name);
    let held: Vec<_> = std::fs::read_dir(book).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(held.iter().all(|n| n.parse::<IpAddr>().is_err()), "{held:?}");
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_have_distinct_addresses() {
    let lab = std::sync::Arc::new(Lab::new(5));
    let began = Instant::now();
    let all = (0..12).map(|n| {
        let lab = lab.clone();
        tokio::spawn(async move {
            let spec = spec(&format!("p{n}"));
            lab.network.create(&spec).await.unwrap();
            lab.network.attach(&spec).await.unwrap()[0]
        })
    });
    let mut ips: Vec<IpAddr> = futures::future::join_all(all).await.into_iter().map(|r| r.unwrap()).collect();
    println!("12 at once: {:?}", began.elapsed());
    ips.sort();
    ips.dedup();
    assert_eq!(ips.len(), 12);
    for n in 0..12 {
        lab.network.remove(&format!("p{n}")).await.unwrap();
    }
    std::sync::Arc::into_inner(lab).unwrap().finish().await;
}

/// What a server says, asked until it says something or 10 s have passed.
fn ask(to: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut text = String::new();
        let connected = std::net::TcpStream::connect(to).and_then(|mut s| std::io::Read::read_to_string(&mut s, &mut text));
        if connected.is_ok() && !text.is_empty() || Instant::now() > deadline {
            return text;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_port_answers_from_the_pod() {
    let lab = Lab::new(6);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut web = spec("w");
    web.ports = vec![PortMapping { protocol: "TCP".into(), container_port: 8080, host_port: port, host_ip: String::new() }];
    lab.network.create(&web).await.unwrap();
    let ips = lab.network.attach(&web).await.unwrap();
    let netns = format!("--net={}", lab.netns("w").display());
    let serve = [netns.as_str(), "busybox", "nc", "-ll", "-p", "8080", "-e", "echo", "hello"];
    let mut server = Command::new("nsenter").args(serve).spawn().unwrap();
    let direct = ask(&format!("{}:8080", ips[0]));
    let published = ask(&format!("127.0.0.1:{port}"));
    server.kill().unwrap();
    server.wait().unwrap();
    lab.network.remove("w").await.unwrap();
    assert_eq!((direct.as_str(), published.as_str()), ("hello\n", "hello\n"));
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_chained_forwards_and_undone_backwards() {
    let lab = Lab::new(7);
    lab.plugin("one", &format!("[ $CNI_COMMAND = ADD ] && {RESULT}; exit 0"));
    let both = r#"echo '{"ips":[{"address":"fd00::5/64"},{"address":"10.9.8.7/24"}]}'"#;
    lab.plugin("two", &format!("[ $CNI_COMMAND = ADD ] && {both}; exit 0"));
    std::fs::write(lab.dir.path().join("net.d/00-bad.conflist"), "{").unwrap();
    lab.conflist("10-lab.conflist", &["one", "two"]);
    lab.conflist("20-other.conflist", &["absent"]);
    let mut pod = spec("a");
    pod.ports = vec![PortMapping { protocol: "TCP".into(), container_port: 80, host_port: 8080, host_ip: "127.0.0.1".into() }];
    lab.network.create(&pod).await.unwrap();
    let ips = lab.network.attach(&pod).await.unwrap();
    assert_eq!(ips, ["10.9.8.7".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]);
    assert_eq!(lab.read("two.ADD")["prevResult"]["ips"][0]["address"], "10.9.8.7/24");
    assert_eq!(lab.read("one.ADD")["runtimeConfig"]["portMappings"][0]["hostIP"], "127.0.0.1");
    lab.network.remove("a").await.unwrap();
    let netns = lab.netns("a");
    let expected = ["one ADD", "two ADD", "two DEL", "one DEL"].map(|c| format!("{c} netns={}", netns.display()));
    assert_eq!(lab.log(), expected);
    assert_eq!(lab.read("one.DEL")["prevResult"]["ips"][0]["address"], "fd00::5/64");
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_hangs_is_killed_with_its_children() {
    let mut lab = Lab::new(8);
    lab.config.plugin_timeout = Duration::from_millis(1500);
    lab.network = CniNetwork::new(lab.config.clone()).unwrap();
    lab.plugin("hangs", "[ $CNI_COMMAND = DEL ] && exit 0\nsleep 1000 & echo $! >$lab/child\nwait");
    lab.conflist("10.conflist", &["hangs"]);
    lab.network.create(&spec("a")).await.unwrap();
    let error = lab.network.attach(&spec("a")).await.unwrap_err();
    assert!(
        matches!(&error, NetworkError::Plugin { command: "ADD", message, .. } if message == "killed: no answer within 1.5 s"),
        "{error}"
    );
    let child = std::fs::read_to_string(lab.dir.path().join("child")).unwrap();
    let gone = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).map_or(true, |s| s.contains(") Z "));
    let deadline = Instant::now() + Duration::from_secs(5);
    while !gone() && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    assert!(gone(), "the plugin's child {child} lives");
    assert_eq!(lab.log().len(), 2, "undone at once: {:?}", lab.log());
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_failures_are_told_in_the_plugin_s_words() {
    let lab = Lab::new(9);
    let add = |script: &str| lab.plugin("odd", &format!("[ $CNI_COMMAND = DEL ] && exit 0\n{script}"));
    lab.conflist("10.conflist", &["odd"]);
    lab.network.create(&spec("a")).await.unwrap();
    let cases = [
        ("echo hello", "printed no CNI result"),
        ("true", "printed no CNI result"),
        ("echo '{}'", "no address for the pod"),
        ("head -c 3000000 /dev/zero", "printed more than"),
        ("echo '{\"code\":7,\"msg\":\"bad config\",\"details\":\"no subnet\"}'; exit 1", "bad config; no subnet (code 7)"),
        ("echo oops >&2; exit 3", "netplugin failed: \"oops\""),
        ("kill -9 $$", "netplugin failed with no error message: signal: 9"),
    ];
    for (script, words) in cases {
        add(script);
        let error = lab.network.attach(&spec("a")).await.unwrap_err().to_string();
        assert!(error.starts_with("CNI plugin \"odd\" failed (ADD): ") && error.contains(words), "{script}: {error}");
    }
    add(RESULT);
    assert_eq!(lab.network.attach(&spec("a")).await.unwrap().len(), 1);
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_add_that_was_cut_off_is_found_and_undone() {
    let lab = Lab::new(10);
    lab.plugin("slow", "[ $CNI_COMMAND = DEL ] && exit 0\nsleep 1000");
    lab.conflist("10.conflist", &["slow"]);
    lab.network.create(&spec("a")).await.unwrap();
    {
        let pod = spec("a");
        let attaching = lab.network.attach(&pod);
        tokio::pin!(attaching);
        // Killed (dropped) once the plugin runs; its process group goes with it.
        while lab.log().is_empty() {
            assert!(tokio::time::timeout(Duration::from_millis(10), &mut attaching).await.is_err());
        }
    }
    let restarted = CniNetwork::new(lab.config.clone()).unwrap();
    assert_eq!(restarted.list().await.unwrap(), ["a"]);
    // The pin is gone too, as after a reboot: the plugin is told so.
    sh(&format!("umount {}", lab.netns("a").display()));
    restarted.remove("a").await.unwrap();
    assert_eq!(lab.log(), [format!("slow ADD netns={}", lab.netns("a").display()), "slow DEL netns=".to_owned()]);
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_older_than_its_namespace_is_not_believed() {
    let lab = Lab::new(11);
    lab.plugin("one", &format!("[ $CNI_COMMAND = ADD ] && {RESULT}; exit 0"));
    lab.conflist("10.conflist", &["one"]);
    lab.network.create(&spec("a")).await.unwrap();
    lab.network.attach(&spec("a")).await.unwrap();
    // A reboot: /run is empty, /var/lib is not.
    let pins = lab.netns("a").parent().unwrap().display().to_string();
    sh(&format!("umount {pins}/*; rm -r {pins}"));
    lab.network.create(&spec("a")).await.unwrap();
    lab.network.attach(&spec("a")).await.unwrap();
    let commands: Vec<_> = lab.log().iter().map(|l| l.split(" netns").next().unwrap().to_owned()).collect();
    assert_eq!(commands, ["one ADD", "one DEL", "one ADD"]);
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_del_is_kept_for_later_and_stops_nothing_else() {
    let lab = Lab::new(12);
    lab.plugin("one", &format!("[ $CNI_COMMAND = ADD ] && {RESULT}; exit 0"));
    lab.plugin("two", &format!("[ $CNI_COMMAND = ADD ] && {RESULT} && exit 0; echo '{{\"code\":11,\"msg\":\"busy\"}}'; exit 1"));
    lab.conflist("10.conflist", &["one", "two"]);
    lab.network.create(&spec("a")).await.unwrap();
    lab.network.attach(&spec("a")).await.unwrap();
    let error = lab.network.remove("a").await.unwrap_err().to_string();
    assert_eq!(error, "CNI plugin \"two\" failed (DEL): busy (code 11)");
    assert!(lab.log().last().unwrap().starts_with("one DEL"), "the other plugin was called all the same");
    assert!(!lab.netns("a").exists());
    assert_eq!(lab.network.list().await.unwrap(), ["a"]);
    lab.plugin("two", "exit 0");
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    let lab = Lab::new(13);
    lab.network.create(&spec("a")).await.unwrap();
    lab.conflist("10.conflist", &["absent"]);
    let error = lab.network.attach(&spec("a")).await.unwrap_err();
    let named = matches!(&error, NetworkError::PluginMissing { plugin, dirs } if plugin == "absent" && dirs.ends_with(", /usr/lib/cni"));
    assert!(named, "{error}");
    assert!(lab.network.describe().await[0].contains("pods without hostNetwork cannot start: CNI plugin \"absent\" not found"));
    std::fs::write(lab.dir.path().join("net.d/10.conflist"), "{}").unwrap();
    let error = lab.network.attach(&spec("a")).await.unwrap_err().to_string();
    assert!(error.starts_with("CNI configuration ") && error.ends_with("10.conflist: no 'name'"), "{error}");
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}
