//! Job policies and rollouts on real containers: exit codes decide, an index fails alone, an eviction is no failure, a restart edits the file.

use std::time::Duration;

use serde_json::Value;

use crate::rig::{Rig, condition, phase};

const BOUND: Duration = Duration::from_secs(60);

fn indexed(name: &str, spec: &str, command: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  completionMode: Indexed\n{spec}\n  template:\n    spec:\n      \
         restartPolicy: Never\n      terminationGracePeriodSeconds: 1\n      containers:\n      - name: main\n        image: busybox\n        \
         command: [sh, -c, {command:?}]\n"
    )
}

/// `Type Reason: message` of the conditions.
fn conditions(job: &Value) -> Vec<String> {
    let all = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |c: &Value, field: &str| c[field].as_str().unwrap_or_default().to_owned();
    all.iter().map(|c| format!("{} {}: {}", text(c, "type"), text(c, "reason"), text(c, "message"))).collect()
}

#[test]
fn an_exit_code_fails_the_job_and_its_other_pods_end_with_it() {
    let rig = Rig::new();
    let policy = "  completions: 2\n  parallelism: 2\n  podFailurePolicy:\n    rules:\n    - action: FailJob\n      onExitCodes: {operator: In, values: [42]}";
    rig.write("j.yaml", &indexed("strict", policy, "test $JOB_COMPLETION_INDEX = 0 && exec sleep 1000; sleep 1; exit 42"));
    rig.wait("the Job is Failed", BOUND, |r| condition(&r.get("job/strict"), "Failed") == "True");
    let job = rig.get("job/strict");
    let pods = rig.pods();
    let name = pods.iter().filter_map(|p| p["metadata"]["name"].as_str()).find(|n| n.starts_with("strict-1-")).unwrap();
    let why = format!("PodFailurePolicy: Container main for pod default/{name} failed with exit code 42 matching FailJob rule at index 0");
    assert_eq!(conditions(&job), [format!("FailureTarget {why}"), format!("Failed {why}")]);
    assert_eq!((job["status"]["failed"].as_i64(), rig.tasks()), (Some(2), 0));
    rig.close();
}

#[test]
fn an_index_fails_alone_and_the_success_of_others_can_be_enough() {
    let rig = Rig::new();
    let limits = "  completions: 3\n  parallelism: 3\n  backoffLimitPerIndex: 0";
    rig.write("a.yaml", &indexed("alone", limits, "exit $JOB_COMPLETION_INDEX"));
    let policy = "  completions: 3\n  parallelism: 3\n  successPolicy:\n    rules:\n    - succeededIndexes: \"1\"";
    rig.write("b.yaml", &indexed("enough", policy, "test $JOB_COMPLETION_INDEX = 1 || exec sleep 1000"));
    rig.wait("both are over", BOUND, |r| {
        condition(&r.get("job/alone"), "Failed") == "True" && condition(&r.get("job/enough"), "Complete") == "True"
    });
    let (alone, enough) = (rig.get("job/alone"), rig.get("job/enough"));
    assert_eq!(conditions(&alone)[1], "Failed FailedIndexes: Job has failed indexes");
    assert_eq!((alone["status"]["completedIndexes"].as_str(), alone["status"]["failedIndexes"].as_str()), (Some("0"), Some("1,2")));
    let why = "SuccessPolicy: Matched rules at index 0";
    assert_eq!(conditions(&enough), [format!("SuccessCriteriaMet {why}"), format!("Complete {why}")]);
    assert_eq!((enough["status"]["succeeded"].as_i64(), enough["status"]["failed"].as_i64(), rig.tasks()), (Some(1), None, 0));
    rig.close();
}

#[test]
fn an_evicted_pod_is_ignored_where_the_policy_says_so() {
    let rig = Rig::new();
    let policy = "  completions: 1\n  backoffLimit: 0\n  podFailurePolicy:\n    rules:\n    - action: Ignore\n      onPodConditions: [{type: DisruptionTarget}]";
    rig.write("j.yaml", &indexed("moved", policy, "exec sleep 1000"));
    rig.wait("it runs", BOUND, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    let first = rig.pods()[0]["metadata"]["uid"].clone();
    let node = rig.list("nodes")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let taint = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {node}}}\nspec: {{taints: [{{key: k, effect: NoExecute}}]}}\n");
    rig.write("node.yaml", &taint);
    rig.wait("it is evicted", BOUND, |r| r.pods().is_empty());
    rig.remove("node.yaml");
    rig.wait("another runs", BOUND, |r| r.pods().iter().any(|p| phase(p) == "Running" && p["metadata"]["uid"] != first));
    let job = rig.get("job/moved");
    assert_eq!((conditions(&job), job["status"]["failed"].as_i64()), (vec![], None), "{job}");
    rig.close();
}

#[test]
fn a_rollout_is_restarted_followed_and_undone() {
    let rig = Rig::new();
    let daemon = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {a: web}}\n  template:\n    \
        metadata: {labels: {a: web}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n      - name: main # the one\n        \
        image: busybox\n        command: [sh, -c, 'echo one; exec sleep 100000']\n";
    rig.write("web.yaml", daemon);
    rig.wait("it runs", BOUND, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    let uid = |r: &Rig| r.pods().iter().find(|p| phase(p) == "Running").map(|p| p["metadata"]["uid"].clone());
    let first = uid(&rig);
    assert_eq!(rig.cli(&["rollout", "restart", "ds/web"]), "daemonset.apps/web restarted\n");
    let followed = rig.cli(&["rollout", "status", "ds/web", "--timeout=60s"]);
    assert!(followed.ends_with("daemon set \"web\" successfully rolled out\n") && followed.contains("Waiting"), "{followed}");
    let second = uid(&rig);
    assert!(second.is_some() && second != first);
    assert_eq!(rig.cli(&["rollout", "undo", "ds/web"]), "daemonset.apps/web rolled back\n");
    rig.cli(&["rollout", "status", "ds/web", "--timeout=60s"]);
    assert!(uid(&rig) != second);
    assert_eq!(
        rig.cli(&["rollout", "history", "ds/web"]),
        "daemonset.apps/web \nREVISION  CHANGE-CAUSE\n2         <none>\n3         <none>\n\n"
    );
    let text = std::fs::read_to_string(rig.manifests().join("web.yaml")).unwrap();
    let head = daemon.split("    metadata:").next().unwrap();
    assert!(!text.contains("restartedAt") && text.starts_with(head) && text.contains("echo one"), "{text}");
    rig.close();
}
