//! cordon, drain, taint, label and events against an agent's API.

use minik8s::api::Kind;
use minik8s::store::{Op, Store};
use serde_json::{Value, json};

use super::agent::{Agent, pod};
use super::{minik8s, said};

fn with_node() -> Agent {
    let agent = Agent::start();
    agent.put(Kind::Node, json!({"metadata": {"name": "n1", "labels": {"disk": "ssd"}}, "spec": {}}));
    agent
}

fn node(agent: &Agent) -> Value {
    serde_json::from_str(&agent.run(&["get", "node", "n1", "-o", "json"]).1).expect("JSON")
}

fn ok(text: &str) -> (i32, String, String) {
    (0, text.to_owned(), String::new())
}

fn error(text: &str) -> (i32, String, String) {
    (1, String::new(), text.to_owned())
}

#[test]
fn cordon_and_uncordon_speak_as_kubectl() {
    let agent = with_node();
    assert_eq!(agent.run(&["cordon", "n1", "--dry-run"]), ok("node/n1 cordoned (dry run)\n"));
    assert_eq!(agent.run(&["cordon", "n1"]), ok("node/n1 cordoned\n"));
    assert_eq!(agent.run(&["cordon"]), ok("node/n1 already cordoned\n"));
    assert_eq!(node(&agent)["spec"]["unschedulable"], true);
    assert_eq!(node(&agent)["spec"]["taints"][0]["key"], "node.kubernetes.io/unschedulable");
    let table = agent.run(&["get", "nodes"]).1;
    assert!(table.contains("Unknown,SchedulingDisabled") || table.contains("SchedulingDisabled"), "{table}");
    let events = agent.run(&["events", "--for", "node/n1"]).1;
    assert!(events.contains("NodeNotSchedulable   Node/n1   Node n1 status is now: NodeNotSchedulable"), "{events}");
    assert!(agent.run(&["describe", "node", "n1"]).1.contains("NodeNotSchedulable"));
    assert_eq!(agent.run(&["uncordon", "n1"]), ok("node/n1 uncordoned\n"));
    assert_eq!(agent.run(&["uncordon", "node/n1"]), ok("node/n1 already uncordoned\n"));
    assert_eq!(node(&agent)["spec"], json!({}));
    assert_eq!(agent.run(&["cordon", "other"]), error("Error from server (NotFound): nodes \"other\" not found\n"));
}

#[test]
fn taints_labels_and_annotations_speak_as_kubectl() {
    let agent = with_node();
    assert_eq!(agent.run(&["taint", "nodes", "n1", "gpu=yes:NoSchedule", "b:NoExecute"]), ok("node/n1 tainted\n"));
    let taken = "error: node n1 already has gpu taint(s) with same effect(s) and --overwrite is false\n";
    assert_eq!(agent.run(&["taint", "nodes", "n1", "gpu=no:NoSchedule"]), error(taken));
    assert_eq!(agent.run(&["taint", "nodes", "n1", "gpu=no:NoSchedule", "--overwrite"]), ok("node/n1 modified\n"));
    assert_eq!(agent.run(&["taint", "nodes", "n1", "gpu-", "b:NoExecute-"]), ok("node/n1 untainted\n"));
    assert_eq!(agent.run(&["taint", "nodes", "n1", "gpu-"]), error("error: taint \"gpu\" not found\n"));
    assert_eq!(agent.run(&["label", "node", "n1", "zone=a"]), ok("node/n1 labeled\n"));
    assert_eq!(agent.run(&["label", "node/n1", "disk=hdd"]), error("error: 'disk' already has a value (ssd), and --overwrite is false\n"));
    assert_eq!(agent.run(&["label", "node", "n1", "disk=hdd", "--overwrite"]), ok("node/n1 labeled\n"));
    assert_eq!(agent.run(&["label", "node", "n1", "disk=hdd"]), ok("node/n1 not labeled\n"));
    assert_eq!(agent.run(&["label", "node", "n1", "disk-"]), ok("node/n1 unlabeled\n"));
    assert_eq!(agent.run(&["label", "node", "n1", "disk-"]), (0, "node/n1 not labeled\n".into(), "label \"disk\" not found.\n".into()));
    assert_eq!(agent.run(&["annotate", "node", "n1", "owner=me and you"]), ok("node/n1 annotated\n"));
    let meta = node(&agent)["metadata"].clone();
    assert_eq!((&meta["labels"], &meta["annotations"]), (&json!({"zone": "a"}), &json!({"owner": "me and you"})));
    let other = "error: --overwrite is false but found the following declared annotation(s): 'owner' already has a value (me and you)\n";
    assert_eq!(agent.run(&["annotate", "node", "n1", "owner=x"]), error(other));
    // The agent checks too, whoever asks.
    let large = format!("large={}", "x".repeat(100_000));
    for _ in 0..2 {
        assert_eq!(agent.run(&["annotate", "node", "n1", &large]).0, 0);
    }
    let too_large = [large.replace("large", "a"), large.replace("large", "b")];
    let (code, _, err) = agent.run(&["annotate", "node", "n1", &too_large[0], &too_large[1]]);
    assert!(code == 1 && err.starts_with("error: Node \"n1\" is invalid: metadata.annotations: Too long: "), "{err}");
}

