//! Exact tables.

use serde_json::{Value, json};

use super::*;

fn object(kind: Kind, value: Value) -> Object {
    Object::from_json(kind, value.to_string().as_bytes()).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn table(kind: Kind, values: &[Value], view: View) -> String {
    let objects: Vec<Object> = values.iter().map(|value| object(kind, value.clone())).collect();
    print(kind, &objects, view, now())
}

const WIDE: View = View { wide: true, namespace: false, kind: false, headerless: false, labels: false };

/// A pod with one container `c` (and init containers) in these states.
fn pod(name: &str, phase: &str, statuses: Value, inits: Value) -> Value {
    let named = |list: &Value| list.as_array().unwrap().iter().map(|s| json!({"name": s["name"]})).collect::<Vec<_>>();
    json!({
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T11:55:00Z"},
        "spec": {"containers": named(&statuses), "initContainers": named(&inits), "nodeName": "n1"},
        "status": {"phase": phase, "podIPs": [{"ip": "10.0.0.2"}], "containerStatuses": statuses, "initContainerStatuses": inits},
    })
}

fn status(name: &str, ready: bool, restarts: i32, state: Value) -> Value {
    json!({"name": name, "ready": ready, "restartCount": restarts, "state": state, "image": "", "imageID": ""})
}

fn running() -> Value {
    json!({"running": {"startedAt": "2026-01-01T11:55:01Z"}})
}

fn waiting(reason: &str) -> Value {
    json!({"waiting": {"reason": reason}})
}

fn ended(code: i32, reason: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason}})
}

#[test]
fn pods_as_kubectl_prints_them() {
    let mut crashed = status("c", false, 3, waiting("CrashLoopBackOff"));
    crashed["lastState"] = json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T11:59:20Z"}});
    let pods = [
        pod("web", "Running", json!([status("a", true, 0, running()), status("b", true, 0, running())]), json!([])),
        pod("crash", "Running", json!([crashed]), json!([])),
        pod("pi-x7k2q", "Succeeded", json!([status("c", false, 0, ended(0, "Completed"))]), json!([])),
    ];
    let expected = "\
NAME       READY   STATUS             RESTARTS      AGE
web        2/2     Running            0             5m
crash      0/1     CrashLoopBackOff   3 (40s ago)   5m
pi-x7k2q   0/1     Completed          0             5m
";
    assert_eq!(table(Kind::Pod, &pods, View::default()), expected);
    let wide = "\
NAME   READY   STATUS    RESTARTS   AGE   IP         NODE   NOMINATED NODE   READINESS GATES
web    2/2     Running   0          5m    10.0.0.2   n1     <none>           <none>
";
    assert_eq!(table(Kind::Pod, &pods[..1], WIDE), wide);
    let all = "\
NAMESPACE   NAME      READY   STATUS    RESTARTS   AGE
default     pod/web   2/2     Running   0          5m
";
    assert_eq!(table(Kind::Pod, &pods[..1], View { namespace: true, kind: true, ..View::default() }), all);
    assert_eq!(table(Kind::Pod, &pods[..1], View { headerless: true, ..View::default() }), "web   2/2   Running   0     5m\n");
    let mut labelled = pods[0].clone();
    labelled["metadata"]["labels"] = json!({"app": "web", "tier": "b"});
    let with_labels = "\
NAME   READY   STATUS    RESTARTS   AGE   LABELS
web    2/2     Running   0          5m    app=web,tier=b
";
    assert_eq!(table(Kind::Pod, &[labelled], View { labels: true, ..View::default() }), with_labels);
}

/// The READY and STATUS cells.
fn cells(pod: Value) -> (String, String) {
    let row = row(&object(Kind::Pod, pod), false, now());
    (row[1].clone(), row[2].clone())
}

#[test]
fn statuses_of_pods_that_initialize() {
    let main = || json!([status("c", false, 0, waiting("PodInitializing"))]);
    let with = |inits: Value| cells(pod("p", "Pending", main(), inits)).1;
    let done = status("i0", true, 0, ended(0, "Completed"));
    assert_eq!(with(json!([done, status("i1", false, 0, running())])), "Init:1/2");
    assert_eq!(with(json!([status("i0", false, 0, waiting("PodInitializing"))])), "Init:0/1");
    assert_eq!(with(json!([status("i0", false, 4, waiting("CrashLoopBackOff"))])), "Init:CrashLoopBackOff");
    assert_eq!(with(json!([status("i0", false, 0, ended(2, "Error"))])), "Init:Error");
    assert_eq!(with(json!([status("i0", false, 0, ended(2, ""))])), "Init:ExitCode:2");
    assert_eq!(with(json!([done])), "PodInitializing");
}

