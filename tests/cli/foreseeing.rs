//! schedule, plan and simulate, with and without an agent.

use minik8s::api::Kind;
use serde_json::{Value, json};

use super::agent::{Agent, pod};
use super::run;

#[test]
fn fields_are_explained_without_an_agent() {
    let (code, out, err) = run(&["explain", "emptydirvolumesource", "-o", "markdown"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("| field | | share | |\n|---|---|---|---|\n| EmptyDirVolumeSource.medium | "), "{out}");
    let (code, _, err) = run(&["explain", "Deployment"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: no type \"Deployment\" in the table; it has DaemonSetSpec, "), "{err}");
}

#[test]
fn schedules_plans_and_simulations_need_no_agent() {
    let (code, out, err) = run(&["schedule", "0 24 * * *"]);
    let expected = "error: invalid schedule: end of range (24) above maximum (23): 24\n0 24 * * *\n  ^^ hour: 0-23\n";
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", expected));
    let from = ["schedule", "@daily", "--time-zone", "UTC", "--from", "2026-01-01T12:00:00Z", "--count", "1", "-o", "json"];
    assert_eq!(run(&from), (0, "[\n  \"2026-01-02T00:00:00Z\"\n]\n".into(), String::new()));

    let dir = tempfile::tempdir().expect("a directory");
    let (job, node) = (dir.path().join("job.yaml"), dir.path().join("node.yaml"));
    let pod = "{restartPolicy: Never, nodeSelector: {disk: ssd}, containers: [{name: c, image: busybox}]}";
    std::fs::write(&job, format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j}}\nspec: {{template: {{spec: {pod}}}}}\n"))
        .expect("a file");
    std::fs::write(
        &node,
        "apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {disk: ssd}}\nstatus: {allocatable: {cpu: 2, memory: 1Gi}}\n",
    )
    .expect("a file");
    let (job, node) = (job.to_string_lossy().into_owned(), node.to_string_lossy().into_owned());
    let (code, out, err) = run(&["plan", &job, "--offline", "-o", "json"]);
    let plan: Value = serde_json::from_str(&out).expect("JSON");
    let reason = "node(s) didn't match Pod's node affinity/selector (disk=ssd: the node has no such label)";
    let wanted = json!([{"kind": "Job", "namespace": "default", "name": "j", "shouldRun": false, "shouldContinueRunning": false, "reasons": [reason]}]);
    assert_eq!((code, plan, err.as_str()), (0, wanted, ""));
    let table = "NAMESPACE   KIND   NAME   SHOULD RUN   SHOULD CONTINUE   REASONS\ndefault     Job    j      true         true              <none>\n";
    assert_eq!(run(&["plan", &job, "--node", &node]), (0, table.into(), String::new()));

    let (code, out, err) = run(&["simulate", &job, "--node", &node, "--exit-codes", "1,0", "--run-time", "10s", "-o", "json"]);
    let played: Value = serde_json::from_str(&out).expect("JSON");
    let at = |reason: &str| played["timeline"].as_array().and_then(|rows| rows.iter().find(|r| r["reason"] == reason).cloned());
    assert_eq!((code, err.as_str(), played["ending"].as_str()), (0, "", Some("Quiet")));
    assert_eq!(at("Complete=True").expect("it completes")["elapsed"], "33s");
}

#[test]
fn a_plan_against_the_agent_says_what_would_change() {
    let agent = Agent::start();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("job.yaml");
    let spec = "{template: {spec: {restartPolicy: Never, containers: [{name: c, image: busybox}]}}}";
    std::fs::write(&file, format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: pi}}\nspec: {spec}\n")).expect("a file");
    let file = file.to_string_lossy().into_owned();
    let early = agent.run(&["plan", &file]);
    assert_eq!((early.0, early.2.as_str()), (1, "Error from server (Forbidden): the agent has no Node yet; try again\n"));
    agent.put(Kind::Node, json!({"metadata": {"name": "n1"}}));
    let table = agent.run(&["plan", &file]).1;
    let expected = "\
NAMESPACE   KIND   NAME   SHOULD RUN   SHOULD CONTINUE   CHANGE    STARTED   STOPPED   REASONS   WHY
default     Job    pi     true         true              created   pi-*      <none>    <none>    there is no such object
";
    assert_eq!(table, expected);
    let change = |agent: &Agent| serde_json::from_str::<Value>(&agent.run(&["plan", &file, "-o", "json"]).1).expect("JSON")[0].clone();
    assert_eq!(change(&agent)["change"], "created");
    let old = json!({"metadata": {"name": "pi", "namespace": "default", "uid": "u", "annotations": {"minik8s.io/source": "a.yaml#0"}},
        "spec": {"completions": 7, "template": {"spec": {"containers": []}}}});
    agent.put(Kind::Job, old);
    let mut running = pod("pi-x");
    running["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "pi", "uid": "u", "controller": true}]);
    agent.put(Kind::Pod, running);
    let row = change(&agent);
    assert_eq!((&row["change"], &row["stopped"], &row["started"]), (&json!("replaced"), &json!(["pi-x"]), &json!(["pi-*"])));
    assert_eq!(row["why"], json!(["spec.completions: 7 → 1: cannot change in place", "spec.template: cannot change in place"]));
    let bad = agent.write("bad.yaml", "kind: [\n");
    let (code, out, err) = agent.run(&["plan", &bad]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.ends_with("error: the manifests have errors\n"), "{err}");
}