#[test]
fn labels_taints_and_annotations_can_be_tried_and_listed_first() {
    let agent = with_node();
    let before = node(&agent);
    assert_eq!(agent.run(&["label", "node", "n1", "zone=a", "--dry-run=server"]), ok("node/n1 labeled (server dry run)\n"));
    assert_eq!(agent.run(&["annotate", "node", "n1", "a=b", "--dry-run=client"]), ok("node/n1 annotated (dry run)\n"));
    assert_eq!(agent.run(&["taint", "node", "n1", "a:NoSchedule", "--dry-run"]), ok("node/n1 tainted (dry run)\n"));
    assert_eq!(agent.run(&["cordon", "n1", "--dry-run=server"]), ok("node/n1 cordoned (server dry run)\n"));
    assert_eq!(agent.run(&["label", "node", "n1", "--list"]), ok("disk=ssd\n"));
    assert_eq!(agent.run(&["label", "node", "n1", "zone=a", "--list"]), ok("disk=ssd\nzone=a\n"), "what it would have");
    assert_eq!(agent.run(&["annotate", "node", "n1", "--list"]), ok(""));
    let taken = "error: 'disk' already has a value (ssd), and --overwrite is false\n";
    assert_eq!(agent.run(&["label", "node", "n1", "disk=hdd", "--dry-run=server"]), error(taken));
    assert_eq!(node(&agent), before);
    assert_eq!(agent.run(&["label", "node", "n1", "zone=a", "--dry-run=none"]), ok("node/n1 labeled\n"));
}

#[test]
fn one_command_does_not_set_and_take_away_the_same() {
    let agent = with_node();
    let label = "error: can not both modify and remove a label in the same command\n";
    assert_eq!(agent.run(&["label", "node", "n1", "a=b", "a-"]), error(label));
    let annotation = "error: can not both modify and remove the following annotation(s) in the same command: a\n";
    assert_eq!(agent.run(&["annotate", "node", "n1", "a-", "b=c", "a=b"]), error(annotation));
    assert_eq!(agent.run(&["taint", "node", "n1", "a:NoSchedule"]), ok("node/n1 tainted\n"));
    let missing = "error: taint \"a:NoExecute\" not found\n";
    assert_eq!(agent.run(&["taint", "node", "n1", "a:NoSchedule-", "a:NoExecute-"]), error(missing));
    assert_eq!(node(&agent)["metadata"]["labels"], json!({"disk": "ssd"}));
}

