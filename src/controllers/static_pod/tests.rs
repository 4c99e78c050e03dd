//! One pod a template, replaced when the template changes.

use serde_json::json;

use super::*;
use crate::admission::{Eviction, no_execute};
use crate::controllers::world::{World, object, seconds};
use crate::controllers::{deletion, taints};

fn world() -> (World, Key) {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let meta =
        json!({"name": "tpl", "namespace": "default", "uid": "t", "labels": {"l": "v"}, "annotations": {"a": "b", MANIFEST_HASH: "h1"}});
    let spec = json!({"containers": [{"name": "c", "image": "i"}], "nodeSelector": {"disk": "ssd"}});
    world.node.metadata.labels = Some([("disk".to_owned(), "ssd".to_owned())].into());
    let key = world.put(object(Kind::StaticPod, json!({"metadata": meta, "spec": spec})));
    (world, key)
}

fn pod(world: &World) -> Option<Pod> {
    world.objects.values().find_map(|o| o.as_pod().cloned())
}

#[test]
fn the_pod_is_named_after_the_node_and_marked_as_from_a_file() {
    let (mut world, key) = world();
    world.settle(&key);
    let pod = pod(&world).unwrap();
    assert_eq!(pod.metadata.name.as_deref(), Some("tpl-n1"));
    let annotations = pod.metadata.annotations.as_ref().unwrap();
    assert_eq!((annotations[CONFIG_SOURCE].as_str(), annotations[CONFIG_HASH].as_str(), annotations["a"].as_str()), ("file", "h1", "b"));
    assert!(!annotations.contains_key(MANIFEST_HASH));
    assert_eq!(pod.spec.as_ref().unwrap().node_name, None, "binding gives it to the node");
    world.node.spec = serde_json::from_value(json!({"taints": [{"key": "k", "effect": "NoExecute"}]})).unwrap();
    assert_eq!(no_execute(&pod, &world.node, world.now), Eviction::Keep);
}

#[test]
fn a_changed_template_replaces_the_pod_once_it_is_gone() {
    let (mut world, key) = world();
    world.settle(&key);
    let old = pod(&world).unwrap();
    let mut template = (*world.objects[&key]).clone();
    pods::annotate(template.meta_mut(), MANIFEST_HASH, Some("h2".into()));
    world.put(template);
    world.settle(&key);
    assert!(pods::deleting(&pod(&world).unwrap()));
    world.objects.remove(&Object::from(old.clone()).key());
    world.settle(&key);
    let new = pod(&world).unwrap();
    assert!(new.metadata.uid != old.metadata.uid && !pods::deleting(&new));
}

#[test]
fn where_the_node_does_not_suit_there_is_none() {
    let (mut world, key) = world();
    world.node.metadata.labels = None;
    world.settle(&key);
    world.settle(&key);
    assert_eq!((pod(&world), world.events.len()), (None, 1));
    world.node.metadata.labels = Some([("disk".to_owned(), "ssd".to_owned())].into());
    world.settle(&key);
    world.node.metadata.labels = None;
    world.settle(&key);
    assert!(!pods::deleting(&pod(&world).unwrap()), "a running pod goes on");
}

#[test]
fn a_pod_that_ended_stays_ended_unless_the_host_ended_it() {
    let (mut world, key) = world();
    world.settle(&key);
    let ended = |reason: Option<&str>| json!({"phase": "Failed", "conditions": reason.map(|r| json!([{"type": "DisruptionTarget", "status": "True", "reason": r}]))});
    world.change("tpl-n1", |p| p.status = serde_json::from_value(ended(None)).unwrap());
    world.settle(&key);
    assert!(!pods::deleting(&pod(&world).unwrap()));
    world.change("tpl-n1", |p| p.status = serde_json::from_value(ended(Some("TerminationByKubelet"))).unwrap());
    world.settle(&key);
    assert!(pods::deleting(&pod(&world).unwrap()));
}

#[test]
fn no_execute_taints_evict_with_a_condition_and_wait_where_tolerated() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let taint = json!({"key": "k", "effect": "NoExecute", "timeAdded": world.now.to_string()});
    world.node.spec = serde_json::from_value(json!({"taints": [taint]})).unwrap();
    let pod = |name: &str, tolerations: serde_json::Value| {
        object(
            Kind::Pod,
            json!({"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": {"containers": [], "tolerations": tolerations}}),
        )
    };
    world.put(pod("gone", json!([])));
    world.put(pod("waits", json!([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}])));
    let bound = world.of_kind(Kind::Pod);
    let plan = world.plan(|_, cx| taints::reconcile(&bound, cx));
    assert_eq!((plan.delete.len(), plan.wake_at), (1, Some(world.now + seconds(60))));
    let folded = deletion::fold(plan.clone(), |key| world.objects.get(key).cloned(), world.now);
    let condition = &folded.update[0].as_pod().unwrap().status.as_ref().unwrap().conditions.as_ref().unwrap()[0];
    assert_eq!((condition.type_.as_str(), condition.reason.as_deref()), ("DisruptionTarget", Some("DeletionByTaintManager")));
    world.apply(plan);
    let bound = world.of_kind(Kind::Pod);
    assert!(world.plan(|_, cx| taints::reconcile(&bound, cx)).is_empty());
}

#[test]
fn a_cordoned_node_keeps_the_pod_it_has_and_makes_no_other() {
    let (mut world, key) = world();
    world.settle(&key);
    world.node.spec = serde_json::from_value(json!({"unschedulable": true})).unwrap();
    world.settle(&key);
    let drained = pod(&world).unwrap();
    assert!(!pods::deleting(&drained));
    world.objects.remove(&Object::from(drained).key());
    world.settle(&key);
    assert_eq!(pod(&world), None);
    let why = pods::annotation(world.objects[&key].meta(), crate::api::well_known::NOT_ADMITTED);
    assert_eq!(why.map(|w| w.contains("node(s) were unschedulable")), Some(true));
    world.node.spec = None;
    world.settle(&key);
    assert!(pod(&world).is_some());
}
