//! What a pod's spec asks for is what its containers get.

use std::time::Duration;

use crate::rig::{Rig, condition, phase, pod_name};

const WAIT: Duration = Duration::from_secs(40);

fn terminated(rig: &Rig, pod: &str) -> serde_json::Value {
    rig.get(&format!("pod/{}", pod_name(pod)))["status"]["containerStatuses"][0]["state"]["terminated"].clone()
}

#[test]
fn init_containers_run_in_order_and_volumes_are_shared() {
    let rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {tier: edge}}
spec:
  restartPolicy: Never
  hostname: box
  initContainers:
  - {name: one, image: busybox, command: [sh, -c, "echo one >> /data/log"], volumeMounts: [{name: data, mountPath: /data}]}
  - {name: two, image: busybox, command: [sh, -c, "echo two >> /data/log"], volumeMounts: [{name: data, mountPath: /data}]}
  containers:
  - name: main
    image: busybox
    workingDir: /data
    env:
    - {name: TIER, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: BOTH, value: "$(TIER)-$(NODE)-$$(TIER)-$(NONE)"}
    - {name: MEM, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    resources: {limits: {memory: 64Mi, cpu: 500m}}
    command: [sh, -c, "cat log; echo $BOTH $MEM; hostname; test -n \"$IP\" && grep -q \"$IP\" /etc/hosts && echo hosts; pwd; echo told > /dev/termination-log"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
"#,
    );
    rig.wait("it succeeded", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Succeeded"));
    let lines: Vec<String> = rig.cli(&["logs", &pod_name("p")]).lines().map(str::to_owned).collect();
    assert_eq!(lines, ["one", "two", &format!("edge-{}-$(TIER)-$(NONE) 64", Rig::NODE), "box", "hosts", "/data"]);
    let ended = terminated(&rig, "p");
    assert_eq!((ended["reason"].as_str(), ended["message"].as_str()), (Some("Completed"), Some("told\n")), "{ended}");
    assert_eq!(rig.pods()[0]["status"]["qosClass"], "Burstable", "the init containers ask for nothing");
    rig.close();
}

#[test]
fn security_contexts_are_kept() {
    let rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: busybox
    securityContext:
      runAsUser: 1234
      runAsGroup: 4321
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL]}
      seccompProfile: {type: RuntimeDefault}
    command: [sh, -c, "id -u; id -g; touch /x 2>&1; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status"]
"#,
    );
    rig.wait("it ended", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Succeeded"));
    let log = rig.cli(&["logs", &pod_name("p")]);
    for expected in ["1234\n4321\n", "Read-only file system", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(log.contains(expected), "{expected:?} not in {log}");
    }
    rig.close();
}

#[test]
fn a_container_over_its_memory_limit_is_oom_killed_by_the_cgroups_word() {
    let rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: busybox
    resources: {limits: {memory: 16Mi}}
    command: [sh, -c, "x=a; while true; do x=$x$x$x$x; done"]
"#,
    );
    rig.wait("it failed", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Failed"));
    let ended = terminated(&rig, "p");
    assert_eq!((ended["reason"].as_str(), ended["exitCode"].as_i64()), (Some("OOMKilled"), Some(137)), "{ended}");
    rig.close();
}

#[test]
fn a_crashing_container_backs_off_as_kubernetes_does_and_the_agent_remembers() {
    let mut rig = Rig::new();
    rig.write("p.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: main, image: busybox, command: [sh, -c, exit 3]}\n");
    let waiting = |r: &Rig| r.pods().first().map(|p| p["status"]["containerStatuses"][0].clone()).unwrap_or_default();
    rig.wait("it backs off 10 s", WAIT, |r| {
        waiting(r)["state"]["waiting"]["reason"] == "CrashLoopBackOff" && waiting(r)["restartCount"] == 1
    });
    let message = waiting(&rig)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("back-off 10s restarting failed container=main pod="), "{message}");
    assert_eq!(phase(&rig.pods()[0]), "Running");
    rig.wait("then 20 s", WAIT, |r| {
        waiting(r)["restartCount"] == 2 && waiting(r)["state"]["waiting"]["message"].as_str().is_some_and(|m| m.starts_with("back-off 20s"))
    });
    rig.kill_agent();
    rig.start_agent();
    rig.wait("the table says so after a restart", WAIT, |r| r.cli(&["get", "pods"]).contains("CrashLoopBackOff"));
    assert!(waiting(&rig)["state"]["waiting"]["message"].as_str().unwrap().starts_with("back-off 20s"), "{}", waiting(&rig));
    rig.close();
}

