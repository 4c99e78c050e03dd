//! Thresholds, conditions and their period, the order of eviction and its words.

use serde_json::{Value as Json, json};
use std::sync::Arc;

use super::*;
use crate::api::Object;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn seen(signal: Signal, available: u64, capacity: u64) -> Observations {
    BTreeMap::from([(signal, Observation { available, capacity })])
}

#[test]
fn thresholds_are_read_as_the_kubelet_s_flag_and_faults_named() {
    let text = "memory.available<100Mi,nodefs.available<10%,pid.available<0.5%";
    let read: Vec<_> = parse(text).unwrap().into_iter().map(|t| (t.signal, t.value)).collect();
    let expected = [
        (Signal::MemoryAvailable, Value::Amount(100 << 20)),
        (Signal::NodefsAvailable, Value::Percent(10.0)),
        (Signal::PidAvailable, Value::Percent(0.5)),
    ];
    assert_eq!(read, expected);
    assert_eq!(parse("").unwrap(), []);
    for (text, said) in [
        ("memory.available", "write it as"),
        ("memory<1Mi", "cannot be measured; there are memory.available, "),
        ("memory.available<lots", "neither a quantity nor a percentage"),
        ("memory.available<101%", "neither a quantity nor a percentage"),
        ("memory.available<1,memory.available<2", "given twice"),
    ] {
        assert!(parse(text).unwrap_err().contains(said), "{text}");
    }
}

#[test]
fn a_threshold_is_met_below_it_and_memory_comes_first() {
    let defaults = defaults();
    assert!(met(&defaults, &seen(Signal::MemoryAvailable, 100 << 20, 1 << 30)).is_empty(), "at it is not below it");
    assert_eq!(met(&defaults, &seen(Signal::MemoryAvailable, (100 << 20) - 1, 1 << 30)).len(), 1);
    let mut both = seen(Signal::ImagefsAvailable, 149, 1000);
    both.extend(seen(Signal::MemoryAvailable, 0, 1));
    both.extend(seen(Signal::NodefsAvailable, 100, 1000));
    let signals: Vec<_> = met(&defaults, &both).iter().map(|t| t.signal).collect();
    assert_eq!(signals, [Signal::MemoryAvailable, Signal::ImagefsAvailable]);
}

#[test]
fn a_condition_stays_for_the_transition_period_also_across_a_restart() {
    let period = SignedDuration::from_secs(300);
    let low = defaults()[..1].to_vec();
    let mut pressure = Pressure::default();
    assert_eq!(pressure.observe(&low, period, at(1000)), [Condition::MemoryPressure]);
    assert_eq!(pressure.observe(&[], period, at(1299)), [Condition::MemoryPressure]);
    assert_eq!(pressure.observe(&[], period, at(1300)), []);
    let node = Node {
        status: Some(NodeStatus { conditions: Some(node_conditions(None, &[Condition::DiskPressure], at(1))), ..NodeStatus::default() }),
        ..Node::default()
    };
    let mut after = Pressure::of(&node, at(2000));
    assert_eq!(after.observe(&[], period, at(2299)), [Condition::DiskPressure]);
    assert_eq!(after.observe(&[], period, at(100)), [Condition::DiskPressure], "the clock was set back");
    assert_eq!(after.observe(&[], period, at(400)), []);
}

#[test]
fn conditions_taints_and_events_follow() {
    let of = |holds: &[Condition], second| {
        let status = NodeStatus { conditions: Some(node_conditions(None, holds, at(second))), ..NodeStatus::default() };
        let mut node = Node { status: Some(status), ..Node::default() };
        node.metadata.name = Some("n".to_owned());
        node
    };
    let (calm, pressed) = (of(&[], 1), of(&[Condition::DiskPressure], 2));
    assert_eq!(
        taints(&pressed).iter().map(|t| (t.key.as_str(), t.effect.as_str())).collect::<Vec<_>>(),
        [("node.kubernetes.io/disk-pressure", "NoSchedule")]
    );
    assert!(taints(&calm).is_empty() && is_taint("node.kubernetes.io/pid-pressure") && !is_taint("x"));
    let told: Vec<_> = events(Some(&calm), &pressed).into_iter().map(|e| e.message).collect();
    assert_eq!(told, ["Node n status is now: NodeHasDiskPressure"]);
    let kept = node_conditions(pressed.status.as_ref(), &[Condition::DiskPressure], at(9));
    assert_eq!(Some(kept), pressed.status.unwrap().conditions, "what has not changed keeps its times");
}

