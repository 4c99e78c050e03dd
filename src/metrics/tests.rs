//! What a scrape of a small node says. That dashboard and alerts ask only for what there is: `examples`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::clock::SystemClock;
use crate::host::Paths;
use crate::runtime::presence::Presence;
use crate::store::embedded::EmbeddedStore;
use crate::store::{Op, Store};

mod examples;

async fn scraped() -> (String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
    let put = |kind: Kind, value: Value| Op::Put(Object::from_json(kind, value.to_string().as_bytes()).unwrap());
    let meta =
        |name: &str| json!({"name": name, "namespace": "ns", "uid": name, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"});
    let mut away = meta("away");
    away["annotations"] = json!({"minik8s.io/not-admitted": "why"});
    let mut owned = meta("one");
    owned["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "c", "controller": true}]);
    let template = json!({"spec": {"containers": [{"name": "c"}]}});
    let time = "2026-01-01T00:01:00Z";
    let oom = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let status = |state: &Value, last: &Value| json!([{"name": "c", "image": "i", "imageID": "sha", "containerID": "containerd://x", "ready": false, "restartCount": 3, "state": state, "lastState": last}]);
    let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let resources = json!({"requests": {"cpu": "100m", "memory": "1Mi"}, "limits": {"cpu": "500m", "memory": "2Mi"}});
    let containers = json!([{"name": "c", "image": "web:1", "resources": resources}]);
    let pod = json!({"metadata": meta("web"), "spec": {"nodeName": "n1", "initContainers": containers, "containers": containers},
        "status": {"phase": "Running", "startTime": time, "containerStatuses": status(&waits, &oom), "initContainerStatuses": status(&waits, &oom)}});
    let ended = json!({"metadata": meta("ended"), "spec": {"nodeName": "n1", "containers": containers},
        "status": {"phase": "Failed", "containerStatuses": status(&oom, &json!({})), "initContainerStatuses": status(&oom, &json!({}))}});
    let mut going = meta("going");
    going["deletionTimestamp"] = json!(time);
    let conditions = json!([{"type": "Complete", "status": "True"}]);
    let failed = json!([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]);
    let ops = vec![
        put(Kind::Pod, pod),
        put(Kind::Pod, ended),
        put(Kind::Pod, json!({"metadata": going, "spec": {"containers": containers}, "status": {"phase": "Pending"}})),
        put(
            Kind::DaemonSet,
            json!({"metadata": meta("ds"), "spec": {"selector": {}, "template": template}, "status": {"numberReady": 1,
            "currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberMisscheduled": 0, "numberAvailable": 1}}),
        ),
        put(
            Kind::Job,
            json!({"metadata": owned, "spec": {"completions": 2, "parallelism": 1, "template": template},
            "status": {"succeeded": 2, "startTime": time, "completionTime": time, "conditions": conditions}}),
        ),
        put(Kind::Job, json!({"metadata": away, "spec": {"template": template}, "status": {"failed": 1, "conditions": failed}})),
        put(
            Kind::CronJob,
            json!({"metadata": meta("cj"), "spec": {"schedule": "0 0 1 1 *", "timeZone": "Etc/UTC",
            "jobTemplate": {"spec": {"template": template}}}, "status": {"lastScheduleTime": time, "lastSuccessfulTime": time}}),
        ),
        put(
            Kind::Node,
            json!({"metadata": {"name": "n1"}, "spec": {"unschedulable": true, "taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {"capacity": {"cpu": "2", "memory": "1Gi"}, "allocatable": {"cpu": "2"}, "conditions": [{"type": "Ready", "status": "True"}]}}),
        ),
        put(Kind::Secret, json!({"metadata": meta("hidden"), "data": {"password": "c2VjcmV0"}})),
    ];
    store.commit(ops).await.unwrap();
    let (containerd, faults) = (watch::channel(Presence::Up("1.6.20".to_owned())).1, watch::channel(Vec::new()).1);
    let state = ApiState::new(store, Arc::new(SystemClock), Arc::new(Paths::below(dir.path())), "n1".into(), containerd, faults);
    state.pulse.beat(&SystemClock);
    (metrics(&state), dir)
}

#[tokio::test]
async fn a_scrape_tells_of_everything_once_and_of_no_secret() {
    let (text, _dir) = scraped().await;
    let pod = "namespace=\"ns\",pod=\"web\",uid=\"web\"";
    let ended = "namespace=\"ns\",pod=\"ended\",uid=\"ended\"";
    for line in [
        &format!("kube_pod_status_phase{{{pod},phase=\"Running\"}} 1") as &str,
        &format!("kube_pod_status_phase{{{pod},phase=\"Pending\"}} 0"),
        &format!("kube_pod_container_status_restarts_total{{{pod},container=\"c\"}} 3"),
        &format!("kube_pod_container_status_waiting_reason{{{pod},container=\"c\",reason=\"CrashLoopBackOff\"}} 1"),
        &format!("kube_pod_container_status_last_terminated_reason{{{pod},container=\"c\",reason=\"OOMKilled\"}} 1"),
        &format!("kube_pod_container_resource_limits{{{pod},container=\"c\",resource=\"cpu\",unit=\"core\"}} 0.5"),
        &format!("minik8s_pod_resource_requests{{{pod},resource=\"memory\",unit=\"byte\"}} 1048576"),
        &format!("kube_pod_container_resource_requests{{{pod},container=\"c\",resource=\"cpu\",unit=\"core\"}} 0.1"),
        &format!("kube_pod_init_container_status_waiting_reason{{{pod},container=\"c\",reason=\"CrashLoopBackOff\"}} 1"),
        &format!("kube_pod_init_container_status_restarts_total{{{pod},container=\"c\"}} 3"),
        &format!("kube_pod_container_status_terminated{{{pod},container=\"c\"}} 0"),
        &format!("kube_pod_container_status_terminated{{{ended},container=\"c\"}} 1"),
        &format!("kube_pod_container_status_terminated_reason{{{ended},container=\"c\",reason=\"OOMKilled\"}} 1"),
        &format!("kube_pod_init_container_status_terminated_reason{{{ended},container=\"c\",reason=\"OOMKilled\"}} 1"),
        &format!(
            "kube_pod_container_info{{{pod},container=\"c\",image_spec=\"web:1\",image=\"i\",image_id=\"sha\",container_id=\"containerd://x\"}} 1"
        ),
        &format!("kube_pod_owner{{{pod},owner_kind=\"\",owner_name=\"\",owner_is_controller=\"\"}} 1"),
        "kube_job_info{namespace=\"ns\",job_name=\"one\"} 1",
        "kube_job_status_failed{namespace=\"ns\",job_name=\"one\"} 0",
        "kube_job_status_failed{namespace=\"ns\",job_name=\"away\",reason=\"DeadlineExceeded\"} 1",
        "kube_job_status_failed{namespace=\"ns\",job_name=\"away\",reason=\"BackoffLimitExceeded\"} 0",
        "kube_job_complete{namespace=\"ns\",job_name=\"one\",condition=\"false\"} 0",
        "kube_job_status_succeeded{namespace=\"ns\",job_name=\"one\"} 2",
        "kube_job_complete{namespace=\"ns\",job_name=\"one\",condition=\"true\"} 1",
        "kube_job_failed{namespace=\"ns\",job_name=\"away\",condition=\"true\"} 1",
        "kube_job_owner{namespace=\"ns\",job_name=\"one\",owner_kind=\"CronJob\",owner_name=\"c\",owner_is_controller=\"true\"} 1",
        "minik8s_workload_not_admitted{kind=\"Job\",namespace=\"ns\",name=\"away\"} 1",
        "kube_daemonset_status_number_ready{namespace=\"ns\",daemonset=\"ds\"} 1",
        "kube_cronjob_status_last_schedule_time{namespace=\"ns\",cronjob=\"cj\"} 1767225660",
        "kube_node_spec_unschedulable{node=\"n1\"} 1",
        "kube_node_status_condition{node=\"n1\",condition=\"Ready\",status=\"true\"} 1",
        "kube_node_status_capacity{node=\"n1\",resource=\"memory\",unit=\"byte\"} 1073741824",
        "kubelet_running_pods 1",
        "kubelet_pod_start_duration_seconds_bucket{le=\"+Inf\"} 0",
        "minik8s_manifest_faults{severity=\"error\"} 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    let asks = |l: &&str| l.starts_with("minik8s_pod_resource_requests{") && !l.contains(pod);
    assert_eq!(text.lines().find(asks), None, "who has ended or has no node takes nothing of it");
    assert!(!text.contains("hidden") && !text.contains("c2VjcmV0"));
    let mut seen = BTreeSet::new();
    let doubles: Vec<_> =
        text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.rsplit_once(' ')).filter(|(n, _)| !seen.insert(*n)).collect();
    assert!(doubles.is_empty(), "{doubles:?}");
}

#[tokio::test]
async fn it_is_served_to_many_and_a_client_that_says_nothing_holds_up_nobody() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
    let (containerd, faults) = (watch::channel(Presence::Awaited).1, watch::channel(Vec::new()).1);
    let state = ApiState::new(store, Arc::new(SystemClock), Arc::new(Paths::below(dir.path())), "n1".into(), containerd, faults);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, state));
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    for (path, expected) in
        [("/metrics", "200 OK"), ("/healthz", "200 OK"), ("/readyz", "503 Service Unavailable"), ("/x", "404 Not Found")]
    {
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}\r\n")), "{path}: {answer}");
    }
    server.abort();
}