#[test]
fn a_pod_is_stopped_with_its_signal_and_its_grace() {
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
  containers:
  - name: polite
    image: busybox
    command: [sh, -c, "trap 'echo asked >> /out/log; exit 0' TERM; while true; do sleep 0.1; done"]
    volumeMounts: [{{name: out, mountPath: /out}}]
  volumes: [{{name: out, hostPath: {{path: {}, type: Directory}}}}]
"#,
            out.display()
        ),
    );
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    let start = std::time::Instant::now();
    rig.remove("p.yaml");
    rig.wait("it is gone", WAIT, |r| r.pods().is_empty());
    assert!(start.elapsed() < Duration::from_secs(15), "a polite container needs no whole grace");
    assert_eq!(std::fs::read_to_string(out.join("log")).unwrap(), "asked\n");
    rig.close();
}

#[test]
fn a_pod_without_containers_and_an_image_that_cannot_be_had_say_so() {
    let rig = Rig::new();
    rig.write("none.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: none}\nspec:\n  nodeName: x\n");
    rig.write("p.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: main, image: \"127.0.0.1:1/nothing:1\", imagePullPolicy: IfNotPresent}\n  - {name: never, image: \"127.0.0.1:1/never:1\", imagePullPolicy: Never}\n");
    let reason = |r: &Rig, i: usize| {
        r.pods().first().map(|p| p["status"]["containerStatuses"][i]["state"]["waiting"]["reason"].clone()).unwrap_or_default()
    };
    rig.wait("the pull backs off", WAIT, |r| reason(r, 0) == "ImagePullBackOff");
    rig.wait("never is never", WAIT, |r| reason(r, 1) == "ErrImageNeverPull");
    assert!(rig.log().contains("spec.containers: Required value"), "{}", rig.log());
    assert_eq!(condition(&rig.pods()[0], "Ready"), "False");
    rig.close();
}

#[test]
fn a_pod_that_asks_for_more_than_the_node_has_waits_with_the_reason() {
    let rig = Rig::new();
    rig.write("p.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: main, image: busybox, command: [sleep, \"9\"], resources: {requests: {cpu: \"10000\"}}}\n");
    rig.wait("it is Unschedulable", WAIT, |r| {
        r.pods().iter().any(|p| p.to_string().contains("0/1 nodes are available: 1 Insufficient cpu."))
    });
    assert_eq!(phase(&rig.pods()[0]), "Pending");
    assert!(rig.cli(&["describe", "pod", &pod_name("p")]).contains("Insufficient cpu"));
    rig.close();
}

#[test]
fn host_namespaces_and_privileges_are_given_when_asked_for() {
    let rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  hostNetwork: true
  hostPID: true
  hostIPC: true
  containers:
  - name: main
    image: busybox
    securityContext: {privileged: true}
    command: [sh, -c, "for n in net pid ipc; do readlink /proc/self/ns/$n; done; test -b /dev/vda && echo devices; test -w /sys/kernel && echo sys"]
"#,
    );
    rig.wait("it ended", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Succeeded"));
    let log = rig.cli(&["logs", &pod_name("p")]);
    for ns in ["net", "pid", "ipc"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{ns}")).unwrap();
        assert!(log.contains(own.to_str().unwrap()), "{ns}: {log}");
    }
    assert!(log.contains("sys"), "{log}");
    rig.close();
}
