//! Rolling updates, surge, OnDelete, back-off and revisions on a virtual clock.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::well_known::NOT_ADMITTED;
use crate::controllers::world::{World, object, seconds};

fn world(spec: Value) -> (World, Key) {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let mut whole = json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "v1"}]}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let meta = json!({"name": "d", "namespace": "default", "uid": "ds", "generation": 1, "creationTimestamp": world.now.to_string()});
    let key = world.put(object(Kind::DaemonSet, json!({"metadata": meta, "spec": whole})));
    (world, key)
}

fn ds(world: &World, key: &Key) -> DaemonSet {
    world.objects[key].as_daemon_set().unwrap().clone()
}

fn edit(world: &mut World, key: &Key, change: impl FnOnce(&mut DaemonSetSpec)) {
    let mut ds = ds(world, key);
    change(ds.spec.as_mut().unwrap());
    ds.metadata.generation = ds.metadata.generation.map(|g| g + 1);
    world.put(ds.into());
}

fn image(world: &mut World, key: &Key, image: &str) {
    edit(world, key, |s| s.template.spec.as_mut().unwrap().containers[0].image = Some(image.into()));
}

/// The images of the pods that are not being deleted.
fn images(world: &World) -> Vec<String> {
    let mut all: Vec<String> =
        world.pods().iter().filter(|p| !pods::deleting(p)).map(|p| p.spec.as_ref().unwrap().containers[0].image.clone().unwrap()).collect();
    all.sort();
    all
}

fn name(world: &World) -> String {
    let mut standing: Vec<Pod> = world.pods().into_iter().filter(|p| !pods::deleting(p)).collect();
    standing.sort_by_key(pods::age_order);
    standing.last().unwrap().metadata.name.clone().unwrap()
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
}

#[test]
fn one_pod_with_its_tolerations_pinned_to_the_node() {
    let (mut world, key) = world(json!({}));
    world.settle(&key);
    assert_eq!(world.pods().len(), 1);
    let pod = world.pods().remove(0);
    let spec = pod.spec.unwrap();
    assert_eq!(spec.tolerations.unwrap().len(), 6);
    let term =
        &spec.affinity.unwrap().node_affinity.unwrap().required_during_scheduling_ignored_during_execution.unwrap().node_selector_terms[0];
    assert_eq!(term.match_fields.as_ref().unwrap()[0].values, Some(vec!["n1".to_owned()]));
    let revision = world.of_kind(Kind::ControllerRevision)[0].as_controller_revision().unwrap().clone();
    assert_eq!(revision.metadata.labels.unwrap()[REVISION_HASH], pod.metadata.labels.unwrap()[REVISION_HASH]);
    assert_eq!(revision.revision, 1);
    let name = name(&world);
    world.run(&name);
    world.settle(&key);
    let status = ds(&world, &key).status.unwrap();
    assert_eq!((status.desired_number_scheduled, status.current_number_scheduled, status.number_ready), (1, 1, 1));
    assert_eq!((status.number_available, status.updated_number_scheduled, status.number_unavailable), (Some(1), Some(1), None));
    assert_eq!(status.observed_generation, Some(1));
}

#[test]
fn what_taints_and_labels_do() {
    let taint = |effect: &str| serde_json::from_value(json!({"taints": [{"key": "k", "effect": effect}]})).unwrap();
    for (effect, stays) in [("PreferNoSchedule", true), ("NoSchedule", true), ("NoExecute", false)] {
        let (mut world, key) = world(json!({}));
        world.settle(&key);
        world.node.spec = taint(effect);
        world.settle(&key);
        assert_eq!(world.active().len(), usize::from(stays), "{effect}");
        let (annotated, status) = (ds(&world, &key).metadata.annotations, ds(&world, &key).status.unwrap());
        let suits = effect == "PreferNoSchedule";
        assert_eq!(annotated.is_some_and(|a| a.contains_key(NOT_ADMITTED)), !suits);
        assert_eq!((status.desired_number_scheduled, status.number_misscheduled), if suits { (1, 0) } else { (0, 1) });
        world.finish_deleted();
        world.objects.retain(|k, _| k.kind != Kind::Pod);
        world.settle(&key);
        assert_eq!(world.active().len(), usize::from(suits), "{effect}: a new one");
    }
    let (mut world, key) = world(json!({}));
    world.node.spec = serde_json::from_value(json!({"unschedulable": true})).unwrap();
    world.settle(&key);
    assert_eq!(world.active().len(), 1, "a cordon does not keep daemons away");
}

