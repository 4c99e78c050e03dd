//! A containerd that is gone, or hangs: said by everything that tells of the node, and nothing that runs is touched.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::rig::{Rig, phase};

const WAIT: Duration = Duration::from_secs(40);
/// The kubelet's 30 s, and time for a question that is not answered.
const DOWN: Duration = Duration::from_secs(60);
const SLEEPER: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  - {name: main, image: busybox, command: [sleep, \"100000\"]}\n";
/// DaemonSets tolerate what a NotReady node would be tainted with; this one's pod, and that of a Job, is not to go either.
const OTHERS: &str = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: ds}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec:\n      terminationGracePeriodSeconds: 0\n      containers: [{name: daemon, image: busybox, command: [sleep, \"100000\"]}]\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      terminationGracePeriodSeconds: 0\n      containers: [{name: task, image: busybox, command: [sleep, \"100000\"]}]\n";

/// What a path of monitoring answers on the agent's socket: the status and the body.
fn asked(rig: &Rig, path: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(rig.manifests().with_file_name("sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Ready's status, reason and message.
fn ready(rig: &Rig) -> [String; 3] {
    let node = rig.get(&format!("node/{}", Rig::NODE));
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.into_iter().find(|c| c["type"] == "Ready").unwrap_or_default();
    ["status", "reason", "message"].map(|field| ready[field].as_str().unwrap_or_default().to_owned())
}

fn is_ready(rig: &Rig) -> bool {
    ready(rig)[0] == "True" && asked(rig, "/readyz").0 == 200
}

fn says_it_is_down(rig: &Rig) {
    assert_eq!(ready(rig), ["False", "KubeletNotReady", "container runtime is down"]);
    let (code, text) = asked(rig, "/readyz");
    assert_eq!(code, 503);
    assert!(text.contains("[-]containerd failed: containerd has not answered for 30 s\n[+]adoption ok\n"), "{text}");
    assert_eq!(asked(rig, "/healthz"), (200, "ok".to_owned()));
    let metric = format!("\nkube_node_status_condition{{node=\"{}\",condition=\"Ready\",status=\"true\"}} 0\n", Rig::NODE);
    let (_, metrics) = asked(rig, "/metrics");
    assert!(metrics.contains(&metric), "{metrics}");
    assert!(rig.cli(&["get", "nodes"]).contains("NotReady"));
    assert!(rig.cli(&["version"]).contains("not reachable"));
    assert_eq!(rig.get(&format!("node/{}", Rig::NODE))["spec"]["taints"], serde_json::Value::Null, "nothing is to go for that");
    assert!(rig.log().contains("the node is not ready: containerd at "), "{}", rig.log());
}

/// Everything of the pods that an eviction, a restart or a replacement would change.
fn pods(rig: &Rig) -> Vec<serde_json::Value> {
    rig.pods().iter().map(|p| serde_json::json!([p["metadata"]["uid"], p["metadata"]["deletionTimestamp"], p["status"]])).collect()
}

fn three_run(rig: &Rig) {
    rig.write("p.yaml", SLEEPER);
    rig.write("others.yaml", OTHERS);
    rig.wait("all three run", WAIT, |r| r.pods().len() == 3 && r.pods().iter().all(|p| phase(p) == "Running"));
    rig.wait("the node is ready", WAIT, is_ready);
}

#[test]
fn a_containerd_that_stays_away_makes_the_node_not_ready_and_harms_no_pod() {
    let mut rig = Rig::new();
    three_run(&rig);
    let (before, pids) = (pods(&rig), ["main", "daemon", "task"].map(|name| rig.container_pid(name)));
    rig.kill_containerd();
    let begun = Instant::now();
    rig.wait("it is down", DOWN, |r| ready(r)[0] == "False");
    assert!(begun.elapsed() > Duration::from_secs(15), "a restart of containerd is no fault");
    says_it_is_down(&rig);
    assert_eq!(pods(&rig), before);
    rig.start_containerd();
    rig.wait("the node is ready at once", Duration::from_secs(8), is_ready);
    rig.settle();
    assert_eq!(["main", "daemon", "task"].map(|name| rig.container_pid(name)), pids);
    assert_eq!(pods(&rig), before);
    rig.close();
}

#[test]
fn a_containerd_that_hangs_makes_the_node_not_ready_too() {
    let rig = Rig::new();
    three_run(&rig);
    let before = pods(&rig);
    let daemon = Stopped::containerd_of(&rig);
    rig.wait("it is down", DOWN, |r| ready(r)[0] == "False");
    says_it_is_down(&rig);
    assert_eq!(pods(&rig), before);
    drop(daemon);
    rig.wait("the node is ready again", WAIT, is_ready);
    rig.settle();
    assert_eq!(pods(&rig), before);
    rig.close();
}

/// A stopped process; goes on when dropped.
struct Stopped(String);

impl Stopped {
    fn containerd_of(rig: &Rig) -> Stopped {
        let own = rig.lab.dir.to_str().unwrap();
        let is_it = |pid: &String| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.split('\0').next().is_some_and(|program| program.ends_with("containerd")) && line.contains(own)
        };
        let numbers = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let found: Vec<String> = numbers.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).filter(is_it).collect();
        assert_eq!(found.len(), 1, "one containerd of this rig");
        let stopped = Stopped(found[0].clone());
        stopped.signal("-STOP");
        stopped
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0]).status().unwrap().success());
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}