#[test]
fn a_sidecar_counts_as_a_container() {
    let mut value = pod("p", "Running", json!([status("c", true, 1, running())]), json!([status("s", true, 2, running())]));
    value["spec"]["initContainers"][0]["restartPolicy"] = json!("Always");
    value["status"]["initContainerStatuses"][0]["started"] = json!(true);
    let row = row(&object(Kind::Pod, value), false, now());
    assert_eq!(row[1..4], ["2/2", "Running", "3"]);
}

#[test]
fn statuses_of_pods_that_end() {
    let one = |state: Value, ready: bool| json!([status("c", ready, 0, state)]);
    let mut going = pod("p", "Running", one(running(), true), json!([]));
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T12:00:30Z");
    assert_eq!(cells(going.clone()), ("1/1".into(), "Terminating".into()));
    going["status"]["phase"] = json!("Succeeded");
    going["status"]["containerStatuses"] = one(ended(0, "Completed"), false);
    assert_eq!(cells(going), ("0/1".into(), "Completed".into()));
    let half = json!([status("a", true, 0, running()), status("b", false, 0, ended(0, "Completed"))]);
    let mut half = pod("p", "Running", half, json!([]));
    assert_eq!(cells(half.clone()), ("1/2".into(), "NotReady".into()));
    half["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    assert_eq!(cells(half).1, "Running");
    let mut rejected = pod("p", "Failed", json!([]), json!([]));
    rejected["status"]["reason"] = json!("OutOfcpu");
    assert_eq!(cells(rejected).1, "OutOfcpu");
    assert_eq!(cells(pod("p", "Failed", one(ended(137, "OOMKilled"), false), json!([]))).1, "OOMKilled");
    assert_eq!(cells(pod("p", "Failed", one(json!({"terminated": {"exitCode": 1, "signal": 9}}), false), json!([]))).1, "Signal:9");
}

#[test]
fn jobs_cron_jobs_and_daemon_sets() {
    let template = json!({"spec": {"containers": [{"name": "pi", "image": "bc"}, {"name": "x", "image": "y"}]}});
    let job = |name: &str, spec: Value, status: Value| {
        let mut spec = spec;
        spec["template"] = template.clone();
        json!({"metadata": {"name": name, "creationTimestamp": "2026-01-01T11:00:00Z"}, "spec": spec, "status": status})
    };
    let done = json!({"succeeded": 3, "startTime": "2026-01-01T11:00:00Z", "completionTime": "2026-01-01T11:02:05Z",
        "conditions": [{"type": "Complete", "status": "True"}]});
    let mut refused = job("refused", json!({"completions": 1}), json!({}));
    refused["metadata"]["annotations"] = json!({"minik8s.io/not-admitted": "taint"});
    let jobs = [
        job("done", json!({"completions": 3}), done),
        job("queue", json!({"parallelism": 4}), json!({"startTime": "2026-01-01T11:59:00Z"})),
        job("failed", json!({"completions": 1}), json!({"conditions": [{"type": "Failed", "status": "True"}]})),
        job("paused", json!({"completions": 1}), json!({"conditions": [{"type": "Suspended", "status": "True"}]})),
        refused,
    ];
    let expected = "\
NAME      STATUS        COMPLETIONS   DURATION   AGE
done      Complete      3/3           2m5s       60m
queue     Running       0/1 of 4      60s        60m
failed    Failed        0/1                      60m
paused    Suspended     0/1                      60m
refused   NotAdmitted   0/1                      60m
";
    assert_eq!(table(Kind::Job, &jobs, View::default()), expected);
    let wide = "\
NAME    STATUS    COMPLETIONS   DURATION   AGE   CONTAINERS   IMAGES   SELECTOR
queue   Running   0/1 of 4      60s        60m   pi,x         bc,y     <none>
";
    assert_eq!(table(Kind::Job, &jobs[1..2], WIDE), wide);
    let cron = json!({"metadata": {"name": "hello", "creationTimestamp": "2025-12-30T12:00:00Z"},
        "spec": {"schedule": "*/1 * * * *", "suspend": false, "jobTemplate": {"spec": {"template": template}}},
        "status": {"lastScheduleTime": "2026-01-01T11:59:30Z", "active": [{}]}});
    let expected = "\
NAME    SCHEDULE      TIMEZONE   SUSPEND   ACTIVE   LAST SCHEDULE   AGE
hello   */1 * * * *   <none>     False     1        30s             2d
";
    assert_eq!(table(Kind::CronJob, &[cron], View::default()), expected);
    let set = json!({"metadata": {"name": "fluentd", "creationTimestamp": "2026-01-01T11:59:00Z"},
        "spec": {"selector": {"matchLabels": {"name": "f"}}, "template": {"spec": {"nodeSelector": {"b": "2", "a": "1"}, "containers": [{"name": "c", "image": "i"}]}}},
        "status": {"desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 0, "updatedNumberScheduled": 1}});
    let expected = "\
NAME      DESIRED   CURRENT   READY   UP-TO-DATE   AVAILABLE   NODE SELECTOR   AGE   CONTAINERS   IMAGES   SELECTOR
fluentd   1         1         0       1            0           a=1,b=2         60s   c            i        name=f
";
    assert_eq!(table(Kind::DaemonSet, &[set], WIDE), expected);
}

#[test]
fn nodes_and_events() {
    let info = json!({"kubeletVersion": "v0.1.0", "osImage": "Debian", "kernelVersion": "6.1", "containerRuntimeVersion": "containerd://1.6.20",
        "architecture": "", "bootID": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "", "systemUUID": ""});
    let node = json!({"metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/edge": ""}, "creationTimestamp": "2025-01-01T12:00:00Z"},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": info, "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}]}});
    let expected = "\
NAME   STATUS                     ROLES   AGE    VERSION   INTERNAL-IP   EXTERNAL-IP   OS-IMAGE   KERNEL-VERSION   CONTAINER-RUNTIME
n1     Ready,SchedulingDisabled   edge    365d   v0.1.0    1.2.3.4       <none>        Debian     6.1              containerd://1.6.20
";
    assert_eq!(table(Kind::Node, &[node], WIDE), expected);
    let event = json!({"metadata": {"name": "web.1", "namespace": "default"}, "involvedObject": {"kind": "Pod", "name": "web"},
        "type": "Warning", "reason": "BackOff", "message": "back-off\nmore", "count": 3, "source": {"component": "kubelet"},
        "firstTimestamp": "2026-01-01T11:50:00Z", "lastTimestamp": "2026-01-01T11:59:00Z"});
    let expected = "\
LAST SEEN   TYPE      REASON    OBJECT    MESSAGE
60s         Warning   BackOff   pod/web   back-off...
";
    assert_eq!(table(Kind::Event, &[event], View::default()), expected);
}