#[test]
fn failed_pods_are_made_again_with_a_back_off_that_is_kept() {
    let (mut world, key) = world(json!({}));
    let mut waits = Vec::new();
    for _ in 0..13 {
        world.settle(&key);
        let pod = name(&world);
        world.exit(&pod, 1);
        world.wake_at = None;
        world.step(&key);
        let mut waited = 0;
        if let Some(wake) = world.wake_at {
            waited = wake.duration_since(world.now).as_secs();
            world.now = wake;
            world.settle(&key);
        }
        waits.push(waited);
        world.finish_deleted();
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    assert_eq!((world.event_count("FailedDaemonPod"), world.pods_made), (13, 14));
    world.now += seconds(1801);
    world.settle(&key);
    let pod = name(&world);
    world.exit(&pod, 0);
    world.settle(&key);
    assert_eq!(world.event_count("SucceededDaemonPod"), 1, "forgotten after 30 quiet minutes");
}

#[test]
fn a_pod_the_host_took_down_comes_back_at_once() {
    let (mut world, key) = world(json!({}));
    for _ in 0..3 {
        world.settle(&key);
        let pod = name(&world);
        world.interrupt(&pod);
        world.settle(&key);
        world.finish_deleted();
    }
    world.settle(&key);
    assert_eq!((world.active().len(), world.event_count("FailedDaemonPod")), (1, 0));
}

#[test]
fn rolling_update_without_surge_goes_first_and_comes_after() {
    for strategy in [json!({}), rolling(json!(0), json!(1)), rolling(json!(0), json!("10%"))] {
        let (mut world, key) = world(strategy);
        world.settle(&key);
        let pod = name(&world);
        world.run(&pod);
        image(&mut world, &key, "v2");
        world.settle(&key);
        assert!(images(&world).is_empty() && world.pods().len() == 1);
        world.finish_deleted();
        world.settle(&key);
        assert_eq!(images(&world), ["v2"]);
        assert_eq!(world.of_kind(Kind::ControllerRevision).len(), 2);
    }
}

#[test]
fn rolling_update_with_surge_comes_first_and_waits_to_be_available() {
    let mut spec = rolling(json!("10%"), json!(0));
    spec["minReadySeconds"] = json!(10);
    let (mut world, key) = world(spec);
    world.settle(&key);
    let pod = name(&world);
    world.run(&pod);
    world.now += seconds(10);
    image(&mut world, &key, "v2");
    world.settle(&key);
    assert_eq!(images(&world), ["v1", "v2"]);
    let pod = name(&world);
    world.run(&pod);
    world.settle(&key);
    world.step(&key);
    assert_eq!((images(&world).len(), world.wake_at), (2, Some(world.now + seconds(10))));
    world.now += seconds(10);
    world.settle(&key);
    assert_eq!(images(&world), ["v2"]);
}

#[test]
fn with_surge_an_old_pod_that_is_not_ready_is_replaced_at_once() {
    let (mut world, key) = world(rolling(json!(1), json!(0)));
    world.settle(&key);
    image(&mut world, &key, "v2");
    world.settle(&key);
    assert_eq!(images(&world), ["v2"]);
}

#[test]
fn on_delete_waits_for_the_user() {
    let (mut world, key) = world(json!({"updateStrategy": {"type": "OnDelete"}}));
    world.settle(&key);
    image(&mut world, &key, "v2");
    world.settle(&key);
    assert_eq!(images(&world), ["v1"]);
    assert_eq!(ds(&world, &key).status.unwrap().updated_number_scheduled, None);
    world.objects.retain(|k, _| k.kind != Kind::Pod);
    world.settle(&key);
    assert_eq!(images(&world), ["v2"]);
}

#[test]
fn old_revisions_go_and_a_rollback_takes_the_highest_number() {
    let (mut world, key) = world(json!({"revisionHistoryLimit": 2}));
    for version in ["v1", "v2", "v3", "v4", "v5", "v4"] {
        image(&mut world, &key, version);
        world.step(&key);
        world.finish_deleted();
        world.step(&key);
        world.finish_deleted();
        world.settle(&key);
    }
    let mut numbers: Vec<i64> =
        world.of_kind(Kind::ControllerRevision).iter().map(|r| r.as_controller_revision().unwrap().revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 5, 6]);
}

#[test]
fn deleting_it_takes_pods_and_revisions() {
    let (mut world, key) = world(json!({}));
    world.settle(&key);
    world.apply(Plan { delete: vec![cascade::whole(&world.objects[&key])], ..Plan::default() });
    world.step(&key);
    assert!(world.objects.contains_key(&key), "not before its pods");
    world.finish_deleted();
    world.step(&key);
    assert!(world.objects.is_empty());
}

#[derive(Clone, Debug)]
enum Move {
    Exit(usize, i32),
    Run(usize),
    Finish,
    Wait(i64),
    Image(u8),
    Taint(Option<&'static str>),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let taints = prop_oneof![Just(None), Just(Some("NoSchedule")), Just(Some("NoExecute"))];
    let one = prop_oneof![
        2 => (0usize..2, 0i32..2).prop_map(|(n, code)| Move::Exit(n, code)),
        3 => (0usize..2).prop_map(Move::Run),
        3 => Just(Move::Finish),
        3 => (-50i64..1000).prop_map(Move::Wait),
        2 => (0u8..3).prop_map(Move::Image),
        1 => taints.prop_map(Move::Taint),
    ];
    prop::collection::vec(one, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_more_than_one_or_two_while_surging(steps in moves(), surge in 0i32..2) {
        let (mut world, key) = world(rolling(json!(surge), json!(1 - surge)));
        for step in &steps {
            world.settle(&key);
            let standing = world.pods().iter().filter(|p| !pods::deleting(p)).count();
            prop_assert!(standing <= 1 + surge as usize, "{standing} pods");
            if surge == 0 {
                let unfinished = world.pods().iter().filter(|p| !pods::terminal(p)).count();
                prop_assert!(unfinished <= 1, "the new pod came before the old was gone");
            }
            let live: Vec<String> = world.active().iter().map(|p| p.metadata.name.clone().unwrap()).collect();
            match step {
                Move::Exit(n, code) => live.get(*n).iter().for_each(|name| world.exit(name, *code)),
                Move::Run(n) => live.get(*n).iter().for_each(|name| world.run(name)),
                Move::Finish => world.finish_deleted(),
                Move::Wait(n) => world.now += seconds(*n),
                Move::Image(n) => image(&mut world, &key, &format!("v{n}")),
                Move::Taint(effect) => {
                    world.node.spec = effect.map(|e| serde_json::from_value(json!({"taints": [{"key": "k", "effect": e}]})).unwrap());
                }
            }
        }
    }
}