/// A pod on n1 that this controller made.
fn owned(name: &str, kind: &str) -> Value {
    let mut value = pod(name);
    value["spec"]["nodeName"] = json!("n1");
    value["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": kind, "name": "o", "uid": "o", "controller": true}]);
    value
}

#[test]
fn drain_refuses_what_kubectl_refuses_and_gives_up_in_time() {
    let agent = with_node();
    agent.put(Kind::Pod, owned("daemon", "DaemonSet"));
    let message = "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): default/daemon";
    let expected = format!(
        "error: unable to drain node \"n1\" due to error: {message}, continuing command...\nThere are pending nodes to be drained:\n n1\n{message}\n"
    );
    assert_eq!(agent.run(&["drain", "n1"]), (1, "node/n1 cordoned\n".into(), expected));
    let warning = "Warning: ignoring DaemonSet-managed Pods: default/daemon\n";
    let drained = agent.run(&["drain", "n1", "--ignore-daemonsets"]);
    assert_eq!(drained, (0, "node/n1 already cordoned\nnode/n1 drained\n".into(), warning.into()));
    // Nobody stops it here.
    agent.put(Kind::Pod, owned("work", "Job"));
    let (code, out, err) = agent.run(&["drain", "n1", "--ignore-daemonsets", "--timeout=1s", "--grace-period=7"]);
    assert_eq!((code, out.as_str()), (1, "node/n1 already cordoned\nevicting pod default/work\n"));
    let late = "error when waiting for pod \"work\" in namespace \"default\" to terminate: global timeout reached: 1s";
    assert!(err.contains(&format!("There are pending pods in node \"n1\" when an error occurred: {late}\npod/work\n")), "{err}");
    let work: Value = serde_json::from_str(&agent.run(&["get", "pod", "work", "-o", "json"]).1).expect("JSON");
    assert_eq!(work["metadata"]["deletionGracePeriodSeconds"], 7);
    let conditions = work["status"]["conditions"].as_array().cloned().unwrap_or_default();
    assert!(conditions.iter().any(|c| c["type"] == "DisruptionTarget" && c["reason"] == "EvictionByEvictionAPI"), "{work}");
}

#[test]
fn drain_waits_until_the_pods_are_gone() {
    let agent = with_node();
    agent.put(Kind::Pod, owned("work", "Job"));
    let mut child = minik8s(&["drain", "n1"])
        .env("MINIK8S_SOCKET", agent.socket())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    let key = minik8s::api::Key::new(Kind::Pod, "default", "work");
    while agent.store.get(&key).is_some_and(|pod| pod.meta().deletion_timestamp.is_none()) {
        assert_eq!(child.try_wait().expect("ours"), None, "it waits");
        std::thread::yield_now();
    }
    agent.runtime.block_on(agent.store.commit(vec![Op::Delete { key, uid: None }])).expect("a commit");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(said(&output), ok("node/n1 cordoned\nevicting pod default/work\npod/work evicted\nnode/n1 drained\n"));
}

fn event(name: &str, about: &str, kind: &str, last: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "type": kind, "reason": "R", "message": name, "count": 2,
        "involvedObject": {"kind": "Pod", "name": about, "namespace": "default"}, "firstTimestamp": last, "lastTimestamp": last})
}

#[test]
fn events_are_chosen_and_followed() {
    let agent = Agent::start();
    agent.put(Kind::Event, event("e1", "a", "Normal", "2026-01-01T00:00:00Z"));
    agent.put(Kind::Event, event("e2", "b", "Warning", "2026-01-01T00:00:01Z"));
    let messages = |args: &[&str]| {
        let out = agent.run(args).1;
        out.lines().filter_map(|line| line.split_whitespace().last().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(messages(&["events", "--no-headers"]), ["e1", "e2"]);
    assert_eq!(messages(&["events", "--no-headers", "--for", "pod/b"]), ["e2"]);
    assert_eq!(messages(&["events", "--no-headers", "--types", "normal"]), ["e1"]);
    let mut child = minik8s(&["events", "-w", "--types=Warning", "--no-headers"])
        .env("MINIK8S_SOCKET", agent.socket())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("a pipe")));
    let mut next = || lines.next().expect("a line").expect("text");
    assert!(next().ends_with("e2"));
    agent.put(Kind::Event, event("e3", "a", "Normal", "2026-01-01T00:00:02Z"));
    agent.put(Kind::Event, event("e4", "a", "Warning", "2026-01-01T00:00:02Z"));
    assert!(next().ends_with("e4"));
    child.kill().expect("ours");
    child.wait().expect("ours");
}

