//! SEMANTICS.md §5 row by row: who may run here, minReadySeconds, revisions and going back, events; and what must always hold.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::ControllerRevision;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

use super::rollback::{CHANGE_CAUSE, matches, target, template};
use super::*;
use crate::controllers::world::{World, object, seconds};

/// A world with the DaemonSet `d`, its one container of the image v1.
fn world(spec: Value, pod: Value) -> (World, Key) {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let mut whole = json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "v1"}]}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    whole["template"]["spec"].as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
    let meta = json!({"name": "d", "namespace": "default", "uid": "ds", "generation": 1, "creationTimestamp": world.now.to_string(),
        "annotations": {CHANGE_CAUSE: "first", "minik8s.io/source": "d.yaml#0"}});
    let key = world.put(object(Kind::DaemonSet, json!({"metadata": meta, "spec": whole})));
    (world, key)
}

fn ds(world: &World, key: &Key) -> DaemonSet {
    world.objects[key].as_daemon_set().unwrap().clone()
}

fn image(world: &mut World, key: &Key, image: &str) {
    let mut ds = ds(world, key);
    ds.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
    ds.metadata.generation = ds.metadata.generation.map(|g| g + 1);
    world.put(ds.into());
}

fn revisions(world: &World) -> Vec<ControllerRevision> {
    let mut all: Vec<_> = world.of_kind(Kind::ControllerRevision).iter().map(|o| o.as_controller_revision().unwrap().clone()).collect();
    all.sort_by_key(|r| r.revision);
    all
}

fn only(world: &World) -> String {
    let all = world.active();
    assert_eq!(all.len(), 1);
    all[0].metadata.name.clone().unwrap()
}

/// (available, unavailable, ready).
fn counts(world: &World, key: &Key) -> (Option<i32>, Option<i32>, i32) {
    let status = ds(world, key).status.unwrap();
    (status.number_available, status.number_unavailable, status.number_ready)
}

