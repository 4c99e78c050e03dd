//! What admission says of pods, nodes, taints, resources and ports.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use serde_json::{Value, json};

use super::*;
use crate::api::Object;
use std::sync::Arc;

fn node(value: Value) -> Node {
    serde_json::from_value(value).unwrap()
}

fn spec(mut value: Value) -> PodSpec {
    value["containers"] = json!([]);
    serde_json::from_value(value).unwrap()
}

fn pod(uid: &str, spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": uid, "uid": uid}, "spec": spec})).unwrap()
}

fn required(term: Value) -> PodSpec {
    spec(json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}))
}

#[test]
fn affinity_operators() {
    let n = node(json!({"metadata": {"name": "n1", "labels": {"disk": "ssd", "gen": "7", "word": "x"}}}));
    let table = [
        (json!({"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}]}), true),
        (json!({"matchExpressions": [{"key": "disk", "operator": "In", "values": ["hdd"]}]}), false),
        (json!({"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["ssd"]}]}), false),
        (json!({"matchExpressions": [{"key": "gone", "operator": "NotIn", "values": ["ssd"]}]}), true),
        (json!({"matchExpressions": [{"key": "gone", "operator": "DoesNotExist"}]}), true),
        (json!({"matchExpressions": [{"key": "gone", "operator": "Exists"}]}), false),
        (json!({"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["6"]}]}), true),
        (json!({"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["7"]}]}), false),
        (json!({"matchExpressions": [{"key": "gen", "operator": "Lt", "values": ["8"]}]}), true),
        (json!({"matchExpressions": [{"key": "word", "operator": "Lt", "values": ["8"]}]}), false),
        (json!({"matchExpressions": [{"key": "gone", "operator": "Lt", "values": ["8"]}]}), false),
        (json!({"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["1", "2"]}]}), false),
        (json!({"matchExpressions": [{"key": "disk", "operator": "Near", "values": ["ssd"]}]}), false),
        (json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}), true),
        (json!({"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n1"]}]}), false),
        (json!({"matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["n1"]}]}), false),
        (json!({}), false),
        (
            json!({"matchExpressions": [{"key": "disk", "operator": "Exists"}],
                   "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}),
            false,
        ),
    ];
    for (term, wanted) in table {
        let verdict = eligible(&required(term.clone()), &n);
        assert_eq!((verdict.should_run, verdict.should_continue), (wanted, wanted), "{term}: {:?}", verdict.reasons);
    }
}

#[test]
fn terms_are_ored_and_the_selector_is_anded() {
    let n = node(json!({"metadata": {"name": "n1", "labels": {"a": "1"}}}));
    let terms =
        json!([{"matchExpressions": [{"key": "b", "operator": "Exists"}]}, {"matchExpressions": [{"key": "a", "operator": "Exists"}]}]);
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    assert!(eligible(&spec(json!({"affinity": affinity})), &n).should_run);
    let both = eligible(&spec(json!({"affinity": affinity, "nodeSelector": {"a": "2"}})), &n);
    assert_eq!(both.reasons, ["node(s) didn't match Pod's node affinity/selector (a=2: the node has a=1)"]);
    assert!(!eligible(&spec(json!({"nodeName": "n2"})), &n).should_run);
    assert!(eligible(&spec(json!({"nodeName": "n1"})), &n).should_run);
}

#[test]
fn taints_and_what_they_do_to_new_and_running_pods() {
    let tainted =
        |effect: &str| node(json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "k", "value": "v", "effect": effect}]}}));
    let tolerant = |t: Value| spec(json!({"tolerations": [t]}));
    let table = [
        ("NoSchedule", spec(json!({})), (false, true)),
        ("NoExecute", spec(json!({})), (false, false)),
        ("PreferNoSchedule", spec(json!({})), (true, true)),
        ("NoSchedule", tolerant(json!({"key": "k", "value": "v"})), (true, true)),
        ("NoSchedule", tolerant(json!({"key": "k", "operator": "Equal", "value": "w"})), (false, true)),
        ("NoExecute", tolerant(json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"})), (false, false)),
        ("NoExecute", tolerant(json!({"operator": "Exists"})), (true, true)),
        ("NoExecute", tolerant(json!({"operator": "Exists", "effect": "NoExecute"})), (true, true)),
        ("NoExecute", tolerant(json!({"key": "k", "operator": "Gt", "value": "v"})), (false, false)),
    ];
    for (effect, spec, wanted) in table {
        let verdict = eligible(&spec, &tainted(effect));
        assert_eq!((verdict.should_run, verdict.should_continue), wanted, "{effect} {:?}", spec.tolerations);
    }
    assert_eq!(eligible(&spec(json!({})), &tainted("NoSchedule")).reasons, ["node(s) had untolerated taint {k: v}"]);
}

#[test]
fn a_cordoned_node_takes_daemon_pods_only() {
    let n = node(json!({"metadata": {"name": "n"}, "spec": {"unschedulable": true,
        "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}}));
    let mut s = spec(json!({}));
    let verdict = eligible(&s, &n);
    assert_eq!((verdict.should_continue, verdict.reasons), (true, vec!["node(s) were unschedulable".to_owned()]));
    daemon_tolerations(&mut s);
    assert!(eligible(&s, &n).should_run);
    assert_eq!(s.tolerations.as_ref().map(Vec::len), Some(6));
    s.host_network = Some(true);
    daemon_tolerations(&mut s);
    assert_eq!(s.tolerations.as_ref().map(Vec::len), Some(7));
}

#[test]
fn fitting() {
    let n = node(json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "2"}}}));
    let ask = |uid: &str, cpu: &str, extra: Value| {
        pod(uid, json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}, "ports": extra}]}))
    };
    let bound = |p: Pod| Arc::new(Object::from(p));
    let a = ask("a", "1500m", json!([{"containerPort": 80, "hostPort": 80}]));
    assert_eq!(fits(&a, &[bound(a.clone())], &n), Ok(()), "itself does not count");
    assert_eq!(fits(&ask("b", "1", json!([])), &[bound(a.clone())], &n), Err(vec!["Insufficient cpu".to_owned()]));
    let clash = "node(s) didn't have free ports for the requested pod ports".to_owned();
    let port = |v: Value| fits(&ask("b", "1m", json!([v])), &[bound(a.clone())], &n);
    assert_eq!(port(json!({"containerPort": 1, "hostPort": 80})), Err(vec![clash.clone()]));
    assert_eq!(port(json!({"containerPort": 1, "hostPort": 80, "hostIP": "127.0.0.1"})), Err(vec![clash]));
    assert_eq!(port(json!({"containerPort": 1, "hostPort": 80, "protocol": "UDP"})), Ok(()));
    assert_eq!(port(json!({"containerPort": 80})), Ok(()));
    let gpu = pod("g", json!({"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}));
    let reasons = fits(&gpu, &[bound(a.clone()), bound(ask("b", "1m", json!([])))], &n).unwrap_err();
    assert_eq!(unavailable(&reasons), "0/1 nodes are available: 1 Insufficient nvidia.com/gpu, 1 Too many pods.");
}

#[test]
fn every_resource_counts_and_a_whole_pod_s_own_request_replaces_its_containers() {
    let allocatable = json!({"cpu": "1", "memory": "1Gi", "pods": "9", "ephemeral-storage": "1Gi", "hugepages-2Mi": "4Mi", "a.com/x": "2"});
    let n = node(json!({"metadata": {"name": "n"}, "status": {"allocatable": allocatable}}));
    let ask = |limits: Value| pod("p", json!({"containers": [{"name": "c", "resources": {"limits": limits}}]}));
    let lacks = |p: &Pod| fits(p, &[], &n).err().unwrap_or_default();
    for (name, most, more) in
        [("ephemeral-storage", "1Gi", "1025Mi"), ("hugepages-2Mi", "4Mi", "6Mi"), ("a.com/x", "2", "3"), ("memory", "1Gi", "1025Mi")]
    {
        assert_eq!(lacks(&ask(json!({name: most}))), Vec::<String>::new());
        assert_eq!(lacks(&ask(json!({name: more}))), [format!("Insufficient {name}")]);
    }
    assert_eq!(lacks(&ask(json!({"a.com/none": "0"}))), Vec::<String>::new(), "nothing of what is not there");
    let whole = |own: Value| {
        let container = json!({"name": "c", "resources": {"requests": {"cpu": "800m"}, "limits": {"a.com/x": "3"}}});
        lacks(&pod("p", json!({"resources": {"requests": own}, "containers": [container]})))
    };
    assert_eq!(whole(json!({"cpu": "2"})), ["Insufficient a.com/x", "Insufficient cpu"]);
    assert_eq!(whole(json!({"memory": "1Mi"})), ["Insufficient a.com/x"], "devices are the containers' own");
}

#[test]
fn there_is_no_more_of_a_resource_than_it_has_devices() {
    let ask = |uid: &str| pod(uid, json!({"containers": [{"name": "c", "resources": {"limits": {"a.com/x": "1", "cpu": "64"}}}]}));
    let meta = json!({"name": "n", "annotations": {"minik8s.io/devices": "a.com/x: [/dev/a]"}});
    let bound = [Arc::new(Object::from(ask("a")))];
    let from_a_file = node(json!({"metadata": meta}));
    assert_eq!(fits(&ask("b"), &[], &from_a_file), Ok(()), "its cpu is not known");
    assert_eq!(fits(&ask("b"), &bound, &from_a_file), Err(vec!["Insufficient a.com/x".to_owned()]));
    let older_status = node(json!({"metadata": meta, "status": {"allocatable": {"a.com/x": "5", "cpu": "999"}}}));
    assert_eq!(fits(&ask("b"), &bound, &older_status), Err(vec!["Insufficient a.com/x".to_owned()]));
}

#[test]
fn no_execute_timers_keep_their_start() {
    let at = |s: i64| Timestamp::from_second(1_000_000 + s).unwrap();
    let n =
        node(json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "k", "effect": "NoExecute", "timeAdded": at(0).to_string()}]}}));
    let tolerating = |seconds: Value| {
        let mut toleration = json!({"key": "k", "operator": "Exists", "effect": "NoExecute"});
        if !seconds.is_null() {
            toleration["tolerationSeconds"] = seconds;
        }
        pod("p", json!({"containers": [], "tolerations": [toleration]}))
    };
    assert_eq!(no_execute(&tolerating(json!(null)), &n, at(5)), Eviction::Keep);
    assert_eq!(no_execute(&tolerating(json!(60)), &n, at(5)), Eviction::At(at(60)));
    assert_eq!(no_execute(&tolerating(json!(60)), &n, at(60)), Eviction::Now);
    assert_eq!(no_execute(&tolerating(json!(0)), &n, at(0)), Eviction::Now);
    assert_eq!(no_execute(&tolerating(json!(-1)), &n, at(0)), Eviction::Now);
    assert_eq!(no_execute(&pod("p", json!({"containers": []})), &n, at(0)), Eviction::Now);
    let mut late = tolerating(json!(60));
    late.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(30)));
    assert_eq!(no_execute(&late, &n, at(31)), Eviction::At(at(90)));
    assert_eq!(no_execute(&late, &node(json!({"metadata": {"name": "n"}})), at(31)), Eviction::Keep);
}

#[test]
fn under_pressure_only_what_may_comes_in() {
    let under = |kinds: &[&str]| {
        let conditions: Vec<_> = kinds.iter().map(|k| json!({"type": k, "status": "True"})).collect();
        node(json!({"metadata": {"name": "n"}, "status": {"conditions": conditions}}))
    };
    let best_effort = || pod("p", json!({"containers": [{"name": "c"}]}));
    let burstable = pod("p", json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1m"}}}]}));
    let mut tolerant = best_effort();
    daemon_tolerations(tolerant.spec.as_mut().unwrap());
    let said = |kinds: &[&str]| Some(format!("The node had condition: [{}]. ", kinds.join(" ")));
    for (pod, kinds, critical, wanted) in [
        (best_effort(), &[][..], false, None),
        (best_effort(), &["MemoryPressure"], false, said(&["MemoryPressure"])),
        (burstable.clone(), &["MemoryPressure"], false, None),
        (tolerant.clone(), &["MemoryPressure"], false, None),
        (tolerant, &["MemoryPressure", "DiskPressure"], false, said(&["MemoryPressure", "DiskPressure"])),
        (burstable, &["DiskPressure"], false, said(&["DiskPressure"])),
        (best_effort(), &["DiskPressure"], true, None),
    ] {
        assert_eq!(pressure(&pod, &under(kinds), critical), wanted, "{kinds:?}");
    }
}
