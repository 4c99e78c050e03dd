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

fn made(manifest: Option<&Node>, previous: Option<&Node>, runtime: &str, second: i64) -> Node {
    let (settings, host) = (settings(), host());
    let inputs = Inputs { settings: &settings, host: &host, manifest, previous, addresses: &[], runtime, now: at(second) };
    build(&inputs, &follow(Memory::of(None, previous).unwrap(), &inputs, false).effective())
}

fn build_at(manifest: Option<&Node>, previous: Option<&Node>, second: i64) -> Node {
    made(manifest, previous, "containerd://1", second)
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
fn it_is_ready_once_the_runtime_has_answered() {
    let ready = |node: &Node| node.status.as_ref().unwrap().conditions.as_ref().unwrap()[0].clone();
    let first = made(None, None, "", 1);
    assert_eq!((ready(&first).status.as_str(), ready(&first).reason.as_deref()), ("False", Some("KubeletNotReady")));
    let second = made(None, Some(&first), "containerd://1", 5);
    assert_eq!((ready(&second).status.as_str(), ready(&second).last_transition_time), ("True", Some(Time(at(5)))));
    assert_eq!(made(None, Some(&second), "containerd://1", 9), second);
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
        runtime: "containerd://1",
        now: at(9),
    };
    let memory = Memory::of(None, Some(&first)).unwrap();
    assert_eq!(build(&inputs, &follow(memory.clone(), &inputs, true).effective()), first);
    assert_eq!(build(&inputs, &follow(memory, &inputs, false).effective()).spec.unwrap(), NodeSpec::default());
}
