//! The built-in bridge: pods reach each other, and are reached by a port of the host.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use minik8s::network::{Network, PortMapping};

use crate::lab::{Lab, inside, sh, spec};

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
pub fn ask(to: &str) -> String {
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
    lab.network.check("w").await.unwrap();
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
