//! What watches a node, unchanged: a real node-exporter DaemonSet with Debian's binary, and a collector that reads logs as collectors do.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::lab::image::{Node, OciImage, go_arch};
use crate::rig::{Rig, phase};

const WAIT: Duration = Duration::from_secs(60);
/// Where the manifest's exporter listens.
const ADDRESS: &str = "127.0.0.1:9101";

/// Debian's binary: the host's if it is installed, else out of the package.
fn exporter() -> Vec<u8> {
    if let Ok(installed) = std::fs::read("/usr/bin/prometheus-node-exporter") {
        return installed;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "apt-get download prometheus-node-exporter >/dev/null 2>&1 && dpkg -x prometheus-node-exporter_*.deb .";
    let fetched = (0..3).any(|_| Command::new("sh").args(["-c", script]).current_dir(dir.path()).status().unwrap().success());
    assert!(fetched, "cannot download the package (apt-get update; apt-get install prometheus-node-exporter)");
    std::fs::read(dir.path().join("usr/bin/prometheus-node-exporter")).unwrap()
}

/// The binary and the libraries it needs, with a shell.
fn exporter_image() -> OciImage {
    let binary = exporter();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("exporter");
    std::fs::write(&path, &binary).unwrap();
    let listed = Command::new("ldd").arg(&path).output().unwrap().stdout;
    let mut files = BTreeMap::from([("bin/node_exporter".to_owned(), Node::File(0o755, binary))]);
    for library in String::from_utf8_lossy(&listed).split_whitespace().filter(|word| word.starts_with('/')) {
        let mut above = String::new();
        for part in Path::new(library).parent().unwrap().iter().skip(1) {
            above = format!("{above}{}", part.to_string_lossy());
            files.entry(above.clone()).or_insert(Node::Dir(0o755));
            above.push('/');
        }
        files.insert(library[1..].to_owned(), Node::File(0o755, std::fs::read(library).unwrap()));
    }
    OciImage::busybox_with(&files)
}

/// In place of kube-rbac-proxy, which asks an API server: it only stays.
fn stand_in_for_the_proxy() -> OciImage {
    let mut image = OciImage::busybox();
    let mut config: serde_json::Value = serde_json::from_slice(&image.blobs[&image.config]).unwrap();
    config["config"] = json!({"Env": ["PATH=/bin"], "Entrypoint": ["sh", "-c", "trap exit TERM; sleep 100000 & wait"]});
    assert_eq!(config["architecture"], go_arch());
    image.replace_config(config.to_string().into_bytes());
    image
}

fn metrics() -> Option<String> {
    let mut stream = TcpStream::connect(ADDRESS).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.0 200").then_some(text)
}

#[test]
fn node_exporter_s_real_daemon_set_runs_and_its_metrics_answer() {
    let rig = Rig::new();
    rig.import(&exporter_image(), "quay.io/openshift/node-exporter:latest");
    rig.import(&stand_in_for_the_proxy(), "quay.io/openshift/kube-rbac-proxy:latest");
    let named = |kind: &str, name: &str, data: &str| {
        format!("---\napiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: openshift-monitoring}}\n{data}\n")
    };
    rig.write(
        "config.yaml",
        &[
            named("Secret", "node-exporter-tls", "stringData: {tls.crt: none, tls.key: none}"),
            named("Secret", "node-exporter-kube-rbac-proxy-config", "stringData: {config.yaml: '{}'}"),
            named("ConfigMap", "node-exporter-accelerators-collector-config", "data: {config.yaml: '{}'}"),
            named("ConfigMap", "metrics-client-ca", "data: {client-ca.crt: none}"),
        ]
        .concat(),
    );
    rig.write("node-exporter.yaml", include_str!("node_exporter.yaml"));
    rig.wait("it runs", WAIT, |r| {
        let set = r.get("-n openshift-monitoring ds/node-exporter");
        set["status"]["numberReady"] == 1 && r.pods().iter().all(|p| phase(p) == "Running")
    });
    rig.wait("its metrics answer", WAIT, |_| metrics().is_some());
    let text = metrics().unwrap();
    for wanted in ["node_memory_MemTotal_bytes ", "node_cpu_seconds_total{", "node_uname_info{", "node_filesystem_size_bytes{"] {
        assert!(text.contains(wanted), "{wanted} in\n{}", &text[..text.len().min(4000)]);
    }
    rig.close();
}

#[test]
fn a_collector_reads_the_pods_logs_where_collectors_look() {
    let rig = Rig::new();
    rig.write(
        "talker.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: talker}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers: [{name: main, image: busybox, command: [sh, -c, \"echo hello; echo trouble >&2; sleep 1000\"]}]\n",
    );
    let (links, logs) = (rig.dir("containers"), rig.dir("pods"));
    let (links, logs) = (links.display(), logs.display());
    rig.write(
        "collector.yaml",
        &format!(
            r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: collector, namespace: logging}}
spec:
  selector: {{matchLabels: {{app: collector}}}}
  template:
    metadata: {{labels: {{app: collector}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: busybox
        command: [sh, -c, "while ! cat {links}/talker-*_default_main-*.log 2>/dev/null | grep trouble; do sleep 0.2; done; cat {links}/talker-*_default_main-*.log; ls {links}; sleep 1000"]
        volumeMounts:
        - {{name: links, mountPath: {links}, readOnly: true}}
        - {{name: logs, mountPath: {logs}, readOnly: true}}
      volumes:
      - {{name: links, hostPath: {{path: {links}, type: Directory}}}}
      - {{name: logs, hostPath: {{path: {logs}, type: Directory}}}}
"#
        ),
    );
    let collected = |r: &Rig| {
        let pods = r.pods();
        let name = pods.iter().find(|p| p["metadata"]["namespace"] == "logging" && phase(p) == "Running");
        name.map(|p| r.cli(&["logs", "-n", "logging", p["metadata"]["name"].as_str().unwrap()])).unwrap_or_default()
    };
    rig.wait("it has collected both streams", WAIT, |r| {
        let said = collected(r);
        said.contains(" stdout F hello") && said.contains(" stderr F trouble")
    });
    assert!(collected(&rig).contains(&format!("talker-{}_default_main-", Rig::NODE)), "the name tells pod, namespace and container");
    rig.close();
}
