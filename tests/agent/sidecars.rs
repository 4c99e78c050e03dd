//! Sidecars beside what they serve, and containers with restart rules of their own.

use std::time::Duration;

use crate::rig::{Rig, condition, phase};

const WAIT: Duration = Duration::from_secs(60);

#[test]
fn a_sidecar_is_there_before_and_ends_after_the_main_container_and_the_job_completes() {
    let rig = Rig::new();
    rig.write(
        "job.yaml",
        r#"
apiVersion: batch/v1
kind: Job
metadata: {name: j}
spec:
  template:
    spec:
      restartPolicy: Never
      initContainers:
      - name: side
        image: busybox
        restartPolicy: Always
        command: [sh, -c, "sleep 1; touch /data/up; trap 'test -e /data/done && echo after; exit 0' TERM; while true; do sleep 0.1; done"]
        startupProbe: {exec: {command: [test, -e, /data/up]}, periodSeconds: 1, failureThreshold: 60}
        volumeMounts: [{name: data, mountPath: /data}]
      containers:
      - name: main
        image: busybox
        command: [sh, -c, "test -e /data/up && echo before; touch /data/done"]
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, emptyDir: {}}]
"#,
    );
    rig.wait("the Job is complete", WAIT, |r| r.list("jobs").iter().any(|j| condition(j, "Complete") == "True"));
    let pod = rig.pods()[0].clone();
    let name = pod["metadata"]["name"].as_str().unwrap();
    assert_eq!(phase(&pod), "Succeeded");
    assert_eq!(rig.cli(&["logs", name, "-c", "main"]), "before\n");
    assert_eq!(rig.cli(&["logs", name, "-c", "side"]), "after\n");
    let side = &pod["status"]["initContainerStatuses"][0];
    assert_eq!((side["restartCount"].as_i64(), side["state"]["terminated"]["exitCode"].as_i64()), (Some(0), Some(0)), "{side}");
    // Each container has its own events, as SUBOBJECT says.
    let wide = rig.cli(&["get", "events", "-o", "wide"]);
    let told = |reason: &str, part: &str| wide.lines().any(|line| line.contains(&format!(" {reason} ")) && line.contains(part));
    for part in ["spec.initContainers{side}", "spec.containers{main}"] {
        assert!(["Pulled", "Created", "Started"].iter().all(|reason| told(reason, part)), "{part}: {wide}");
    }
    assert!(told("Killing", "spec.initContainers{side}"), "{wide}");
    rig.close();
}

#[test]
fn a_rule_by_exit_code_restarts_a_container_of_a_pod_that_never_restarts() {
    let rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  hostname: box
  subdomain: sub
  setHostnameAsFQDN: true
  hostAliases: [{ip: 10.1.2.3, hostnames: [db]}]
  containers:
  - name: main
    image: busybox
    restartPolicy: Never
    restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]
    command: [sh, -c, "if test -e /data/again; then hostname; cat /etc/hostname; grep db /etc/hosts; exit 0; fi; touch /data/again; exit 42"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
"#,
    );
    rig.wait("it succeeded", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Succeeded"));
    let pod = rig.pods()[0].clone();
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 1);
    let log = rig.cli(&["logs", pod["metadata"]["name"].as_str().unwrap()]);
    let name = "box.sub.default.svc.cluster.local";
    assert_eq!(log, format!("{name}\n{name}\n10.1.2.3\tdb\n"));
    rig.close();
}

/// The processes of ours that keep a PID namespace below this rig's directories.
fn pod_inits(rig: &Rig) -> Vec<i32> {
    let root = rig.dir("run").display().to_string();
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|p| p.file_name().to_str()?.parse().ok());
    let is_one = |pid: &i32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("minik8s-pod-init") && line.contains(&root)
    };
    pids.filter(is_one).collect()
}

#[test]
fn containers_that_share_their_processes_see_each_other_and_nothing_of_the_host() {
    let mut rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 1
  containers:
  - {name: worker, image: busybox, command: [sleep, "4711"]}
  - name: watcher
    image: busybox
    command: [sh, -c, "until cat /proc/[0-9]*/comm 2>/dev/null | grep -qx sleep; do true; done; sh -c 'sleep 0.1 &'; cat /proc/1/comm; ls /proc/1/root/ 2>&1; sleep 1; cat /proc/[0-9]*/stat | grep -c ' Z '; sleep 1000"]
"#,
    );
    let log = |r: &Rig| r.pods().first().map(|p| r.cli(&["logs", p["metadata"]["name"].as_str().unwrap(), "-c", "watcher"]));
    rig.wait("both run", WAIT, |r| r.pods().first().is_some_and(|p| condition(p, "Ready") == "True"));
    rig.wait("it has looked around", WAIT, |r| log(r).is_some_and(|l| l.lines().count() >= 3));
    assert_eq!(log(&rig).unwrap(), "minik8s-init\nls: /proc/1/root/: Permission denied\n0\n", "pid 1 is ours, closed, and reaps");
    rig.kill_agent();
    rig.start_agent();
    let inits = pod_inits(&rig);
    assert_eq!(inits.len(), 1, "it outlives the agent");
    // Whoever kills it kills the containers: they come back in a new namespace.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(inits[0]), nix::sys::signal::Signal::SIGKILL).unwrap();
    rig.wait("both were restarted", WAIT, |r| {
        let status = r.pods()[0]["status"]["containerStatuses"].clone();
        (0..2).all(|i| status[i]["restartCount"].as_i64() >= Some(1) && status[i]["ready"] == true)
    });
    assert_eq!(pod_inits(&rig).len(), 1);
    rig.remove("p.yaml");
    rig.wait("it is gone with its pod", WAIT, |r| r.pods().is_empty() && pod_inits(r).is_empty());
    rig.close();
}