#[test]
fn config_maps_secrets_and_claims() {
    let secret = json!({"metadata": {"name": "s", "creationTimestamp": "2026-01-01T11:59:00Z"}, "type": "Opaque", "data": {"a": "YQ==", "b": "YQ=="}});
    assert_eq!(table(Kind::Secret, &[secret], View::default()), "NAME   TYPE     DATA   AGE\ns      Opaque   2      60s\n");
    let claim = json!({"metadata": {"name": "c"}, "spec": {"volumeName": "c"},
        "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}});
    let expected = "\
NAME   STATUS   VOLUME   CAPACITY   ACCESS MODES   STORAGECLASS   VOLUMEATTRIBUTESCLASS   AGE
c      Bound    c        1Gi        RWO                           <unset>                 <unknown>
";
    assert_eq!(table(Kind::PersistentVolumeClaim, &[claim], View::default()), expected);
}

#[test]
fn selectors_print_by_key() {
    let selector: LabelSelector = serde_json::from_value(json!({"matchLabels": {"z": "1", "a": "2"},
        "matchExpressions": [{"key": "m", "operator": "In", "values": ["y", "x"]}, {"key": "n", "operator": "DoesNotExist"}]}))
    .unwrap();
    assert_eq!(format_selector(Some(&selector)), "a=2,m in (x,y),!n,z=1");
    assert_eq!(format_selector(Some(&LabelSelector::default())), "<none>");
}
