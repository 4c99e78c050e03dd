//! Exact descriptions.

use serde_json::{Value, json};

use super::*;
use crate::api::Kind;

fn text(kind: Kind, value: Value, events: &[Event], pods: &[Pod], faults: &[String]) -> String {
    let object = Object::from_json(kind, value.to_string().as_bytes()).unwrap();
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    describe(&object, &About { now, zone: TimeZone::UTC, events: Some(events), pods, faults })
}

/// A pod with most of what a description can show.
fn full_pod() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u", "labels": {"app": "web", "tier": "a"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "web", "uid": "o", "controller": true}]},
        "spec": {"nodeName": "n1",
            "containers": [{"name": "c", "image": "nginx", "command": ["sh", "-c"], "args": ["echo hi\nsleep 1"],
                "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}],
                "resources": {"limits": {"memory": "64Mi", "cpu": "1"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
                "env": [{"name": "A", "value": "1"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "volumeMounts": [{"name": "logs", "mountPath": "/var/log", "readOnly": true}]}],
            "volumes": [{"name": "logs", "hostPath": {"path": "/var/log", "type": ""}}],
            "tolerations": [{"key": "b", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}, {"key": "a", "value": "1"}]},
        "status": {"phase": "Running", "hostIP": "1.2.3.4", "podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}], "qosClass": "Burstable",
            "startTime": "2026-01-01T11:00:00Z", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "c", "image": "nginx", "imageID": "sha256:1", "containerID": "containerd://x", "ready": true, "restartCount": 1,
                "state": {"running": {"startedAt": "2026-01-01T11:00:01Z"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": "2026-01-01T10:00:00Z", "finishedAt": "2026-01-01T11:00:00Z"}}}]},
    })
}

#[test]
fn a_pod_as_kubectl_describes_it() {
    let event: Event =
        serde_json::from_value(json!({"metadata": {}, "involvedObject": {}, "type": "Normal", "reason": "Started", "count": 2,
        "message": "Started container c", "source": {"component": "kubelet"}, "firstTimestamp": "2026-01-01T11:00:00Z",
        "lastTimestamp": "2026-01-01T11:59:55Z"}))
        .unwrap();
    let expected = "\
Name:         web
Namespace:    default
Node:         n1/1.2.3.4
Start Time:   Thu, 01 Jan 2026 11:00:00 +0000
Labels:       app=web
              tier=a
Annotations:  <none>
Status:       Running
IP:           10.0.0.2
IPs:
  IP:           10.0.0.2
Controlled By:  DaemonSet/web
Containers:
  c:
    Container ID:  containerd://x
    Image:         nginx
    Image ID:      sha256:1
    Port:          80/TCP (http)
    Host Port:     0/TCP (http)
    Command:
      sh
      -c
    Args:
      echo hi
      sleep 1
    State:          Running
      Started:      Thu, 01 Jan 2026 11:00:01 +0000
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
      Started:      Thu, 01 Jan 2026 10:00:00 +0000
      Finished:     Thu, 01 Jan 2026 11:00:00 +0000
    Ready:          True
    Restart Count:  1
    Limits:
      cpu:     1
      memory:  64Mi
    Liveness:  http-get http://:80/ delay=0s timeout=1s period=10s #success=1 #failure=3
    Environment:
      A:     1
      NODE:  n1 (v1:spec.nodeName)
      K:     <set to the key 'k' in secret 's'>  Optional: false
    Mounts:
      /var/log from logs (ro)
Conditions:
  Type    Status
  Ready   True 
Volumes:
  logs:
    Type:          HostPath (bare host directory volume)
    Path:          /var/log
    HostPathType:  
QoS Class:         Burstable
Node-Selectors:    <none>
Tolerations:       a=1
                   b:NoExecute op=Exists for 300s
Events:
  Type    Reason   Age               From     Message
  ----    ------   ----              ----     -------
  Normal  Started  5s (x2 over 60m)  kubelet  Started container c
";
    assert_eq!(text(Kind::Pod, full_pod(), &[event], &[], &[]), expected);
}

#[test]
fn a_job_says_why_it_failed_or_is_not_admitted_and_what_is_wrong_in_its_file() {
    let job = json!({
        "metadata": {"name": "pi", "namespace": "default", "annotations": {"minik8s.io/not-admitted": "node(s) had untolerated taint {gpu: }"}},
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
            "selector": {"matchLabels": {"controller-uid": "u"}},
            "template": {"metadata": {"labels": {"job-name": "pi"}}, "spec": {"containers": [{"name": "pi", "image": "bc"}]}}},
        "status": {"failed": 1, "startTime": "2026-01-01T11:00:00Z",
            "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]},
    });
    let expected = "\
Name:             pi
Namespace:        default
Selector:         controller-uid=u
Labels:           <none>
Annotations:      <none>
Not Admitted:     node(s) had untolerated taint {gpu: }
Parallelism:      1
Completions:      1
Completion Mode:  NonIndexed
Suspend:          false
Backoff Limit:    6
Start Time:       Thu, 01 Jan 2026 11:00:00 +0000
Pods Statuses:    0 Active / 0 Succeeded / 1 Failed
Condition:        Failed (BackoffLimitExceeded: too often)
Pod Template:
  Labels:  job-name=pi
  Containers:
   pi:
    Image:         bc
    Port:          <none>
    Host Port:     <none>
    Environment:   <none>
    Mounts:        <none>
  Volumes:         <none>
  Node-Selectors:  <none>
  Tolerations:     <none>
Manifest Faults:
  pi.yaml:3:1: error: bad
Events:  <none>
";
    assert_eq!(text(Kind::Job, job, &[], &[], &["pi.yaml:3:1: error: bad".to_owned()]), expected);
}

#[test]
fn a_cron_job_a_daemon_set_and_what_they_own() {
    let template = json!({"spec": {"containers": []}});
    let cron = json!({"metadata": {"name": "hello", "namespace": "default"},
        "spec": {"schedule": "*/1 * * * *", "suspend": false, "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": {"template": template}}},
        "status": {"active": [{"name": "hello-1"}, {"name": "hello-2"}]}});
    let described = text(Kind::CronJob, cron, &[], &[], &[]);
    assert!(described.starts_with("Name:                          hello\n"), "{described}");
    for line in [
        "Schedule:                      */1 * * * *\n",
        "Suspend:                       False\n",
        "Time Zone:                     <unset>\n",
        "Starting Deadline Seconds:     <unset>\n",
        "Active Jobs:         hello-1, hello-2\n",
    ] {
        assert!(described.contains(line), "{line}{described}");
    }
    let set = json!({"metadata": {"name": "d", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
        "status": {"desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1}});
    let pod: Pod = serde_json::from_value(json!({"metadata": {}, "status": {"phase": "Running"}})).unwrap();
    let described = text(Kind::DaemonSet, set, &[], &[pod], &[]);
    assert!(described.contains("Desired Number of Nodes Scheduled: 1\n"), "{described}");
    assert!(described.contains("Pods Status:  1 Running / 0 Waiting / 0 Succeeded / 0 Failed\n"), "{described}");
}

#[test]
fn a_secret_never_shows_its_values() {
    let applied = r#"{"apiVersion":"v1","data":{"password":"c2VjcmV0"},"kind":"Secret"}"#;
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": applied});
    let meta = json!({"name": "s", "namespace": "default", "annotations": annotations});
    let secret = json!({"metadata": meta, "type": "Opaque", "data": {"password": "c2VjcmV0"}});
    let expected = "\
Name:         s
Namespace:    default
Labels:       <none>
Annotations:  <none>

Type:  Opaque

Data
====
password:  6 bytes
";
    assert_eq!(text(Kind::Secret, secret, &[], &[], &[]), expected);
}
