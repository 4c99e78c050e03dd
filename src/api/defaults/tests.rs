//! Defaults against what the API server writes back.

use serde_json::{Value, json};

use super::*;
use crate::api::Kind;

fn defaulted(kind: Kind, manifest: Value) -> Value {
    let mut object = Object::from_json(kind, manifest.to_string().as_bytes()).expect("an object of the kind");
    apply(&mut object);
    let once = object.clone();
    apply(&mut object);
    assert_eq!(object, once, "defaults are idempotent");
    object.to_json()
}

fn pod(spec: Value) -> Value {
    defaulted(Kind::StaticPod, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}))["spec"].clone()
}

#[test]
fn a_pod_gets_what_the_api_server_fills_in() {
    let spec = pod(
        json!({"containers": [{"name": "c", "image": "busybox", "ports": [{"containerPort": 80}]}], "volumes": [{"name": "v"}, {"name": "h", "hostPath": {"path": "/x"}}]}),
    );
    assert_eq!(
        spec,
        json!({
            "containers": [{
                "name": "c", "image": "busybox", "imagePullPolicy": "Always", "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always", "schedulerName": "default-scheduler", "securityContext": {},
            "terminationGracePeriodSeconds": 30, "volumes": [{"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/x", "type": ""}}],
        })
    );
}

#[test]
fn the_pull_policy_follows_the_tag() {
    let cases = [
        ("busybox", true),
        ("busybox:latest", true),
        ("busybox:1", false),
        ("reg:5000/busybox", true),
        ("reg:5000/a/busybox:2", false),
        ("busybox@sha256:abc", false),
        ("busybox:latest@sha256:abc", true),
        ("busybox:1@sha256:abc", false),
        ("", false),
    ];
    for (image, latest) in cases {
        assert_eq!(pod::is_latest(image), latest, "{image}");
    }
}

#[test]
fn requests_follow_limits_and_ports_follow_host_network() {
    let spec = pod(json!({"hostNetwork": true, "containers": [{
        "name": "c", "image": "b:1", "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "1", "memory": "1.00005"}, "requests": {"cpu": "100m"}},
        "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "livenessProbe": {"httpGet": {"port": 80}},
    }]}));
    let c = &spec["containers"][0];
    assert_eq!(c["resources"], json!({"limits": {"cpu": "1", "memory": "1001m"}, "requests": {"cpu": "100m", "memory": "1001m"}}));
    assert_eq!(c["ports"][0]["hostPort"], 80);
    for (written, grace) in [(json!(null), 30), (json!(0), 0), (json!(-5), 1), (json!(i64::MIN), 1)] {
        let spec = pod(json!({"containers": [], "terminationGracePeriodSeconds": written}));
        assert_eq!(spec["terminationGracePeriodSeconds"], grace, "{written}");
    }
    assert_eq!(c["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(
        c["livenessProbe"],
        json!({"failureThreshold": 3, "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1})
    );
}

fn job_spec(spec: Value) -> Value {
    defaulted(Kind::Job, json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": spec}))["spec"].clone()
}

#[test]
fn a_job_without_numbers_runs_once_and_one_with_parallelism_is_a_work_queue() {
    let cases = [
        (json!({}), json!(1), json!(1)),
        (json!({"parallelism": 3}), json!(3), Value::Null),
        (json!({"completions": 4}), json!(1), json!(4)),
    ];
    for (mut spec, parallelism, completions) in cases {
        spec["template"] = json!({});
        let spec = job_spec(spec);
        assert_eq!((&spec["parallelism"], &spec["completions"]), (&parallelism, &completions));
        assert_eq!((&spec["backoffLimit"], &spec["completionMode"], &spec["suspend"]), (&json!(6), &json!("NonIndexed"), &json!(false)));
        assert_eq!(spec["podReplacementPolicy"], "TerminatingOrFailed");
    }
    let spec = job_spec(
        json!({"template": {}, "backoffLimitPerIndex": 1, "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}}),
    );
    assert_eq!((&spec["backoffLimit"], &spec["podReplacementPolicy"]), (&json!(i32::MAX), &json!("Failed")));
    assert_eq!(spec["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"], "True");
}

#[test]
fn workloads_get_their_strategies_and_limits() {
    let daemon_set = defaulted(
        Kind::DaemonSet,
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": {"selector": {}, "template": {"spec": {"containers": []}}}}),
    );
    assert_eq!(daemon_set["metadata"]["namespace"], "default");
    assert_eq!(
        daemon_set["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
    );
    assert_eq!(daemon_set["spec"]["revisionHistoryLimit"], 10);
    assert_eq!(daemon_set["spec"]["template"]["spec"]["restartPolicy"], "Always");
    let cron_job = defaulted(
        Kind::CronJob,
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": "n"}, "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {}}}}}),
    );
    let spec = &cron_job["spec"];
    assert_eq!((&spec["concurrencyPolicy"], &spec["suspend"]), (&json!("Allow"), &json!(false)));
    assert_eq!((&spec["successfulJobsHistoryLimit"], &spec["failedJobsHistoryLimit"]), (&json!(3), &json!(1)));
    assert_eq!(cron_job["metadata"]["namespace"], "n");
    assert_eq!(spec["jobTemplate"]["spec"]["backoffLimit"], 6);
}

#[test]
fn a_secrets_texts_win_over_its_data_and_a_node_stays_as_it_is() {
    let secret = defaulted(
        Kind::Secret,
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "YQ==", "b": "Yg=="}, "stringData": {"b": "c"}}),
    );
    assert_eq!((&secret["type"], &secret["data"]), (&json!("Opaque"), &json!({"a": "YQ==", "b": "Yw=="})));
    assert!(secret.get("stringData").is_none());
    let node = defaulted(Kind::Node, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}));
    assert_eq!(node, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}));
}

