//! What would change, for an agent that has something already.

use serde_json::{Value, json};

use super::*;
use crate::api::Kind;
use crate::api::well_known::JOB_TOMBSTONE;
use crate::controllers::sync::sourced;
use crate::controllers::world::{World, object, seconds};

fn manifest(kind: Kind, spec: Value, image: &str) -> Object {
    let mut whole = json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": image, "resources": {"requests": {"cpu": "1"}}}]}}});
    if kind == Kind::Job {
        whole["selector"].take();
        whole["template"]["spec"]["restartPolicy"] = json!("Never");
    }
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut object = object(kind, json!({"metadata": {"name": "x", "namespace": "default"}, "spec": whole}));
    crate::api::defaults::apply(&mut object);
    sourced(object, "x.yaml", 0)
}

/// A world in which this manifest runs.
fn running(manifest: &Object) -> World {
    let mut world = World::new("2026-01-01T00:00:00Z");
    world.node =
        serde_json::from_value(json!({"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "2", "pods": "10"}}})).unwrap();
    let plan = world.plan(|_, cx| sync::reconcile(&[manifest], &[], &Default::default(), &BTreeMap::new(), cx));
    world.apply(plan);
    world.step(&manifest.key());
    let made: Vec<String> = world.active().iter().map(|pod| pod.metadata.name.clone().unwrap()).collect();
    for name in &made {
        world.change(name, |pod| pod.spec.as_mut().unwrap().node_name = Some("n1".into()));
        world.run(name);
    }
    world
}

fn change_of(world: &mut World, manifest: &Object) -> Change {
    let prefix = |(name, value): (&String, &Vec<u8>)| {
        (name.strip_prefix(JOB_TOMBSTONE).unwrap().to_owned(), String::from_utf8(value.clone()).unwrap())
    };
    let before = world.objects.clone();
    let tombstones: BTreeMap<String, String> = world.records.iter().map(prefix).collect();
    let rows = world.plan(|world, cx| {
        let bound: Vec<Arc<Object>> = world.of_kind(Kind::Pod).into_iter().filter(|pod| runs(pod)).collect();
        let (stored, owned) = (|key: &Key| world.objects.get(key).cloned(), |uid: &str| world.owned(uid));
        foresee(std::slice::from_ref(manifest), &Known { stored: &stored, owned: &owned, tombstones: &tombstones, bound: &bound }, cx)
    });
    assert_eq!(world.objects, before, "looking ahead changes nothing");
    rows[0].change.clone().unwrap()
}

fn words(text: &[&str]) -> Vec<String> {
    text.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_daemon_sets_rollout_is_foreseen_by_its_strategy() {
    let old = manifest(Kind::DaemonSet, json!({}), "i:1");
    let mut world = running(&old);
    let pod = world.active()[0].metadata.name.clone().unwrap();
    assert_eq!(change_of(&mut world, &old).outcome, "unchanged");
    let rolled = change_of(&mut world, &manifest(Kind::DaemonSet, json!({}), "i:2"));
    assert_eq!((rolled.outcome.as_str(), rolled.started, rolled.stopped), ("configured", words(&["x-*"]), vec![pod.clone()]));
    assert_eq!(rolled.why, ["spec.template", "updateStrategy RollingUpdate: the old pod is stopped, then the new one is made"]);
    let surge = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}});
    let surged = change_of(&mut world, &manifest(Kind::DaemonSet, surge, "i:2"));
    assert_eq!((surged.started, surged.stopped), (words(&["x-*"]), vec![pod]));
    assert!(surged.why.iter().any(|why| why.contains("when the new one is available")), "{:?}", surged.why);
    let stays = change_of(&mut world, &manifest(Kind::DaemonSet, json!({"updateStrategy": {"type": "OnDelete"}}), "i:2"));
    assert_eq!((stays.started, stays.stopped), (vec![], vec![]));
    assert!(stays.why.iter().any(|why| why.starts_with("updateStrategy OnDelete")), "{:?}", stays.why);
}

#[test]
fn a_job_is_created_replaced_scaled_or_had_its_day() {
    let old = manifest(Kind::Job, json!({"parallelism": 1, "completions": 4}), "i");
    let mut nothing = World::new("2026-01-01T00:00:00Z");
    let created = change_of(&mut nothing, &old);
    assert_eq!((created.outcome.as_str(), created.started, created.stopped), ("created", words(&["x-*"]), vec![]));
    let mut world = running(&old);
    let pod = world.active()[0].metadata.name.clone().unwrap();
    let scaled = change_of(&mut world, &manifest(Kind::Job, json!({"parallelism": 2, "completions": 4}), "i"));
    assert_eq!((scaled.outcome.as_str(), scaled.started, scaled.stopped), ("configured", words(&["x-*"]), vec![]));
    assert_eq!(scaled.why, ["spec.parallelism: 1 → 2"]);
    let suspended = change_of(&mut world, &manifest(Kind::Job, json!({"parallelism": 1, "completions": 4, "suspend": true}), "i"));
    assert_eq!((suspended.started, suspended.stopped), (vec![], vec![pod.clone()]));
    let replaced = change_of(&mut world, &manifest(Kind::Job, json!({"parallelism": 1, "completions": 4}), "other"));
    assert_eq!((replaced.outcome.as_str(), replaced.started, replaced.stopped), ("replaced", words(&["x-*"]), vec![pod]));
    assert_eq!(replaced.why, ["spec.template: cannot change in place"]);
}

#[test]
fn a_job_that_had_its_day_stays_away_and_one_without_room_would_wait() {
    let old = manifest(Kind::Job, json!({"ttlSecondsAfterFinished": 30}), "i");
    let mut world = running(&old);
    let name = world.active()[0].metadata.name.clone().unwrap();
    world.exit(&name, 0);
    for _ in 0..2 {
        world.step(&old.key());
    }
    let finished = change_of(&mut world, &manifest(Kind::Job, json!({"ttlSecondsAfterFinished": 30}), "i"));
    assert_eq!(finished.why, ["it has finished and does not run again; minik8s rerun job/x runs it again"]);
    world.now += seconds(60);
    world.step(&old.key());
    assert!(world.job(&old.key()).metadata.deletion_timestamp.is_some(), "it is on its way out");
    let over = ["it ran and its time to live is over; minik8s rerun job/x runs it again"];
    assert_eq!(change_of(&mut world, &old).why, over);
    for _ in 0..4 {
        world.step(&old.key());
        world.finish_deleted();
    }
    assert!(world.objects.is_empty());
    let buried = change_of(&mut world, &old);
    assert_eq!((buried.outcome.as_str(), buried.why), ("unchanged", words(&over)));
    let mut busy = running(&manifest(Kind::Job, json!({"parallelism": 2, "completions": 2}), "i"));
    let mut other = manifest(Kind::Job, json!({}), "i");
    other.meta_mut().name = Some("y".into());
    let waits = change_of(&mut busy, &other);
    assert_eq!(waits.why, ["there is no such object", "its pod would wait beside what runs here: Insufficient cpu"]);
}
