//! What a scrape of a small node says, and that dashboard and alerts ask only for what there is.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::clock::SystemClock;
use crate::host::Paths;
use crate::runtime::presence::Presence;
use crate::store::embedded::EmbeddedStore;
use crate::store::{Op, Store};

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
    let terminated = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let pod = json!({"metadata": meta("web"), "spec": {"nodeName": "n1", "containers": [{"name": "c",
            "resources": {"requests": {"cpu": "100m", "memory": "1Mi"}, "limits": {"cpu": "500m", "memory": "2Mi"}}}]},
        "status": {"phase": "Running", "startTime": time, "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false,
            "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": terminated}]}});
    let mut going = meta("going");
    going["deletionTimestamp"] = json!(time);
    let conditions = json!([{"type": "Complete", "status": "True"}]);
    let failed = json!([{"type": "Failed", "status": "True"}]);
    let ops = vec![
        put(Kind::Pod, pod),
        put(Kind::Pod, json!({"metadata": going, "status": {"phase": "Pending"}})),
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
    for line in [
        &format!("kube_pod_status_phase{{{pod},phase=\"Running\"}} 1") as &str,
        &format!("kube_pod_status_phase{{{pod},phase=\"Pending\"}} 0"),
        &format!("kube_pod_container_status_restarts_total{{{pod},container=\"c\"}} 3"),
        &format!("kube_pod_container_status_waiting_reason{{{pod},container=\"c\",reason=\"CrashLoopBackOff\"}} 1"),
        &format!("kube_pod_container_status_last_terminated_reason{{{pod},container=\"c\",reason=\"OOMKilled\"}} 1"),
        &format!("kube_pod_container_resource_limits{{{pod},container=\"c\",resource=\"cpu\",unit=\"core\"}} 0.5"),
        &format!("minik8s_pod_resource_requests{{{pod},resource=\"memory\",unit=\"byte\"}} 1048576"),
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
    let next = text.lines().find_map(|l| l.strip_prefix("kube_cronjob_next_schedule_time{namespace=\"ns\",cronjob=\"cj\"} ")).unwrap();
    assert!(next.parse::<f64>().unwrap() > 1_767_225_600.0 && !next.contains('e'), "{next}");
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

/// The metric names that an expression asks for.
fn asked(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = |w: &&str| ["kube_", "kubelet_", "minik8s_", "process_"].iter().any(|p| w.starts_with(p));
    words.filter(ours).map(str::to_owned).collect()
}

#[tokio::test]
async fn dashboard_and_alerts_ask_only_for_what_there_is() {
    let (text, _dir) = scraped().await;
    let names: BTreeSet<&str> = text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split(['{', ' ']).next()).collect();
    let dashboard: Value = serde_json::from_str(include_str!("../../examples/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions = panels.iter().flat_map(|p| p["targets"].as_array().into_iter().flatten()).filter_map(|t| t["expr"].as_str());
    let alerts = include_str!("../../examples/monitoring/alerts.yaml");
    let mut asked_for = asked(&expressions.collect::<Vec<_>>().join("\n"));
    assert!(asked_for.len() > 10, "the dashboard shows something: {asked_for:?}");
    asked_for.extend(asked(&alerts.lines().filter(|l| l.trim_start().starts_with("expr:")).collect::<Vec<_>>().join("\n")));
    let unknown: Vec<_> = asked_for.iter().filter(|name| !names.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "asked for and not told: {unknown:?}");
    let titles: BTreeSet<&str> = panels.iter().filter_map(|p| p["title"].as_str()).collect();
    assert_eq!(titles.len(), panels.len(), "each panel has a title of its own");
}
