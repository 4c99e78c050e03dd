//! What a Node is made of, and that making it again changes nothing.

use super::*;

fn host() -> HostFacts {
    HostFacts { hostname: "edge-1".into(), ..HostFacts::for_tests() }
}

fn settings() -> Settings {
    Settings { node_name: "edge-1".into(), labels: BTreeMap::from([("disk".into(), "ssd".into())]), ..Settings::default() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn up() -> Presence {
    Presence::Up("containerd://1".into())
}

fn made(manifest: Option<&Node>, previous: Option<&Node>, runtime: &Presence, second: i64) -> Node {
    let (settings, host) = (settings(), host());
    let inputs = Inputs { settings: &settings, host: &host, manifest, previous, addresses: &[], runtime, pressure: None, now: at(second) };
    build(&inputs, &follow(Memory::of(None, previous).unwrap(), &inputs, false).effective())
}

fn build_at(manifest: Option<&Node>, previous: Option<&Node>, second: i64) -> Node {
    made(manifest, previous, &up(), second)
}

fn tainted(value: &str) -> Node {
    let taint = Taint { key: "k".into(), value: Some(value.into()), effect: "NoExecute".into(), time_added: None };
    Node { spec: Some(NodeSpec { taints: Some(vec![taint]), unschedulable: Some(true), ..NodeSpec::default() }), ..Node::default() }
}

#[test]
fn labels_come_from_agent_flags_and_manifest_in_this_order() {
    let mut manifest = Node::default();
    manifest.metadata.labels = Some(BTreeMap::from([("disk".into(), "nvme".into()), ("zone".into(), "a".into())]));
    let labels = build_at(Some(&manifest), None, 1).metadata.labels.unwrap();
    assert_eq!(labels["disk"], "nvme");
    assert_eq!(labels["zone"], "a");
    assert_eq!(labels["kubernetes.io/hostname"], "edge-1");
    assert_eq!(labels["kubernetes.io/arch"], "amd64");
}

#[test]
fn building_again_changes_nothing_and_taints_keep_their_time() {
    let first = build_at(Some(&tainted("x")), None, 1);
    assert_eq!(build_at(Some(&tainted("x")), Some(&first), 99), first);
    let taints = first.spec.clone().unwrap().taints.unwrap();
    assert_eq!(taints.iter().map(|t| t.key.as_str()).collect::<Vec<_>>(), ["k", UNSCHEDULABLE]);
    let changed = build_at(Some(&tainted("y")), Some(&first), 99).spec.unwrap().taints.unwrap();
    assert_eq!(changed[0].time_added, Some(Time(at(99))));
}

#[test]
fn allocatable_keeps_back_what_the_kubelet_keeps_back() {
    let status = build_at(None, None, 1).status.unwrap();
    assert_eq!(status.capacity.unwrap()["memory"].0, "1048576Ki");
    assert_eq!(status.allocatable.unwrap()["memory"].0, "946176Ki");
}

#[test]
fn it_is_ready_while_the_runtime_answers() {
    let ready = |node: &Node| {
        let ready = node.status.as_ref().unwrap().conditions.iter().flatten().find(|c| c.type_ == "Ready").unwrap().clone();
        let since = ready.last_transition_time.unwrap().0.as_second();
        format!("{} {} {}: {}", since, ready.status, ready.reason.unwrap(), ready.message.unwrap())
    };
    let version = |node: &Node| node.status.as_ref().unwrap().node_info.as_ref().unwrap().container_runtime_version.clone();
    let started = made(None, None, &Presence::Awaited, 1);
    assert_eq!(ready(&started), "1 False KubeletNotReady: container runtime status check may not have completed yet");
    let fine = made(None, Some(&started), &up(), 5);
    assert_eq!(
        (ready(&fine).as_str(), version(&fine).as_str()),
        ("5 True KubeletReady: minik8s is posting ready status", "containerd://1")
    );
    assert_eq!(made(None, Some(&fine), &up(), 9), fine);
    let down = made(None, Some(&fine), &Presence::Down, 40);
    assert_eq!((ready(&down).as_str(), version(&down).as_str()), ("40 False KubeletNotReady: container runtime is down", ""));
    assert_eq!(made(None, Some(&down), &Presence::Down, 99), down);
    assert_eq!(down.spec, fine.spec, "no taint: what runs is not to go");
    let restarted = made(None, Some(&down), &Presence::Awaited, 100);
    assert_eq!(ready(&restarted), "40 False KubeletNotReady: container runtime status check may not have completed yet");
    assert!(ready(&made(None, Some(&restarted), &up(), 101)).starts_with("101 True"));
}

#[test]
fn a_change_of_schedulability_is_told_once() {
    let (open, closed) = (build_at(None, None, 1), build_at(Some(&tainted("x")), None, 1));
    let told = event(Some(&open), &closed).unwrap();
    assert_eq!((told.reason.as_str(), told.message.as_str()), ("NodeNotSchedulable", "Node edge-1 status is now: NodeNotSchedulable"));
    assert_eq!(event(Some(&closed), &open).unwrap().reason, "NodeSchedulable");
    assert_eq!((event(Some(&open), &open), event(None, &closed)), (None, None));
}

#[test]
fn a_manifest_that_cannot_be_read_says_what_it_said() {
    let (settings, host, first) = (settings(), host(), build_at(Some(&tainted("x")), None, 1));
    let inputs = Inputs {
        settings: &settings,
        host: &host,
        manifest: None,
        previous: Some(&first),
        addresses: &[],
        runtime: &up(),
        pressure: None,
        now: at(9),
    };
    let memory = Memory::of(None, Some(&first)).unwrap();
    assert_eq!(build(&inputs, &follow(memory.clone(), &inputs, true).effective()), first);
    assert_eq!(build(&inputs, &follow(memory, &inputs, false).effective()).spec.unwrap(), NodeSpec::default());
}

#[test]
fn pressure_is_a_condition_and_a_taint_that_no_manifest_or_edit_has_a_say_in() {
    let (settings, host, calm) = (settings(), host(), build_at(None, None, 1));
    let under = |previous: &Node, holds: Option<&Conditions>, second| {
        let inputs = Inputs {
            settings: &settings,
            host: &host,
            manifest: None,
            previous: Some(previous),
            addresses: &[],
            runtime: &up(),
            pressure: holds,
            now: at(second),
        };
        build(&inputs, &follow(Memory::of(None, Some(previous)).unwrap(), &inputs, false).effective())
    };
    let keys = |node: &Node| node.spec.iter().flat_map(|s| s.taints.iter().flatten()).map(|t| t.key.clone()).collect::<Vec<_>>();
    let pressed = under(&calm, Some(&vec![pressure::Condition::DiskPressure]), 2);
    assert_eq!(keys(&pressed), ["node.kubernetes.io/disk-pressure"]);
    assert_eq!(under(&pressed, None, 3), pressed, "not measured yet: as it was");
    assert_eq!(keys(&under(&pressed, Some(&Vec::new()), 4)), Vec::<String>::new());
    let kinds: Vec<_> = calm.status.unwrap().conditions.unwrap().into_iter().map(|c| format!("{}={}", c.type_, c.status)).collect();
    assert_eq!(kinds, ["MemoryPressure=False", "DiskPressure=False", "PIDPressure=False", "Ready=True"]);
    let wish =
        super::super::node_edits::Wish { untaint: vec![("node.kubernetes.io/disk-pressure".into(), String::new())], ..Default::default() };
    let refused = Memory::of(None, Some(&pressed)).unwrap().with(&wish, "edge-1").unwrap_err();
    assert!(refused.contains("follows from the node's conditions"), "{refused}");
}

#[test]
fn a_resource_with_devices_has_as_many_as_there_are_unless_fewer_are_declared() {
    let made = |devices: &str, status: serde_json::Value| {
        let meta = serde_json::json!({"name": "edge-1", "annotations": {"minik8s.io/devices": devices}});
        let manifest: Node = serde_json::from_value(serde_json::json!({"metadata": meta, "status": status})).unwrap();
        let status = build_at(Some(&manifest), None, 1).status.unwrap();
        let of = |list: Option<BTreeMap<String, Quantity>>| list.unwrap().remove("a.com/x").map(|q| q.0);
        (of(status.capacity), of(status.allocatable))
    };
    let both = |capacity: &str, allocatable: &str| (Some(capacity.to_owned()), Some(allocatable.to_owned()));
    let devices = "a.com/x: [/dev/a, {devices: [/dev/b], copies: 2}]";
    assert_eq!(made(devices, serde_json::json!({})), both("3", "3"));
    assert_eq!(made(devices, serde_json::json!({"capacity": {"a.com/x": "9"}})), both("3", "3"), "no more than there are");
    assert_eq!(made(devices, serde_json::json!({"allocatable": {"a.com/x": "1"}})), both("1", "1"));
    assert_eq!(made(devices, serde_json::json!({"capacity": {"a.com/x": "3"}, "allocatable": {"a.com/x": "2"}})), both("3", "2"));
    assert_eq!(made("a.com/x: []", serde_json::json!({"capacity": {"a.com/x": "1"}})), both("0", "0"));
    assert_eq!(made("b.com/y: [/dev/a]", serde_json::json!({"capacity": {"a.com/x": "1"}})), both("1", "1"), "counted only");
}

#[test]
fn huge_pages_are_a_resource_of_each_size_and_no_other_memory() {
    let host = HostFacts { hugepages: BTreeMap::from([(2 << 20, 8), (1 << 30, 0)]), ..host() };
    let inputs = Inputs {
        settings: &settings(),
        host: &host,
        manifest: None,
        previous: None,
        addresses: &[],
        runtime: &up(),
        pressure: None,
        now: at(1),
    };
    let status = build(&inputs, &declared(&inputs)).status.unwrap();
    for list in [status.capacity.as_ref().unwrap(), status.allocatable.as_ref().unwrap()] {
        assert_eq!((list["hugepages-2Mi"].0.as_str(), list["hugepages-1Gi"].0.as_str()), ("16Mi", "0"));
    }
    let memory = |list: &Option<BTreeMap<String, Quantity>>| quantity::whole(&list.as_ref().unwrap()["memory"]).unwrap();
    assert_eq!(memory(&status.capacity) - memory(&status.allocatable), (100 + 16) << 20);
}

#[test]
fn extended_resources_are_those_the_manifest_declares_and_nothing_else_of_its_status_counts() {
    let status =
        serde_json::json!({"capacity": {"nvidia.com/gpu": "2", "cpu": "900", "example.com/a": "4"}, "allocatable": {"example.com/a": "3"}});
    let manifest: Node = serde_json::from_value(serde_json::json!({"metadata": {"name": "edge-1"}, "status": status})).unwrap();
    let status = build_at(Some(&manifest), None, 1).status.unwrap();
    let (capacity, allocatable) = (status.capacity.unwrap(), status.allocatable.unwrap());
    let of = |list: &BTreeMap<String, Quantity>, name: &str| list[name].0.clone();
    assert_eq!([of(&capacity, "nvidia.com/gpu"), of(&allocatable, "nvidia.com/gpu")], ["2", "2"]);
    assert_eq!([of(&capacity, "example.com/a"), of(&allocatable, "example.com/a")], ["4", "3"]);
    assert_ne!(of(&capacity, "cpu"), "900");
    let later = build_at(Some(&Node::default()), Some(&build_at(Some(&manifest), None, 1)), 2).status.unwrap();
    assert!(!later.capacity.unwrap().contains_key("nvidia.com/gpu"), "what is no longer declared is gone");
}