#[test]
fn doctor_finds_what_is_wrong_and_says_so_in_both_forms() {
    let agent = Agent::start();
    let dir = agent.dir.path().to_string_lossy().into_owned();
    let (manifests, state, run) = (format!("{dir}/manifests"), format!("{dir}/state"), format!("{dir}/run"));
    let open = agent.write("manifests/open.yaml", "");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("permissions");
    let containerd = format!("{dir}/none.sock");
    let args = ["doctor", "--manifests", &manifests, "--state-dir", &state, "--run-dir", &run, "--containerd", &containerd];
    let (code, out, err) = agent.run(&args);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(
        out.contains(&format!("does not answer at {containerd}: No such file")) && out.contains("-> apt-get install containerd"),
        "{out}"
    );
    let (code, out, _) = agent.run(&[&args[..], &["-o", "json"]].concat());
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let status = |name: &str| {
        let checks = report["checks"].as_array().cloned().unwrap_or_default();
        checks.iter().find(|c| c["name"] == name).map(|c| c["status"].clone()).unwrap_or_default()
    };
    assert_eq!(
        (code, status("containerd"), status("manifests"), status("agent")),
        (1, json!("failure"), json!("warning"), json!("ok")),
        "{out}"
    );
}

#[test]
fn doctor_reads_the_services_settings_and_its_state_file() {
    let agent = Agent::start();
    let dir = agent.dir.path().to_string_lossy().into_owned();
    // A namespace of its own, so that no other agent counts as this one.
    let text = format!("MINIK8S_CONTAINERD_NAMESPACE=doctor-{}\nMINIK8S_STATE_DIR={dir}/other\nMINIK8S_MAXPODS=7\n", std::process::id());
    let defaults = agent.write("default", &text);
    let doctor = |defaults: &str| agent.run(&["doctor", "--defaults", defaults, "--manifests", &format!("{dir}/manifests")]).1;
    let out = doctor(&defaults);
    assert!(out.contains(&format!("{defaults}: line 3: MINIK8S_MAXPODS is no setting; did you mean MINIK8S_MAX_PODS?")), "{out}");
    assert!(out.contains(&format!("{dir}/other is made at the first start")), "the file says where: {out}");
    agent.write("other/state.redb", "no database");
    let out = doctor(&defaults);
    let broken = format!("the state file {dir}/other/state.redb cannot be opened");
    assert!(out.contains(&broken) && out.contains("move it away and start again"), "{out}");
    let wrong = agent.write("wrong", "MINIK8S_MAX_PODS=many\n");
    let out = doctor(&wrong);
    assert!(out.contains(&format!("FAILURE   settings          {wrong}: invalid value 'many' for '--max-pods")), "{out}");
}

/// The answer to a GET over HTTP/1.1 on a unix socket.
fn http(socket: &std::path::Path, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn metrics_and_health_are_on_the_socket_too() {
    let agent = with_node();
    agent.put(Kind::Pod, pod("web"));
    let answer = http(&agent.socket(), "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("kube_pod_status_phase{namespace=\"default\",pod=\"web\",uid=\"uid-web\",phase=\"Running\"} 1\n"), "{answer}");
    assert!(http(&agent.socket(), "/healthz").ends_with("\r\n\r\nok"));
    let ready = http(&agent.socket(), "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("[-]containerd failed"), "{ready}");
}
