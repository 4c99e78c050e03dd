//! cordon and drain: pods end by their grace and come back after uncordon; edits of the node survive a restart of the agent.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::rig::{Rig, phase};

const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: work}
spec:
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 20
      containers:
      - name: main
        image: busybox
        command: [sh, -c, "trap 'echo bye; exit 1' TERM; echo up; while :; do sleep 0.1; done"]
"#;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: single}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: busybox, command: [sleep, "100000"]}
"#;

const DAEMON: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: main, image: busybox, command: [sleep, "100000"]}
"#;

/// The names of the pods that run.
fn running(rig: &Rig) -> Vec<String> {
    let up = |p: &&Value| phase(p) == "Running" && p["metadata"]["deletionTimestamp"].is_null();
    rig.pods().iter().filter(up).filter_map(|p| p["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

fn begins(names: &[String], start: &str) -> bool {
    names.iter().any(|name| name.starts_with(start))
}

#[test]
fn drained_pods_end_by_their_grace_and_come_back_after_uncordon() {
    let mut rig = Rig::new();
    rig.write("job.yaml", JOB);
    rig.write("pod.yaml", POD);
    rig.write("web.yaml", DAEMON);
    rig.wait("all run", Duration::from_secs(40), |r| running(r).len() == 3);
    let first = running(&rig).into_iter().find(|name| name.starts_with("work-")).unwrap();
    rig.wait("its trap is set", Duration::from_secs(10), |r| r.cli(&["logs", &first]).contains("up"));
    let refused = rig.cli_fails(&["drain", "--ignore-daemonsets"]);
    assert!(refused.contains("cannot delete Pods that declare no controller (use --force to override): default/single-"), "{refused}");
    assert_eq!(running(&rig).len(), 3, "nothing was stopped");
    let said = rig.cli(&["drain", "--ignore-daemonsets", "--force", "--timeout=60s"]);
    assert!(said.contains(&format!("evicting pod default/{first}\n")) && said.contains(&format!("pod/{first} evicted\n")), "{said}");
    assert!(said.ends_with("drained\n"), "{said}");
    let left = running(&rig);
    assert!(left.len() == 1 && begins(&left, "web-"), "{left:?}");
    assert!(rig.cli(&["get", "nodes"]).contains("Ready,SchedulingDisabled"));
    rig.kill_agent();
    rig.start_agent();
    rig.settle();
    let left = running(&rig);
    assert!(left.len() == 1 && begins(&left, "web-"), "still cordoned: {left:?}");
    rig.cli(&["uncordon"]);
    rig.wait("they are back", Duration::from_secs(40), |r| {
        let names = running(r);
        begins(&names, "work-") && begins(&names, "single-") && begins(&names, "web-")
    });
    assert!(!running(&rig).contains(&first), "the Job has made another pod");
    rig.close();
}

#[test]
fn a_taint_by_command_evicts_and_survives_a_restart_until_taken_away() {
    let mut rig = Rig::new();
    rig.write("web.yaml", DAEMON);
    rig.wait("it runs", Duration::from_secs(30), |r| running(r).len() == 1);
    let node = rig.list("nodes")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    rig.cli(&["taint", "nodes", &node, "down=yes:NoExecute"]);
    rig.cli(&["label", "node", &node, "rack=7"]);
    rig.wait("it is evicted", Duration::from_secs(20), |r| r.pods().is_empty());
    rig.kill_agent();
    rig.start_agent();
    rig.settle();
    assert!(rig.pods().is_empty(), "the taint is there yet");
    assert_eq!(rig.list("nodes")[0]["metadata"]["labels"]["rack"], "7");
    rig.cli(&["taint", "nodes", &node, "down-"]);
    rig.wait("it runs again", Duration::from_secs(30), |r| running(r).len() == 1);
    rig.close();
}

/// [`JOB`], deaf to what it is asked.
fn stubborn() -> String {
    JOB.replace("trap 'echo bye; exit 1' TERM", "trap '' TERM").replace("PeriodSeconds: 20", "PeriodSeconds: 8")
}

#[test]
fn a_drain_whose_agent_dies_fails_and_what_it_has_evicted_ends_all_the_same() {
    let mut rig = Rig::new();
    rig.write("job.yaml", &stubborn());
    rig.wait("it runs", Duration::from_secs(40), |r| running(r).len() == 1);
    let first = running(&rig).remove(0);
    rig.wait("its trap is set", Duration::from_secs(10), |r| r.cli(&["logs", &first]).contains("up"));
    let drain = rig.minik8s(&["drain"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    rig.wait("it is evicted", Duration::from_secs(10), |r| r.pods().iter().any(|p| !p["metadata"]["deletionTimestamp"].is_null()));
    rig.kill_agent();
    let said = drain.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.code() == Some(1) && !out.contains("drained") && err.starts_with("error: "), "{out}{err}");
    rig.start_agent();
    rig.wait("its grace ends it", Duration::from_secs(40), |r| r.pods().iter().all(|p| p["metadata"]["name"] != first.as_str()));
    assert_eq!((rig.tasks(), rig.pods()), (0, Vec::new()), "nothing follows it on the cordoned node");
    assert!(rig.cli(&["drain"]).ends_with("drained\n"));
    rig.cli(&["uncordon"]);
    rig.wait("another one runs", Duration::from_secs(40), |r| running(r).len() == 1);
    rig.close();
}
