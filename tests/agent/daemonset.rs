//! DaemonSets: one pod here, rolled when changed, evicted by taints, gone with the file.

use std::time::Duration;

use crate::rig::{Rig, phase};

const DAEMON: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web, namespace: kube-system}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox
        command: [sh, -c, "echo version one; exec sleep 100000"]
"#;

fn running(rig: &Rig) -> Vec<serde_json::Value> {
    rig.pods().into_iter().filter(|p| phase(p) == "Running" && p["metadata"]["deletionTimestamp"].is_null()).collect()
}

#[test]
fn it_runs_once_rolls_on_a_change_and_goes_with_its_file() {
    let rig = Rig::new();
    rig.write("sub/dir/web.yaml", DAEMON);
    rig.wait("it runs", Duration::from_secs(30), |r| running(r).len() == 1);
    let first = running(&rig)[0]["metadata"]["uid"].clone();
    let table = rig.cli(&["get", "ds", "-A"]);
    assert!(table.contains("DESIRED") && table.contains("web"), "{table}");
    rig.write("sub/dir/web.yaml", &DAEMON.replace("version one", "version two"));
    rig.wait("the changed one runs", Duration::from_secs(30), |r| {
        let pods = r.pods();
        pods.len() == 1 && phase(&pods[0]) == "Running" && pods[0]["metadata"]["uid"] != first
    });
    rig.wait("its log tells", Duration::from_secs(10), |r| {
        let pods = running(r);
        pods.len() == 1 && r.cli(&["logs", "-n", "kube-system", pods[0]["metadata"]["name"].as_str().unwrap()]).trim() == "version two"
    });
    rig.wait("its status is right", Duration::from_secs(10), |r| {
        let status = r.get("-n=kube-system ds/web")["status"].clone();
        ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"]
            .iter()
            .all(|f| status[f] == 1)
    });
    rig.remove("sub/dir/web.yaml");
    rig.wait("everything is gone", Duration::from_secs(30), |r| r.pods().is_empty() && r.list("daemonsets").is_empty());
    assert_eq!(rig.tasks(), 0);
    rig.close();
}

#[test]
fn a_killed_container_is_started_again() {
    let rig = Rig::new();
    rig.write("web.yaml", DAEMON);
    rig.wait("it runs", Duration::from_secs(30), |r| running(r).len() == 1);
    rig.signal_container("main", 9);
    rig.wait("it was restarted", Duration::from_secs(30), |r| {
        let pods = running(r);
        pods.len() == 1
            && pods[0]["status"]["containerStatuses"][0]["restartCount"] == 1
            && !pods[0]["status"]["containerStatuses"][0]["state"]["running"].is_null()
    });
    let terminated = running(&rig)[0]["status"]["containerStatuses"][0]["lastState"]["terminated"].clone();
    assert_eq!((terminated["exitCode"].as_i64(), terminated["reason"].as_str()), (Some(137), Some("Error")), "{terminated}");
    rig.close();
}

#[test]
fn taints_and_affinity_of_the_node_manifest_decide_while_running() {
    let rig = Rig::new();
    let node = |spec: &str, labels: &str| {
        format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {}, labels: {{{labels}}}}}\nspec: {{{spec}}}\n", Rig::NODE)
    };
    let selective = DAEMON.replace("      containers:", "      nodeSelector: {disk: ssd}\n      containers:");
    rig.write("web.yaml", &selective);
    rig.wait("the reason is shown", Duration::from_secs(20), |r| {
        r.get("-n=kube-system ds/web").to_string().contains("node(s) didn't match Pod's node affinity/selector")
    });
    assert!(rig.pods().is_empty());
    rig.write("node.yaml", &node("", "disk: ssd"));
    rig.wait("it runs once the label is there", Duration::from_secs(30), |r| running(r).len() == 1);
    rig.write("node.yaml", &node("taints: [{key: dedicated, value: db, effect: NoSchedule}]", "disk: ssd"));
    rig.wait("the taint is on the node", Duration::from_secs(20), |r| {
        r.get(&format!("node/{}", Rig::NODE))["spec"]["taints"][0]["key"] == "dedicated"
    });
    rig.settle();
    assert_eq!(running(&rig).len(), 1, "NoSchedule does not stop what runs");
    rig.write("node.yaml", &node("taints: [{key: dedicated, value: db, effect: NoExecute}]", "disk: ssd"));
    rig.wait("NoExecute evicts", Duration::from_secs(30), |r| r.pods().is_empty());
    rig.write("node.yaml", &node("", "disk: ssd"));
    rig.wait("it runs again", Duration::from_secs(30), |r| running(r).len() == 1);
    rig.close();
}

#[test]
fn toleration_seconds_run_out_for_pods_bound_before_and_after_the_taint() {
    let rig = Rig::new();
    let node = |taints: &str| format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {}}}\nspec: {{taints: [{taints}]}}\n", Rig::NODE);
    let job = |name: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      terminationGracePeriodSeconds: 0\n      tolerations: [{{key: k, operator: Exists, effect: NoExecute, tolerationSeconds: 3}}]\n      containers:\n      - {{name: main, image: busybox, command: [sleep, \"1000\"]}}\n"
        )
    };
    let evicted =
        |r: &Rig, name: &str| r.cli(&["get", "events"]).lines().any(|l| l.contains("Killing") && l.contains(&format!("pod/{name}-")));
    rig.write("before.yaml", &job("before"));
    rig.wait("it runs", Duration::from_secs(30), |r| running(r).len() == 1);
    rig.write("node.yaml", &node("{key: k, effect: NoExecute}"));
    rig.wait("the pod that was there is evicted", Duration::from_secs(15), |r| evicted(r, "before"));
    rig.remove("before.yaml");
    rig.write("after.yaml", &job("after"));
    rig.wait("the pod that came later is evicted", Duration::from_secs(15), |r| evicted(r, "after"));
    rig.close();
}
