//! get, logs and watches against an agent.

use minik8s::api::Kind;
use serde_json::{Value, json};

use super::agent::{Agent, pod};
use super::minik8s;

#[test]
fn get_prints_tables_lists_and_what_is_missing() {
    let agent = Agent::start();
    assert_eq!(agent.run(&["get", "pods"]), (0, String::new(), "No resources found in default namespace.\n".into()));
    agent.put(Kind::Pod, pod("web"));
    let table = "NAME   READY   STATUS    RESTARTS   AGE\nweb    1/1     Running   0          <unknown>\n";
    assert_eq!(agent.run(&["get", "po"]), (0, table.into(), String::new()));
    let missing = "Error from server (NotFound): pods \"x\" not found\n";
    assert_eq!(agent.run(&["get", "pod", "web", "x"]), (1, table.into(), missing.into()));
    assert_eq!(agent.run(&["get", "job/x"]).2, "Error from server (NotFound): jobs.batch \"x\" not found\n");
    assert_eq!(agent.run(&["get", "all", "-o", "name"]).1, "pod/web\n");
    let yaml = agent.run(&["get", "pod", "web", "-o", "yaml"]).1;
    assert!(
        yaml.starts_with("apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  namespace: default\n  resourceVersion: \"1\"\n"),
        "{yaml}"
    );
    let json: Value = serde_json::from_str(&agent.run(&["get", "pods", "-o", "json"]).1).expect("JSON");
    assert_eq!((json["kind"].as_str(), json["items"].as_array().map(Vec::len)), (Some("List"), Some(1)));
    let described = agent.run(&["describe", "pod/web"]).1;
    assert!(described.starts_with("Name:") && described.ends_with("Events:             <none>\n"), "{described}");
}

#[test]
fn logs_of_a_pod_and_of_a_jobs_pod() {
    let agent = Agent::start();
    let mut value = pod("pi-x");
    value["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "pi", "uid": "uid-pi", "controller": true}]);
    agent.put(Kind::Pod, value);
    agent.put(Kind::Job, json!({"metadata": {"name": "pi", "namespace": "default", "uid": "uid-pi"}, "spec": {"template": {}}}));
    agent.write("pods/default_pi-x_uid-pi-x/c/0.log", "2026-01-01T00:00:00Z stdout F 3.14\n2026-01-01T00:00:01Z stderr F 15\n");
    assert_eq!(agent.run(&["logs", "pi-x"]), (0, "3.14\n15\n".into(), String::new()));
    assert_eq!(agent.run(&["logs", "job/pi", "--tail", "1", "--timestamps"]).1, "2026-01-01T00:00:01Z 15\n");
    assert_eq!(agent.run(&["logs", "pi-x", "--all-containers", "--prefix"]).1, "[pod/pi-x/c] 3.14\n[pod/pi-x/c] 15\n");
    let mut other = pod("other");
    other["metadata"]["labels"] = json!({"app": "x"});
    agent.put(Kind::Pod, other);
    let lines: String = (0..12).map(|n| format!("2026-01-01T00:00:00Z stdout F {n}\n")).collect();
    agent.write("pods/default_other_uid-other/c/0.log", &lines);
    let last_ten: String = (2..12).map(|n| format!("[pod/other/c] {n}\n")).collect();
    assert_eq!(agent.run(&["logs", "-l", "app=x", "--prefix"]), (0, last_ten, String::new()));
    assert_eq!(agent.run(&["logs", "-l", "app=none"]).2, "No resources found in default namespace.\n");
    assert_eq!(agent.run(&["get", "pods", "--field-selector", "metadata.name=other", "-o", "name"]).1, "pod/other\n");
    assert_eq!(agent.run(&["get", "pods", "other", "--show-labels", "--no-headers"]).1.split_whitespace().last(), Some("app=x"));
    let previous = "Error from server (BadRequest): previous terminated container \"c\" in pod \"pi-x\" not found\n";
    assert_eq!(agent.run(&["logs", "-p", "pi-x"]), (1, String::new(), previous.into()));
    assert_eq!(agent.run(&["logs", "nope"]).2, "Error from server (NotFound): pods \"nope\" not found\n");
}

#[test]
fn a_watch_prints_rows_as_they_change() {
    use std::io::{BufRead, BufReader};
    let agent = Agent::start();
    agent.put(Kind::Pod, pod("a"));
    let mut child = minik8s(&["get", "pods", "-w", "--socket", &agent.socket().to_string_lossy()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("NAME   READY   STATUS    RESTARTS   AGE"));
    assert_eq!(lines.next().as_deref(), Some("a      1/1     Running   0          <unknown>"));
    agent.put(Kind::Pod, pod("bb"));
    assert_eq!(lines.next().as_deref(), Some("bb     1/1     Running   0          <unknown>"));
    child.kill().expect("ours");
    child.wait().expect("ours");
}
