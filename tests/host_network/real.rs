//! Debian's own plugins in lists as administrators write them: ptp, macvlan, bridge with two families, portmap, bandwidth, tuning, sbr.

use std::net::{IpAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use minik8s::network::{Bandwidth, Network, PortMapping};
use serde_json::json;

use crate::bridge::ask;
use crate::lab::{Lab, inside, sh, spec};

/// host-local with an IPv4 and an IPv6 range of this lab's own.
fn ipam(lab: &Lab) -> serde_json::Value {
    let v4 = lab.config.bridge.subnet.clone().unwrap();
    let v6 = format!("fd00:{}::/64", v4.replace(".0/24", "").replace('.', ":"));
    json!({"type": "host-local", "dataDir": lab.dir.path().join("ipam"), "ranges": [[{"subnet": v4}], [{"subnet": v6}]],
           "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]})
}

fn families(ips: &[IpAddr]) -> Vec<bool> {
    ips.iter().map(IpAddr::is_ipv6).collect()
}

/// The interface on the host's side that leads to `ip`.
fn host_link(ip: IpAddr) -> String {
    let route = sh(&format!("ip route get {ip}"));
    route.split_whitespace().skip_while(|w| *w != "dev").nth(1).unwrap().to_owned()
}

/// How long 2 MiB take from the host into the pod.
fn takes(lab: &Lab, uid: &str, ip: IpAddr) -> Duration {
    let netns = format!("--net={}", lab.netns(uid).display());
    let sink = [netns.as_str(), "busybox", "nc", "-ll", "-p", "9090", "-e", "sh", "-c", "wc -c"];
    let mut server = Command::new("nsenter").args(sink).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut stream = loop {
        match std::net::TcpStream::connect((ip, 9090)) {
            Ok(stream) => break stream,
            Err(e) if Instant::now() > deadline => panic!("{e}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let began = Instant::now();
    std::io::Write::write_all(&mut stream, &vec![0; 2 << 20]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // It counts, says how much, and so has had all.
    let mut counted = String::new();
    std::io::Read::read_to_string(&mut stream, &mut counted).unwrap();
    let took = began.elapsed();
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(counted.trim(), (2 << 20).to_string());
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn ptp_with_portmap_bandwidth_and_tuning_gives_two_families_a_port_and_a_limit() {
    let lab = Lab::new(15);
    lab.list(&json!({"cniVersion": "1.0.0", "name": format!("labptp{}", std::process::id()), "plugins": [
        {"type": "ptp", "ipam": ipam(&lab)},
        {"type": "portmap", "capabilities": {"portMappings": true}},
        {"type": "bandwidth", "capabilities": {"bandwidth": true}},
        {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}},
    ]}));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut pod = spec("a");
    pod.ports = vec![PortMapping { protocol: "TCP".into(), container_port: 8080, host_port: port, host_ip: String::new() }];
    pod.bandwidth = Bandwidth { ingress: Some(8_000_000), egress: Some(3_000_000) };
    lab.network.create(&pod).await.unwrap();
    let ips = lab.network.attach(&pod).await.unwrap();
    assert_eq!(families(&ips), [false, true], "{ips:?}");
    assert_eq!(inside(&lab.netns("a"), "cat /proc/sys/net/ipv4/conf/eth0/arp_filter"), "1");
    let link = host_link(ips[0]);
    let shaped = sh(&format!("tc qdisc show dev {link}"));
    assert!(shaped.contains("tbf") && shaped.contains("rate 8Mbit") && shaped.contains("ingress"), "{shaped}");
    let out = sh("tc qdisc show").lines().filter(|l| l.contains("rate 3Mbit")).count();
    assert_eq!(out, 1, "what the pod sends is limited, too");
    let serve = [format!("--net={}", lab.netns("a").display())];
    let mut server =
        Command::new("nsenter").args(serve).args(["busybox", "nc", "-ll", "-p", "8080", "-e", "echo", "hello"]).spawn().unwrap();
    let published = ask(&format!("127.0.0.1:{port}"));
    server.kill().unwrap();
    server.wait().unwrap();
    lab.network.remove("a").await.unwrap();
    assert_eq!(published, "hello\n");
    assert!(!std::path::Path::new("/sys/class/net").join(link).exists());
    assert!(!sh("tc qdisc show").contains("rate 3Mbit"), "the device that limits is left");
    assert!(!sh("iptables-save").contains(&ips[0].to_string()), "port rules are left");
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_pod_gets_its_bytes_as_slowly_as_told() {
    let lab = Lab::new(16);
    // 8 Mbit/s with little to begin with: 2 MiB take two seconds.
    lab.list(&json!({"cniVersion": "0.4.0", "name": "labslow", "plugins": [
        {"type": "ptp", "ipam": ipam(&lab)},
        {"type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 800_000},
    ]}));
    lab.network.create(&spec("slow")).await.unwrap();
    let ip = lab.network.attach(&spec("slow")).await.unwrap()[0];
    let slow = takes(&lab, "slow", ip);
    lab.network.check("slow").await.unwrap();
    lab.network.remove("slow").await.unwrap();
    lab.list(&json!({"cniVersion": "0.4.0", "name": "labslow", "plugins": [{"type": "ptp", "ipam": ipam(&lab)}]}));
    lab.network.create(&spec("fast")).await.unwrap();
    let ip = lab.network.attach(&spec("fast")).await.unwrap()[0];
    let fast = takes(&lab, "fast", ip);
    lab.network.remove("fast").await.unwrap();
    assert!(slow > Duration::from_millis(1500) && fast < slow / 2, "limited {slow:?}, not limited {fast:?}");
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn macvlan_pods_reach_each_other_on_the_wire() {
    let lab = Lab::new(17);
    let (wire, far) = (format!("mktw{}", std::process::id()), format!("mktmv{}", std::process::id()));
    sh(&format!("ip netns add {far} && ip link add {wire} type veth peer name far netns {far}"));
    sh(&format!("ip link set {wire} up && ip -n {far} link set far up"));
    let conf = json!({"cniVersion": "0.3.1", "name": "labmv", "type": "macvlan", "master": wire, "mode": "bridge", "ipam": ipam(&lab)});
    std::fs::write(lab.dir.path().join("net.d/10.conf"), conf.to_string()).unwrap();
    let mut ips = Vec::new();
    for uid in ["a", "b"] {
        lab.network.create(&spec(uid)).await.unwrap();
        ips.push(lab.network.attach(&spec(uid)).await.unwrap());
    }
    assert_eq!(families(&ips[0]), [false, true]);
    let kind = inside(&lab.netns("a"), "ip -d link show eth0");
    let reached = Command::new("nsenter")
        .arg(format!("--net={}", lab.netns("a").display()))
        .args(["busybox", "ping", "-c", "1", "-W", "5", &ips[1][0].to_string()])
        .output();
    // Older than CHECK: there is nobody to ask.
    let checked = lab.network.check("a").await;
    for uid in ["a", "b"] {
        lab.network.remove(uid).await.unwrap();
    }
    sh(&format!("ip link del {wire}; ip netns del {far}"));
    assert!(kind.contains("macvlan mode bridge"), "{kind}");
    assert!(reached.unwrap().status.success());
    checked.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_is_checked_and_a_lost_interface_is_found() {
    let lab = Lab::new(18);
    let bridge = &lab.config.bridge.name;
    lab.list(&json!({"cniVersion": "1.0.0", "name": "labbr", "plugins": [
        {"type": "bridge", "bridge": bridge, "isGateway": true, "ipam": ipam(&lab)},
        {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}},
    ]}));
    lab.network.create(&spec("a")).await.unwrap();
    let ips = lab.network.attach(&spec("a")).await.unwrap();
    assert_eq!(families(&ips), [false, true]);
    sh(&format!("busybox ping -c 1 -W 5 {}", ips[0]));
    lab.network.check("a").await.unwrap();
    inside(&lab.netns("a"), "ip link del eth0");
    let error = lab.network.check("a").await.unwrap_err().to_string();
    assert!(error.starts_with("CNI plugin \"bridge\" failed (CHECK): "), "{error}");
    assert_eq!(lab.network.attach(&spec("a")).await.unwrap(), ips, "a check changes nothing");
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sbr_after_a_bridge_routes_by_source() {
    let lab = Lab::new(26);
    lab.list(&json!({"cniVersion": "1.0.0", "name": "labsbr", "plugins": [
        {"type": "bridge", "bridge": lab.config.bridge.name, "isGateway": true, "ipam": ipam(&lab)},
        {"type": "sbr"},
    ]}));
    lab.network.create(&spec("a")).await.unwrap();
    let ips = lab.network.attach(&spec("a")).await.unwrap();
    assert!(inside(&lab.netns("a"), "ip rule").contains(&format!("from {}", ips[0])), "its rule");
    sh(&format!("busybox ping -c 1 -W 5 {}", ips[0]));
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}
