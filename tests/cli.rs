//! The built binary: exact stdout, stderr and exit codes; without an agent, with wrong flags, and against the API served by this process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use minik8s::api::{Kind, Object};
use minik8s::clock::SystemClock;
use minik8s::grpc::{ApiState, FileLogs, serve};
use minik8s::host::Paths;
use minik8s::store::embedded::EmbeddedStore;
use minik8s::store::{Op, Store};
use serde_json::{Value, json};
use tokio::sync::watch;

fn minik8s(args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("minik8s"));
    command.args(args).env_remove("MINIK8S_SOCKET");
    command
}

/// (exit code, stdout, stderr).
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is UTF-8");
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn run(args: &[&str]) -> (i32, String, String) {
    said(&minik8s(args).output().expect("the binary runs"))
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let (code, out, err) = run(&["--help"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let expected = "\
DaemonSets, Jobs and CronJobs run on this host from plain Kubernetes manifests, without a cluster

Usage: minik8s <COMMAND>

Commands:
  agent     Run the agent
  get       Show objects
  describe  Show objects in detail
  logs      Show what containers have written
  events    Show what happened, oldest first
  apply     Write manifests into the manifests directory
  delete    Delete objects
  validate  Check manifests, without an agent
  schedule  Explain a schedule and show its next runs, without an agent
  simulate  Play manifests in virtual time and show the timeline, without an agent
  plan      Show whether workloads will run on this node, and why not
  version   Show versions
  help      Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version

Exit codes: 0 done; 1 failed, or an object is not there; 2 wrong usage.
Put manifests into /etc/minik8s (or use apply), then look with get, describe, logs and events.
";
    assert_eq!(out, expected);
    assert_eq!(run(&["version", "--client-only"]).1, "Client Version: v0.1.0\n");
}

#[test]
fn without_an_agent_it_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("none.sock");
    let (code, out, err) = run(&["get", "pods", "--socket", &socket.to_string_lossy()]);
    let expected = format!(
        "error: no minik8s agent answers on {}: start it (systemctl start minik8s), or name its socket with --socket or MINIK8S_SOCKET\n",
        socket.display()
    );
    assert_eq!((code, out.as_str(), err), (1, "", expected.clone()));
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    assert_eq!(run(&["get", "pods", "--socket", &socket.to_string_lossy()]).2, expected, "a dead agent's socket");
    let by_env = minik8s(&["get", "pods"]).env("MINIK8S_SOCKET", &socket).output().expect("it runs");
    assert_eq!(said(&by_env).2, expected);
}

#[test]
fn a_user_outside_the_group_is_told_to_join_it() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let dir = tempfile::tempdir().expect("a directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open.clone()).expect("permissions");
    let socket = dir.path().join("s.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o660)).expect("permissions");
    // The build directory may be closed to others.
    let binary = dir.path().join("minik8s");
    std::fs::copy(assert_cmd::cargo::cargo_bin!("minik8s"), &binary).expect("a copy");
    let output = Command::new(&binary).args(["get", "pods", "--socket"]).arg(&socket).uid(65534).gid(65534).output().expect("it runs");
    let expected = format!(
        "error: permission denied on {}: be root, or a member of the group minik8s (usermod -aG minik8s $USER, then log in again)\n",
        socket.display()
    );
    assert_eq!(said(&output), (1, String::new(), expected));
}

#[test]
fn wrong_flags_say_what_to_write() {
    for (args, message) in [
        (
            &["agent", "--taint", "a=b:Never"][..],
            "error: invalid value 'a=b:Never' for '--taint <KEY[=VALUE]:EFFECT>': \"Never\" is no effect: write NoSchedule, PreferNoSchedule or NoExecute\n",
        ),
        (
            &["agent", "--max-container-restart-period", "1h"],
            "error: invalid value '1h' for '--max-container-restart-period <DURATION>': write a duration from 1s to 300s, such as 60s or 5m\n",
        ),
        (
            &["agent", "--manifests", "here"],
            "error: invalid value 'here' for '--manifests <DIR>': write a path from the root, beginning with /\n",
        ),
        (
            &["agent", "--pod-cidr", "10.1.2.3/24"],
            "error: invalid value '10.1.2.3/24' for '--pod-cidr <A.B.C.D/N>': 10.1.2.3 is an address in the network; write the network itself, 10.1.2.0/24\n",
        ),
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.starts_with(message), "{err}");
    }
    let (code, _, err) = run(&["agent", "--manifests", "/x", "--state-dir", "/x/y"]);
    assert_eq!(
        (code, err.as_str()),
        (2, "error: --manifests /x and --state-dir /x/y lie within each other; give each a directory of its own\n")
    );
    assert_eq!(run(&["get", "svc"]).2, "error: the server doesn't have a resource type \"svc\"\n");
    assert_eq!(run(&["get", "pods", "-o", "table"]).0, 2);
    assert_eq!(
        run(&["logs", "p", "--since", "5"]).2,
        "error: invalid argument \"5\" for \"--since\" flag: write a duration such as 5s, 2m or 3h\n"
    );
}

/// The API of an agent, served by this process over a real Store.
struct Agent {
    dir: tempfile::TempDir,
    store: Arc<EmbeddedStore>,
    runtime: tokio::runtime::Runtime,
}

impl Agent {
    fn start() -> Agent {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("manifests")).expect("a directory");
        let paths = Paths {
            manifests: at("manifests"),
            state: at("state"),
            run: at("run"),
            pod_logs: at("pods"),
            container_logs: at("containers"),
            socket: at("run/minik8s.sock"),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let store = EmbeddedStore::open(at("state/state.redb")).expect("a store");
        let state = ApiState {
            store: store.clone(),
            clock: Arc::new(SystemClock),
            paths: Arc::new(paths),
            node_name: "n1".into(),
            started_at: "2026-01-01T00:00:00Z".parse().expect("a time"),
            containerd_version: watch::channel(String::new()).1,
            faults: watch::channel(Vec::new()).1,
            logs: Arc::new(FileLogs),
            edits: Arc::default(),
        };
        runtime.spawn(serve(state, std::future::pending()));
        let agent = Agent { dir, store, runtime };
        while !agent.socket().exists() {
            std::thread::yield_now();
        }
        agent
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/minik8s.sock")
    }

    fn put(&self, kind: Kind, value: Value) {
        let object = Object::from_json(kind, value.to_string().as_bytes()).expect("an object");
        self.runtime.block_on(self.store.commit(vec![Op::Put(object)])).expect("a commit");
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        said(&minik8s(args).env("MINIK8S_SOCKET", self.socket()).output().expect("it runs"))
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a directory");
        std::fs::write(&path, text).expect("a file");
        path.to_string_lossy().into_owned()
    }
}

fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]},
    })
}

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
fn apply_and_delete_speak_as_kubectl() {
    let agent = Agent::start();
    let file = agent.write(
        "in/a.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
    );
    let dry = agent.run(&["apply", "--dry-run", "-f", &file]);
    assert_eq!(dry, (0, "configmap/a created (dry run)\nconfigmap/b created (dry run)\n".into(), String::new()));
    assert_eq!(agent.run(&["apply", "-f", &file]).1, "configmap/a created\nconfigmap/b created\n");
    let dir = agent.dir.path().join("in");
    assert_eq!(agent.run(&["apply", "-f", &dir.to_string_lossy()]).1, "configmap/a unchanged\nconfigmap/b unchanged\n");
    let bad = agent.write("bad.yaml", "kind: [\n");
    let (code, out, err) = agent.run(&["apply", "-f", &bad]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.ends_with("error: nothing was applied: the manifests have errors\n"), "{err}");
    let none = agent.run(&["apply", "-f", "/nowhere"]);
    assert_eq!(none, (1, String::new(), "error: the path \"/nowhere\" does not exist\n".into()));
    agent.put(Kind::Pod, pod("web"));
    let deleted = agent.run(&["delete", "pod", "web", "x"]);
    let expected =
        (1, "pod \"web\" deleted from default namespace\n".to_owned(), "Error from server (NotFound): pods \"x\" not found\n".to_owned());
    assert_eq!(deleted, expected);
    assert_eq!(
        agent.run(&["get", "pods"]).1,
        "NAME   READY   STATUS        RESTARTS   AGE\nweb    1/1     Terminating   0          <unknown>\n"
    );
    assert_eq!(agent.run(&["delete", "pod"]).2, "error: resource(s) were provided, but no name was specified\n");
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
    agent.put(Kind::Node, json!({"metadata": {"name": "n"}}));
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
    assert_eq!((&row["change"], &row["stopped"]), (&json!("replaced"), &json!(["pi-x"])));
}
