//! port-forward into a pod's network namespace, and top.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use crate::lab::eventually;
use crate::rig::{Rig, all_run, phase};

const WAIT: Duration = Duration::from_secs(40);

/// Sends a mebibyte, ends the input, and reads it all again.
fn there_and_back(port: u16) {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut writer = connection.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        writer.write_all(&vec![7_u8; 1 << 20]).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    connection.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back.len() == 1 << 20 && back.iter().all(|b| *b == 7), "{} bytes came back", back.len());
}

#[test]
fn connections_reach_what_listens_on_the_pods_loopback() {
    let rig = Rig::new();
    rig.write(
        "d.yaml",
        r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: echo}
spec:
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: busybox
        ports: [{name: tcp, containerPort: 7000}]
        command: [nc, -ll, -p, "7000", -e, cat]
"#,
    );
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    let listens = ["exec", "ds/echo", "--", "sh", "-c", "cat /proc/net/tcp /proc/net/tcp6 | grep -q :1B58"];
    eventually("it listens", || rig.minik8s(&listens).output().unwrap().status.success());
    let mut child = rig
        .minik8s(&["port-forward", "--address", "127.0.0.1", "ds/echo", ":tcp", ":7001"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line
    };
    let port = |line: &str, remote: &str| -> u16 {
        let address = line.strip_prefix("Forwarding from 127.0.0.1:").unwrap();
        address.strip_suffix(&format!(" -> {remote}\n")).unwrap().parse().unwrap()
    };
    let (good, nobody) = (port(&line(), "7000"), port(&line(), "7001"));
    let mut first = TcpStream::connect(("127.0.0.1", good)).unwrap();
    assert_eq!(line(), format!("Handling connection for {good}\n"));
    first.write_all(b"one").unwrap();
    let mut three = [0; 3];
    first.read_exact(&mut three).unwrap();
    assert_eq!(&three, b"one");
    there_and_back(good);
    first.write_all(b"two").unwrap();
    first.read_exact(&mut three).unwrap();
    assert_eq!(&three, b"two", "the first connection lives beside the second");
    let mut refused = TcpStream::connect(("127.0.0.1", nobody)).unwrap();
    assert_eq!(refused.read(&mut three).unwrap_or(0), 0);
    let mut complaint = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut complaint).unwrap();
    assert!(
        complaint.starts_with(&format!("an error occurred forwarding {nobody} -> 7001: error: ")) && complaint.contains("refused"),
        "{complaint}"
    );
    drop(first);
    child.kill().unwrap();
    child.wait().unwrap();
    rig.close();
}

#[test]
fn top_shows_who_is_busy() {
    let rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: busy, image: busybox, command: [sh, -c, "while :; do :; done"], resources: {limits: {cpu: 500m}}}
  - {name: idle, image: busybox, command: [sleep, "100000"]}
"#,
    );
    rig.wait("both run", WAIT, |r| r.pods().iter().any(|p| all_run(p, 2)));
    let table = rig.cli(&["top", "pods", "-A", "--containers", "--sort-by", "cpu"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAMESPACE", "POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]);
    assert_eq!((&rows[1][..3], &rows[2][..3]), (&["default", "p-lab-node", "busy"][..], &["default", "p-lab-node", "idle"][..]), "{table}");
    let number = |cell: &str, unit: &str| cell.strip_suffix(unit).unwrap().parse::<u64>().unwrap();
    assert!((50..=600).contains(&number(rows[1][3], "m")), "half a CPU at most, shared with other tests: {table}");
    assert!(number(rows[2][3], "m") < 20 && number(rows[1][4], "Mi") < 64, "{table}");
    let table = rig.cli(&["top", "node"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]);
    assert!(rows[1][0] == Rig::NODE && number(rows[1][1], "m") > 0 && number(rows[1][3], "Mi") > 0, "{table}");
    let failed = rig.cli_fails(&["top", "pod", "gone"]);
    assert_eq!(failed, "Error from server (NotFound): pods \"gone\" not found\n");
    rig.close();
}
