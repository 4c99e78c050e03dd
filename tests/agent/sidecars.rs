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
    command: [sh, -c, "if test -e /data/again; then hostname; grep db /etc/hosts; exit 0; fi; touch /data/again; exit 42"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
"#,
    );
    rig.wait("it succeeded", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Succeeded"));
    let pod = rig.pods()[0].clone();
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 1);
    let log = rig.cli(&["logs", pod["metadata"]["name"].as_str().unwrap()]);
    assert_eq!(log, "box.sub.default.svc.cluster.local\n10.1.2.3\tdb\n");
    rig.close();
}