#[test]
fn who_may_run_and_who_may_go_on() {
    let taint = |effect: &str| json!({"taints": [{"key": "k", "effect": effect}]});
    let tolerates = json!({"tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}]});
    // (pod, node's spec, starts, goes on)
    let cases = [
        (json!({"nodeName": "other"}), json!({}), false, false),
        (json!({"nodeName": "n1"}), json!({}), true, true),
        (json!({"nodeSelector": {"gpu": "yes"}}), json!({}), false, false),
        (json!({}), taint("NoSchedule"), false, true),
        (json!({}), taint("NoExecute"), false, false),
        (tolerates, taint("NoExecute"), true, true),
        (json!({}), taint("PreferNoSchedule"), true, true),
    ];
    for (pod, node, starts, goes_on) in cases {
        let (mut world, key) = world(json!({}), json!({}));
        world.settle(&key);
        let name = only(&world);
        world.run(&name);
        // The DaemonSet is as if it had always been so; its pod was made before the node, or it, changed.
        let mut changed = ds(&world, &key);
        let mut spec = serde_json::to_value(&changed.spec).unwrap();
        spec["template"]["spec"].as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
        spec["updateStrategy"] = json!({"type": "OnDelete"});
        changed.spec = serde_json::from_value(spec).unwrap();
        world.put(changed.into());
        world.node.spec = serde_json::from_value(node.clone()).unwrap();
        world.settle(&key);
        assert_eq!(world.active().len(), usize::from(goes_on), "{pod} {node}");
        world.objects.retain(|k, _| k.kind != Kind::Pod);
        world.settle(&key);
        assert_eq!(world.active().len(), usize::from(starts), "{pod} {node}");
    }
}

#[test]
fn tolerations_every_daemon_pod_has() {
    let shown = |pod: Value| -> BTreeSet<String> {
        let (mut world, key) = world(json!({}), pod);
        world.settle(&key);
        let all = world.pods()[0].spec.clone().unwrap().tolerations.unwrap();
        assert!(all.iter().all(|t| t.operator.as_deref() == Some("Exists") && t.value.is_none() && t.toleration_seconds.is_none()));
        all.iter().map(|t| format!("{}:{}", t.key.clone().unwrap(), t.effect.clone().unwrap())).collect()
    };
    let mut expected: BTreeSet<String> = [
        "not-ready:NoExecute",
        "unreachable:NoExecute",
        "disk-pressure:NoSchedule",
        "memory-pressure:NoSchedule",
        "pid-pressure:NoSchedule",
        "unschedulable:NoSchedule",
    ]
    .map(|t| format!("node.kubernetes.io/{t}"))
    .into();
    assert_eq!(shown(json!({})), expected);
    expected.insert("node.kubernetes.io/network-unavailable:NoSchedule".to_owned());
    assert_eq!(shown(json!({"hostNetwork": true})), expected);
}

#[test]
fn a_pod_is_available_when_it_was_ready_for_min_ready_seconds() {
    let (mut world, key) = world(json!({"minReadySeconds": 30}), json!({}));
    world.settle(&key);
    let name = only(&world);
    world.run(&name);
    world.step(&key);
    assert_eq!((counts(&world, &key), world.wake_at), ((None, Some(1), 1), Some(world.now + seconds(30))));
    world.now += seconds(29);
    world.settle(&key);
    assert_eq!(counts(&world, &key), (None, Some(1), 1));
    world.now += seconds(1);
    world.settle(&key);
    assert_eq!(counts(&world, &key), (Some(1), None, 1));
    // Not ready for a moment: the time begins anew.
    world.change(&name, |p| p.status.as_mut().unwrap().conditions = None);
    world.settle(&key);
    assert_eq!(counts(&world, &key), (None, Some(1), 0));
    world.run(&name);
    world.settle(&key);
    world.now += seconds(29);
    world.settle(&key);
    assert_eq!(counts(&world, &key), (None, Some(1), 1));
}

#[test]
fn a_rollout_says_what_is_updated_and_observed() {
    let (mut world, key) = world(json!({}), json!({}));
    world.settle(&key);
    let name = only(&world);
    world.run(&name);
    image(&mut world, &key, "v2");
    world.settle(&key);
    let status = ds(&world, &key).status.unwrap();
    assert_eq!((status.observed_generation, status.updated_number_scheduled, status.number_ready), (Some(2), None, 1));
    world.finish_deleted();
    world.settle(&key);
    let status = ds(&world, &key).status.unwrap();
    assert_eq!((status.updated_number_scheduled, status.number_unavailable), (Some(1), Some(1)));
    let messages: Vec<&str> = world.events.iter().map(|e| e.message.as_str()).collect();
    let second = only(&world);
    assert_eq!(messages, [format!("Created pod: {name}"), format!("Deleted pod: {name}"), format!("Created pod: {second}")]);
    assert!(world.events.iter().all(|e| e.source == "daemonset-controller" && !e.warning));
}

#[test]
fn an_ended_pod_is_told_in_kubernetes_words() {
    for (code, warning, reason, text) in [
        (1, true, "FailedDaemonPod", "Found failed daemon pod default/NAME on node n1, will try to kill it"),
        (0, false, "SucceededDaemonPod", "Found succeeded daemon pod default/NAME on node n1, will try to delete it"),
    ] {
        let (mut world, key) = world(json!({}), json!({}));
        world.settle(&key);
        let name = only(&world);
        world.exit(&name, code);
        world.settle(&key);
        let told = world.events.iter().find(|e| e.reason == reason).unwrap();
        assert_eq!((told.warning, told.message.clone()), (warning, text.replace("NAME", &name)));
    }
}

#[test]
fn revisions_keep_templates_and_one_can_go_back_to_them() {
    let (mut world, key) = world(json!({}), json!({}));
    world.settle(&key);
    let alone = target(&revisions(&world), 0).map(|r| r.revision);
    assert_eq!(alone, Err("no last revision to roll back to".to_owned()));
    image(&mut world, &key, "v2");
    world.settle(&key);
    let both = revisions(&world);
    let numbers: Vec<i64> = both.iter().map(|r| r.revision).collect();
    assert_eq!(numbers, [1, 2]);
    let labels = both[0].metadata.labels.clone().unwrap();
    assert_eq!(both[0].metadata.name.clone().unwrap(), format!("d-{}", labels[REVISION_HASH]));
    assert_eq!(both[0].metadata.annotations.clone().unwrap(), [(CHANGE_CAUSE.to_owned(), "first".to_owned())].into());
    assert_eq!(target(&both, 0).unwrap().revision, 1);
    assert_eq!(target(&both, 2).unwrap().revision, 2);
    assert_eq!(target(&both, 7).unwrap_err(), "unable to find specified revision 7 in history");
    let now = ds(&world, &key);
    assert_eq!((matches(&now, &both[0]), matches(&now, &both[1])), (false, true));
    // The template as it was, and the revision gets the highest number.
    let old = template(&both[0]).unwrap();
    assert_eq!(old.spec.as_ref().unwrap().containers[0].image.as_deref(), Some("v1"));
    let mut back = now;
    back.spec.as_mut().unwrap().template = old;
    world.put(back.into());
    world.settle(&key);
    let after: Vec<(i64, String)> = revisions(&world).iter().map(|r| (r.revision, r.metadata.name.clone().unwrap())).collect();
    assert_eq!(after, [(2, both[1].metadata.name.clone().unwrap()), (3, both[0].metadata.name.clone().unwrap())]);
}

#[test]
fn a_limit_of_zero_keeps_what_pods_have_and_the_current_one() {
    let (mut world, key) = world(json!({"revisionHistoryLimit": 0}), json!({}));
    for version in ["v2", "v3"] {
        world.settle(&key);
        image(&mut world, &key, version);
    }
    world.settle(&key);
    let pods: BTreeSet<String> = world.pods().iter().map(|p| p.metadata.labels.clone().unwrap()[REVISION_HASH].clone()).collect();
    let kept: BTreeSet<String> = revisions(&world).iter().map(|r| r.metadata.labels.clone().unwrap()[REVISION_HASH].clone()).collect();
    assert!(pods.is_subset(&kept) && kept.len() == 2, "{pods:?} {kept:?}");
    world.finish_deleted();
    world.settle(&key);
    world.settle(&key);
    assert_eq!(revisions(&world).len(), 1);
}

#[derive(Clone, Debug)]
enum Move {
    Exit(usize, i32),
    Interrupt(usize),
    Run(usize),
    DeletePod(usize),
    Finish,
    Wait(i64),
    Image(u8),
    Taint(Option<&'static str>),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let taints = prop_oneof![3 => Just(None), 1 => Just(Some("NoSchedule")), 1 => Just(Some("NoExecute"))];
    let one = prop_oneof![
        2 => (0usize..3, 0i32..2).prop_map(|(n, code)| Move::Exit(n, code)),
        1 => (0usize..3).prop_map(Move::Interrupt),
        3 => (0usize..3).prop_map(Move::Run),
        1 => (0usize..3).prop_map(Move::DeletePod),
        3 => Just(Move::Finish),
        3 => (-50i64..1000).prop_map(Move::Wait),
        2 => (0u8..3).prop_map(Move::Image),
        1 => taints.prop_map(Move::Taint),
    ];
    prop::collection::vec(one, 1..50)
}

fn act(world: &mut World, key: &Key, step: &Move) {
    let live: Vec<Pod> = world.pods().into_iter().filter(|p| !pods::terminal(p)).collect();
    let name = |n: &usize| live.get(*n).map(|p| p.metadata.name.clone().unwrap());
    match step {
        Move::Exit(n, code) => name(n).iter().for_each(|name| world.exit(name, *code)),
        Move::Interrupt(n) => name(n).iter().for_each(|name| world.interrupt(name)),
        Move::Run(n) => name(n).iter().for_each(|name| world.run(name)),
        Move::DeletePod(n) => {
            let delete = live.get(*n).map(pods::deletion).into_iter().collect();
            world.apply(Plan { delete, ..Plan::default() });
        }
        Move::Finish => world.finish_deleted(),
        Move::Wait(n) => world.now += seconds(*n),
        Move::Image(n) => image(world, key, &format!("v{n}")),
        Move::Taint(effect) => {
            world.node.spec = effect.map(|e| serde_json::from_value(json!({"taints": [{"key": "k", "effect": e}]})).unwrap());
        }
    }
}

fn at_most_one_daemon_pod_plus_surge(world: &World, surge: usize) -> Result<(), TestCaseError> {
    let standing = world.pods().iter().filter(|p| !pods::deleting(p)).count();
    prop_assert!(standing <= 1 + surge, "{} pods stand", standing);
    let unfinished = world.pods().iter().filter(|p| !pods::terminal(p)).count();
    prop_assert!(surge > 0 || unfinished <= 1, "a new pod came before the old one was gone");
    Ok(())
}

fn a_terminated_uid_never_restarts(world: &World, ended: &mut BTreeSet<String>) -> Result<(), TestCaseError> {
    for pod in world.pods() {
        let uid = pod.metadata.uid.clone().unwrap();
        prop_assert!(pods::terminal(&pod) || !ended.contains(&uid), "{} runs after its end", uid);
        if pods::terminal(&pod) {
            ended.insert(uid);
        }
    }
    Ok(())
}

fn nothing_stays_where_it_may_not(world: &World) -> Result<(), TestCaseError> {
    let driven_out = world.node.spec.as_ref().and_then(|s| s.taints.as_ref()).is_some_and(|t| t.iter().any(|t| t.effect == "NoExecute"));
    prop_assert!(!driven_out || world.active().is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn safe_whatever_happens(steps in moves(), surge in 0i32..2, on_delete in any::<bool>(), min_ready in 0i32..60) {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 1 - surge}});
        let strategy = if on_delete { json!({"type": "OnDelete"}) } else { strategy };
        let (mut world, key) = world(json!({"updateStrategy": strategy, "minReadySeconds": min_ready}), json!({}));
        let mut ended = BTreeSet::new();
        for step in &steps {
            world.settle(&key);
            at_most_one_daemon_pod_plus_surge(&world, if on_delete { 0 } else { surge as usize })?;
            a_terminated_uid_never_restarts(&world, &mut ended)?;
            nothing_stays_where_it_may_not(&world)?;
            act(&mut world, &key, step);
        }
        // Left alone on a node that suits, it comes to one available pod of the newest template.
        world.node.spec = None;
        for _ in 0..8 {
            world.settle(&key);
            world.now += seconds(1000);
            world.finish_deleted();
            if on_delete {
                world.objects.retain(|k, _| k.kind != Kind::Pod);
            }
            let waiting: Vec<String> = world.active().iter().filter(|p| !pods::ready(p)).map(|p| p.metadata.name.clone().unwrap()).collect();
            waiting.iter().for_each(|name| world.run(name));
        }
        world.settle(&key);
        if !on_delete {
            world.now += seconds(60);
            world.settle(&key);
            let status = ds(&world, &key).status.unwrap();
            prop_assert_eq!((status.number_available, status.updated_number_scheduled, world.active().len()), (Some(1), Some(1), 1));
        }
    }
}
