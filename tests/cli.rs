//! The built binary: exact stdout, stderr and exit codes; without an agent, with wrong flags, and against the API served by this process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use minik8s::api::{Kind, Object};
use minik8s::clock::SystemClock;
use minik8s::grpc::{ApiState, serve};
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
  agent         Run the agent
  get           Show objects
  describe      Show objects in detail
  logs          Show what containers have written
  events        Show what happened, oldest first
  top           Show what pods and the node use
  exec          Run a command in a container
  attach        Connect to a running container
  cp            Copy files to and from containers
  port-forward  Reach a pod's TCP ports from here
  apply         Write manifests into the manifests directory
  delete        Delete objects
  rollout       Show, follow, restart and undo rollouts of DaemonSets
  validate      Check manifests, without an agent
  version       Show versions
  help          Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version

Exit codes: 0 done; 1 failed, or an object is not there; 2 wrong usage; exec: its command's.
Put manifests into /etc/minik8s (or use apply), then look with get, describe, logs and events.
";
    assert_eq!(out, expected);
    assert_eq!(run(&["version", "--client-only"]).1, "Client Version: v0.1.0\n");
}

#[test]
fn sessions_are_refused_in_kubectls_words_before_anybody_is_asked() {
    let why = |args: &[&str]| {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}");
        err
    };
    assert_eq!(why(&["exec", "--", "ls"]), "error: pod or type/name must be specified\n");
    let dashes = "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\n";
    assert_eq!(why(&["exec", "p", "ls"]), dashes);
    assert_eq!(why(&["exec", "p"]), "error: you must specify at least one command for the container: minik8s exec p -- COMMAND\n");
    assert_eq!(why(&["cp", "p:/a", "q:/b"]), "error: one of src or dest must be a local file specification\n");
    assert_eq!(why(&["cp", "a", "b"]), "error: one of src or dest must be a remote file specification\n");
    assert_eq!(why(&["port-forward", "p", "80", "--address", "nowhere"]), "error: nowhere is not a valid IP\n");
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
        let paths = Paths::below(dir.path());
        std::fs::create_dir(&paths.manifests).expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let store = EmbeddedStore::open(paths.state.join("state.redb")).expect("a store");
        let (version, faults) = (watch::channel(String::new()).1, watch::channel(Vec::new()).1);
        let state = ApiState::new(store.clone(), Arc::new(SystemClock), Arc::new(paths), "n1".into(), version, faults);
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

const DAEMON: &str = "\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {a: b}}
  template: # the pods
    metadata:
      labels: {a: b}
    spec:
      containers:
      - {name: c, image: 'busybox:2'} # the newest
";

/// The DaemonSet of a manifest as the agent would have stored it.
fn daemon_set(text: &str) -> Value {
    let decoded = minik8s::api::manifest::decode("web.yaml", text.as_bytes());
    let mut value = decoded.documents[0].object.as_ref().expect("an object").to_json();
    value["metadata"]["uid"] = json!("uid-web");
    value["metadata"]["generation"] = json!(2);
    value["metadata"]["annotations"] = json!({"minik8s.io/source": "web.yaml#0"});
    value["status"] = json!({"observedGeneration": 2, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1,
        "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1});
    value
}

impl Agent {
    /// Runs a command that changes the manifest of [`DAEMON`], following the change as the agent's reconcile loop would. Returns the file too.
    fn run_and_follow(&self, args: &[&str]) -> ((i32, String, String), String) {
        let path = self.dir.path().join("manifests/web.yaml");
        let read = || std::fs::read_to_string(&path).expect("the manifest");
        let before = read();
        let mut command = minik8s(args);
        command.env("MINIK8S_SOCKET", self.socket()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        while read() == before && child.try_wait().expect("ours").is_none() {
            std::thread::yield_now();
        }
        self.put(Kind::DaemonSet, daemon_set(&read()));
        (said(&child.wait_with_output().expect("it ends")), read())
    }
}

#[test]
fn rollout_speaks_as_kubectl_and_changes_the_manifest() {
    let agent = Agent::start();
    agent.write("manifests/web.yaml", DAEMON);
    agent.put(Kind::DaemonSet, daemon_set(DAEMON));
    for (number, image, cause) in [(1, "busybox:1", json!({})), (2, "busybox:2", json!({"kubernetes.io/change-cause": "newer"}))] {
        let mut template = daemon_set(DAEMON)["spec"]["template"].clone();
        template["spec"]["containers"][0]["image"] = json!(image);
        template["$patch"] = json!("replace");
        let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "web", "uid": "uid-web", "controller": true}]);
        let meta = json!({"name": format!("web-{number}"), "namespace": "default", "uid": format!("r{number}"), "ownerReferences": owner, "annotations": cause});
        agent.put(Kind::ControllerRevision, json!({"metadata": meta, "revision": number, "data": {"spec": {"template": template}}}));
    }
    let history = "daemonset.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         newer\n\n";
    assert_eq!(agent.run(&["rollout", "history", "ds/web"]), (0, history.into(), String::new()));
    let details = agent.run(&["rollout", "history", "ds", "web", "--revision=1"]).1;
    assert!(details.starts_with("daemonset.apps/web with revision #1\nPod Template:\n") && details.contains("busybox:1"), "{details}");
    assert_eq!(agent.run(&["rollout", "history", "ds/web", "--revision=9"]).2, "error: unable to find the specified revision\n");
    assert_eq!(agent.run(&["rollout", "status", "ds/web"]).1, "daemon set \"web\" successfully rolled out\n");
    assert_eq!(agent.run(&["rollout", "status", "ds/x"]).2, "Error from server (NotFound): daemonsets.apps \"x\" not found\n");
    assert_eq!(agent.run(&["rollout", "undo", "job/x"]).2, "error: no rollbacker has been implemented for \"Job.batch\"\n");
    assert_eq!(agent.run(&["rollout", "undo", "ds/web", "--to-revision=9"]).2, "error: unable to find specified revision 9 in history\n");
    let skipped = "daemonset.apps/web skipped rollback (current template already matches revision 2)\n";
    assert_eq!(agent.run(&["rollout", "undo", "ds/web", "--to-revision=2"]).1, skipped);
    let ((code, out, err), text) = agent.run_and_follow(&["rollout", "restart", "ds/web"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "daemonset.apps/web restarted\n", ""));
    let added = text.lines().filter(|line| !DAEMON.contains(*line)).count();
    assert!(added == 2 && text.contains("kubectl.kubernetes.io/restartedAt: \"2") && text.contains("# the newest"), "{text}");
    let (said, text) = agent.run_and_follow(&["rollout", "undo", "daemonset", "web", "--to-revision=1"]);
    assert_eq!(said, (0, "daemonset.apps/web rolled back\n".into(), String::new()));
    assert!(text.contains("busybox:1") && text.contains("template: # the pods") && !text.contains("restartedAt"), "{text}");
}
