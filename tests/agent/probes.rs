//! Probes and lifecycle hooks of real containers.

use std::time::Duration;

use serde_json::Value;

use crate::rig::{Rig, condition, phase};

const WAIT: Duration = Duration::from_secs(60);

fn container(rig: &Rig) -> Value {
    rig.pods().first().map(|p| p["status"]["containerStatuses"][0].clone()).unwrap_or_default()
}

fn ready(rig: &Rig) -> bool {
    rig.pods().first().is_some_and(|p| condition(p, "Ready") == "True")
}

#[test]
fn a_command_makes_ready_and_a_failed_liveness_probe_restarts() {
    let rig = Rig::new();
    let shared = rig.dir("shared");
    rig.write(
        "p.yaml",
        &format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "trap 'exit 9' TERM; while true; do sleep 0.1; done"]
    env: [{{name: FILE, value: /shared/ready}}]
    readinessProbe: {{exec: {{command: [cat, "$(FILE)"]}}, periodSeconds: 1, failureThreshold: 1}}
    livenessProbe: {{exec: {{command: [sh, -c, "! test -e /shared/dead"]}}, periodSeconds: 1, failureThreshold: 1}}
    volumeMounts: [{{name: shared, mountPath: /shared}}]
  volumes: [{{name: shared, hostPath: {{path: {}, type: Directory}}}}]
"#,
            shared.display()
        ),
    );
    let unready = "Readiness probe failed: cat: can't open '/shared/ready': No such file or directory";
    rig.wait("its failure is an event", WAIT, |r| r.cli(&["get", "events"]).contains(unready));
    assert!(phase(&rig.pods()[0]) == "Running" && !ready(&rig), "{}", container(&rig));
    std::fs::write(shared.join("ready"), "").unwrap();
    rig.wait("it is ready", WAIT, ready);
    std::fs::write(shared.join("dead"), "").unwrap();
    rig.wait("it was ended", WAIT, |r| container(r)["lastState"]["terminated"]["exitCode"] == 9);
    std::fs::remove_file(shared.join("dead")).unwrap();
    rig.wait("it is ready again", WAIT, |r| ready(r) && container(r)["restartCount"].as_u64() >= Some(1));
    assert!(rig.cli(&["get", "events"]).contains("Container main failed liveness probe, will be restarted"));
    assert!(std::fs::read_dir(rig.dir("run/exec")).unwrap().count() <= 4, "FIFOs are left");
    rig.close();
}

#[test]
fn an_http_probe_asks_the_pods_address_and_a_restart_of_the_agent_leaves_it_ready() {
    let mut rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "mkdir /www; echo yes > /www/healthz; sleep 1; exec httpd -f -p 8080 -h /www"]
    ports: [{name: web, containerPort: 8080}]
    startupProbe: {tcpSocket: {port: web}, periodSeconds: 1, failureThreshold: 30}
    readinessProbe: {httpGet: {path: /healthz, port: web}, periodSeconds: 1}
"#,
    );
    rig.wait("it is ready", WAIT, ready);
    let since = rig.pods()[0]["status"]["conditions"].clone();
    rig.kill_agent();
    rig.start_agent();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(rig.pods()[0]["status"]["conditions"], since);
    assert!(rig.cli(&["get", "events"]).contains("Startup probe failed: dial tcp 10."), "{}", rig.cli(&["get", "events"]));
    rig.close();
}

#[test]
fn hooks_run_after_the_start_and_before_the_signal() {
    let rig = Rig::new();
    let out = rig.dir("out");
    rig.write(
        "p.yaml",
        &format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  terminationGracePeriodSeconds: 20
  os: {{name: linux}}
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "trap 'echo signal >> /out/log; exit 0' USR1; while true; do sleep 0.1; done"]
    lifecycle:
      postStart: {{exec: {{command: [sh, -c, "echo started >> /out/log"]}}}}
      preStop: {{exec: {{command: [sh, -c, "sleep 1; echo hook >> /out/log"]}}}}
      stopSignal: SIGUSR1
    volumeMounts: [{{name: out, mountPath: /out}}]
  volumes: [{{name: out, hostPath: {{path: {}, type: Directory}}}}]
"#,
            out.display()
        ),
    );
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    assert_eq!(std::fs::read_to_string(out.join("log")).unwrap(), "started\n");
    rig.remove("p.yaml");
    rig.wait("it is gone", WAIT, |r| r.pods().is_empty());
    assert_eq!(std::fs::read_to_string(out.join("log")).unwrap(), "started\nhook\nsignal\n");
    rig.close();
}