fn pod(name: &str, resources: Json, more: Json) -> Arc<Object> {
    let mut spec = json!({"containers": [{"name": "c", "resources": resources}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": name, "uid": name}, "spec": spec})).unwrap();
    Arc::new(pod.into())
}

fn using(memory: u64, bytes: u64) -> PodUsage {
    let layer = DiskUsage { bytes, inodes: 1 };
    PodUsage {
        containers: BTreeMap::from([("c".to_owned(), ContainerUsage { memory, layer, ..ContainerUsage::default() })]),
        ..PodUsage::default()
    }
}

fn order(signal: Signal, pods: &[Arc<Object>], usage: &BTreeMap<String, PodUsage>) -> Vec<String> {
    let low = [Threshold { signal, value: Value::Percent(10.0) }];
    let (mut left, mut order) = (pods.to_vec(), Vec::new());
    while let Some(victim) = victim(&low, &seen(signal, 0, 100), &left, usage, false) {
        left.retain(|p| p.uid() != victim.uid);
        order.push(victim.uid);
    }
    order
}

#[test]
fn who_exceeds_requests_goes_first_then_low_priority_then_who_uses_most_above() {
    let pods = [
        pod("guaranteed", json!({"requests": {"memory": "100"}, "limits": {"memory": "100"}}), json!({})),
        pod("within", json!({"requests": {"memory": "1000"}}), json!({})),
        pod("little", json!({}), json!({})),
        pod("much", json!({"requests": {"memory": "10"}}), json!({})),
        pod("important", json!({}), json!({"priority": 5})),
        pod("critical", json!({}), json!({"priorityClassName": "system-node-critical"})),
        pod("unknown", json!({}), json!({})),
    ];
    let usage: BTreeMap<_, _> = [("guaranteed", 100), ("within", 900), ("little", 10), ("much", 60), ("important", 500), ("critical", 900)]
        .map(|(name, memory)| (name.to_owned(), using(memory, 1)))
        .into();
    assert_eq!(order(Signal::MemoryAvailable, &pods, &usage), ["unknown", "much", "little", "important", "guaranteed", "within"]);
}

#[test]
fn disk_is_ranked_by_the_file_system_that_is_short() {
    let pods = [pod("layers", json!({}), json!({})), pod("volumes", json!({}), json!({}))];
    let volumes = PodUsage { volumes: DiskUsage { bytes: 70, inodes: 900 }, ..using(0, 0) };
    let usage = BTreeMap::from([("layers".to_owned(), using(0, 100)), ("volumes".to_owned(), volumes)]);
    assert_eq!(order(Signal::NodefsAvailable, &pods, &usage), ["layers", "volumes"]);
    assert_eq!(order(Signal::NodefsInodesFree, &pods, &usage), ["volumes", "layers"]);
    let low = [Threshold { signal: Signal::NodefsAvailable, value: Value::Percent(10.0) }];
    let apart = victim(&low, &seen(Signal::NodefsAvailable, 0, 100), &pods, &usage, true).unwrap();
    assert_eq!(apart.uid, "volumes", "layers are on a disk of their own");
}

#[test]
fn the_message_is_the_kubelet_s() {
    let usage = BTreeMap::from([("p".to_owned(), using(3 << 20, 5000))]);
    let pods = [pod("p", json!({"requests": {"memory": "1024Ki"}}), json!({}))];
    let low = [Threshold { signal: Signal::MemoryAvailable, value: Value::Amount(100 << 20) }];
    let said = victim(&low, &seen(Signal::MemoryAvailable, 51_200, 1 << 30), &pods, &usage, false).unwrap().message;
    let expected = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Ki. \
        Container c was using 3Mi, request is 1Mi, has larger consumption of memory. ";
    assert_eq!(said, expected);
    let low = [Threshold { signal: Signal::NodefsAvailable, value: Value::Percent(10.0) }];
    let said = victim(&low, &seen(Signal::NodefsAvailable, 7, 20_000), &pods, &usage, false).unwrap().message;
    let expected = "The node was low on resource: ephemeral-storage. Threshold quantity: 2000, available: 7. \
        Container c was using 5000, request is 0, has larger consumption of ephemeral-storage. ";
    assert_eq!(said, expected);
}
