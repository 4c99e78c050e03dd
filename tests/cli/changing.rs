//! apply, delete and rollout against an agent.

use minik8s::api::Kind;
use serde_json::{Value, json};

use super::agent::{Agent, pod};
use super::{minik8s, said};

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
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-, GIVEN}\n";
    let nameless = agent.write("nameless.yaml", &text.replace("GIVEN", "labels: {}"));
    let (code, _, err) = agent.run(&["apply", "-f", &nameless]);
    assert!(code == 1 && err.contains("from a-: cannot use generate name with apply: "), "{err}");
    let named = agent.write("named.yaml", &text.replace("GIVEN", "name: c"));
    assert_eq!(agent.run(&["apply", "-f", &named]).1, "configmap/c created\n");
    let none = agent.run(&["apply", "-f", "/nowhere"]);
    assert_eq!(none, (1, String::new(), "error: the path \"/nowhere\" does not exist\n".into()));
    agent.put(Kind::Pod, pod("web"));
    let deleted = agent.run(&["delete", "pod", "web", "x", "--wait=false"]);
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
fn delete_waits_chooses_and_says_what_is_wrong_with_a_file() {
    let agent = Agent::start();
    // Nobody acts on the deletion here: the pod stays, and the wait ends by its limit.
    agent.put(Kind::Pod, pod("web"));
    let waited = agent.run(&["delete", "pod", "web", "--timeout=1s"]);
    let expected = (
        1,
        "pod \"web\" deleted from default namespace\n".to_owned(),
        "error: timed out waiting for the condition on pods/web\n".to_owned(),
    );
    assert_eq!(waited, expected);
    let map = |name: &str| json!({"metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": name}}});
    for name in ["a", "b", "c"] {
        agent.put(Kind::ConfigMap, map(name));
    }
    assert_eq!(
        agent.run(&["delete", "cm", "-l", "app in (a)"]),
        (0, "configmap \"a\" deleted from default namespace\n".into(), String::new())
    );
    let all = "configmap \"b\" deleted from default namespace\nconfigmap \"c\" deleted from default namespace\n";
    assert_eq!(agent.run(&["delete", "cm", "--all"]), (0, all.into(), String::new()));
    assert_eq!(agent.run(&["delete", "cm", "--all"]), (0, "No resources found\n".into(), String::new()));
    assert_eq!(agent.run(&["delete", "cm", "a", "--ignore-not-found"]), (0, String::new(), String::new()));
    let forced = agent.run(&["delete", "pod", "web", "--force", "--wait=false"]);
    assert_eq!(forced.1, "pod \"web\" force deleted from default namespace\n");
    assert!(forced.2.starts_with("Warning: Immediate deletion does not wait for confirmation"), "{}", forced.2);
    agent.put(Kind::ConfigMap, map("a"));
    let bad = agent.write("bad.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nkind: [\n");
    let (code, out, err) = agent.run(&["delete", "-f", &bad]);
    assert_eq!((code, out.as_str()), (1, "configmap \"a\" deleted from default namespace\n"));
    assert!(err.starts_with(&format!("{bad}:")) && err.contains(": error: "), "{err}");
    let place = err.trim_start_matches(bad.as_str());
    assert!(place.starts_with(":5:") || place.starts_with(":6:"), "line and column: {err}");
}

#[test]
fn stdin_is_a_manifest_and_what_means_nothing_here_is_passed_over_by_name() {
    let agent = Agent::start();
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let passed_over = "STDIN:2:7: info: ignored: kind Service means nothing on a node alone\n";
    assert_eq!(agent.run_with(&["apply", "-f", "-"], text), (0, "configmap/a created\n".into(), passed_over.into()));
    agent.put(Kind::ConfigMap, json!({"metadata": {"name": "a", "namespace": "default", "uid": "u"}}));
    let deleted = "configmap \"a\" deleted from default namespace\n";
    assert_eq!(agent.run_with(&["delete", "-f", "-"], text), (0, deleted.into(), String::new()));
    let valid = format!("{passed_over}1 file: 1 object valid, 1 document ignored\n");
    let (code, out, err) = agent.run_with(&["validate", "-"], text);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with(passed_over) && out.contains("1 file: 1 object valid"), "{out} and not {valid}");
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