#[test]
fn a_whole_pod_asks_for_what_its_containers_do() {
    let whole = |resources: Value, containers: &[Value]| {
        let containers: Vec<Value> =
            containers.iter().enumerate().map(|(i, r)| json!({"name": format!("c{i}"), "image": "b:1", "resources": r})).collect();
        pod(json!({"resources": resources, "containers": containers}))["resources"].clone()
    };
    let cases = [
        (json!({}), vec![json!({"requests": {"cpu": "1"}})], json!({})),
        // Only where the pod has limits of its own: the containers' sum, else the limit.
        (
            json!({"limits": {"cpu": "2", "memory": "1.00005"}}),
            vec![json!({"requests": {"cpu": "250m"}}), json!({"limits": {"cpu": "1"}})],
            json!({"limits": {"cpu": "2", "memory": "1001m"}, "requests": {"cpu": "1250m", "memory": "1001m"}}),
        ),
        (
            json!({"requests": {"cpu": "2"}}),
            vec![
                json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi", "hugepages-2Mi": "2Mi"}}),
                json!({"limits": {"hugepages-2Mi": "4Mi"}}),
            ],
            json!({"limits": {"hugepages-2Mi": "6Mi"}, "requests": {"cpu": "2", "hugepages-2Mi": "6Mi", "memory": "1Gi"}}),
        ),
        (
            json!({"limits": {"memory": "4Gi"}}),
            vec![json!({"requests": {"memory": "1Gi", "nvidia.com/gpu": "1"}}), json!({"requests": {"memory": "512Mi"}})],
            json!({"limits": {"memory": "4Gi"}, "requests": {"memory": "1536Mi"}}),
        ),
    ];
    for (resources, containers, expected) in cases {
        assert_eq!(whole(resources.clone(), &containers), expected, "{resources}");
    }
    let spec = pod(
        json!({"resources": {"limits": {"cpu": "9"}}, "containers": [{"name": "c", "image": "b:1", "resources": {"requests": {"cpu": "1"}}}], "initContainers": [
        {"name": "s", "image": "b:1", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}}, {"name": "i", "image": "b:1", "resources": {"requests": {"cpu": "3"}}}]}),
    );
    assert_eq!(spec["resources"]["requests"], json!({"cpu": "3500m"}), "an init container beside the sidecar is the worst moment");
}

#[test]
fn volumes_get_their_modes() {
    let volumes = pod(json!({"containers": [], "volumes": [
        {"name": "c", "configMap": {"name": "c"}}, {"name": "s", "secret": {"secretName": "s", "defaultMode": 256}}, {"name": "i", "image": {"reference": "b"}},
        {"name": "d", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
    ]}))["volumes"]
        .clone();
    assert_eq!((&volumes[0]["configMap"]["defaultMode"], &volumes[1]["secret"]["defaultMode"]), (&json!(420), &json!(256)));
    assert_eq!((&volumes[2]["image"]["pullPolicy"], &volumes[3]["downwardAPI"]["defaultMode"]), (&json!("Always"), &json!(420)));
    assert_eq!(volumes[3]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(volumes[4]["projected"]["defaultMode"], 420);
    assert_eq!(volumes[4]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3600);
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "p"}, "spec": {"resources": {"requests": {"storage": "1.00005"}}}});
    let claim = defaulted(Kind::PersistentVolumeClaim, claim)["spec"].clone();
    assert_eq!((&claim["volumeMode"], &claim["resources"]["requests"]["storage"]), (&json!("Filesystem"), &json!("1001m")));
}
