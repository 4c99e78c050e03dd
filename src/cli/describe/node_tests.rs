//! The exact description of a node.

use serde_json::json;

use super::*;
use crate::api::Kind;

const EXPECTED: &str = "\
Name:               n1
Roles:              edge
Labels:             node-role.kubernetes.io/edge=
Annotations:        <none>
CreationTimestamp:  Thu, 01 Jan 2026 11:00:00 +0000
Taints:             node.kubernetes.io/unschedulable:NoSchedule
Unschedulable:      true
Conditions:
  Type    Status  LastHeartbeatTime                 LastTransitionTime                Reason         Message
  ----    ------  -----------------                 ------------------                ------         -------
  Ready   True    Thu, 01 Jan 2026 11:00:00 +0000   Thu, 01 Jan 2026 11:00:00 +0000   KubeletReady   fine
Addresses:
  InternalIP:  10.0.0.1
  Hostname:    n1
Capacity:
  cpu:     2
  memory:  2Gi
  pods:    110
Allocatable:
  cpu:     2
  memory:  1Gi
  pods:    110
System Info:
  Machine ID:                 m
  System UUID:                
  Boot ID:                    b
  Kernel Version:             6.1
  OS Image:                   Debian
  Operating System:           linux
  Architecture:               amd64
  Container Runtime Version:  containerd://1.6.20
  Kubelet Version:            v0.1.0+minik8s
Non-terminated Pods:          (2 in total)
  Namespace                   Name     CPU Requests  CPU Limits  Memory Requests  Memory Limits  Age
  ---------                   ----     ------------  ----------  ---------------  -------------  ---
  default                     big      500m (25%)    1 (50%)     256Mi (25%)      512Mi (50%)    60s
  default                     small    0 (0%)        0 (0%)      0 (0%)           0 (0%)         60s
Allocated resources:
  (Total limits may be over 100 percent, i.e., overcommitted.)
  Resource           Requests     Limits
  --------           --------     ------
  cpu                500m (25%)   1 (50%)
  memory             256Mi (25%)  512Mi (50%)
  ephemeral-storage  0 (0%)       0 (0%)
Events:
  Type    Reason              Age   From     Message
  ----    ------              ----  ----     -------
  Normal  NodeNotSchedulable  60s   kubelet  Node n1 status is now: NodeNotSchedulable
";

#[test]
fn a_node_as_kubectl_describes_it() {
    let node = json!({
        "metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/edge": ""}, "creationTimestamp": "2026-01-01T11:00:00Z"},
        "spec": {"unschedulable": true, "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]},
        "status": {"capacity": {"cpu": "2", "memory": "2Gi", "pods": "110"}, "allocatable": {"cpu": "2", "memory": "1Gi", "pods": "110"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "n1"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fine",
                "lastHeartbeatTime": "2026-01-01T11:00:00Z", "lastTransitionTime": "2026-01-01T11:00:00Z"}],
            "nodeInfo": {"architecture": "amd64", "bootID": "b", "containerRuntimeVersion": "containerd://1.6.20", "kernelVersion": "6.1",
                "kubeProxyVersion": "", "kubeletVersion": "v0.1.0+minik8s", "machineID": "m", "operatingSystem": "linux", "osImage": "Debian", "systemUUID": ""}},
    });
    let pod = |name: &str, phase: &str, resources: serde_json::Value| -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T11:59:00Z"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "resources": resources}]}, "status": {"phase": phase}}))
        .unwrap()
    };
    let pods = [
        pod("big", "Running", json!({"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}})),
        pod("small", "Pending", json!({})),
        pod("done", "Succeeded", json!({"requests": {"cpu": "1"}})),
    ];
    let event: Event =
        serde_json::from_value(json!({"metadata": {}, "involvedObject": {}, "type": "Normal", "reason": "NodeNotSchedulable",
        "message": "Node n1 status is now: NodeNotSchedulable", "source": {"component": "kubelet"},
        "firstTimestamp": "2026-01-01T11:59:00Z", "lastTimestamp": "2026-01-01T11:59:00Z"}))
        .unwrap();
    let object = Object::from_json(Kind::Node, node.to_string().as_bytes()).unwrap();
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let about = About { now, zone: TimeZone::UTC, events: Some(&[event]), pods: &pods, faults: &[] };
    let text = describe(&object, &about);
    assert_eq!(text, EXPECTED, "{text}");
}
