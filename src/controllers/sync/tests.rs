//! What the manifests directory makes of the Store.

use serde_json::{Value, json};

use super::*;
use crate::api::well_known::FOREGROUND_FINALIZER;
use crate::controllers::cronjob::SCHEDULE_SINCE;
use crate::controllers::world::{World, object, seconds};

/// An object as its file has it; the hash is the text itself.
fn manifest(kind: Kind, name: &str, source: &str, body: Value) -> Object {
    let mut value = json!({"metadata": {"name": name, "namespace": "default"}});
    value.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    let mut made = object(kind, value.clone());
    let annotations = made.meta_mut().annotations.get_or_insert_default();
    annotations.insert(MANIFEST_HASH.into(), value.to_string());
    annotations.insert(SOURCE.into(), source.into());
    made
}

pub(super) fn job(spec: Value) -> Object {
    let mut whole = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    manifest(Kind::Job, "j", "j.yaml#0", json!({"spec": whole}))
}

/// The directory holds `desired`; `faulty` files can't be read. Must have nothing to do a second time.
pub(super) fn sync(world: &mut World, desired: &[&Object], faulty: &[&str]) {
    let once = |world: &mut World| {
        let stored: Vec<_> = world.objects.values().cloned().collect();
        let keep = faulty.iter().map(|f| (*f).to_owned()).collect();
        let stones =
            world.records.iter().map(|(k, v)| (k.strip_prefix(JOB_TOMBSTONE).unwrap().to_owned(), String::from_utf8(v.clone()).unwrap()));
        let stones: BTreeMap<_, _> = stones.collect();
        let plan = world.plan(|_, cx| reconcile(desired, &stored, &keep, &stones, cx));
        world.apply(plan)
    };
    once(world);
    assert!(!once(world), "not idempotent");
}

pub(super) fn key() -> Key {
    Key::new(Kind::Job, "default", "j")
}

fn finish(world: &mut World) {
    let mut job = world.job(&key());
    let at = world.now.to_string();
    job.status = serde_json::from_value(json!({"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at}]})).unwrap();
    world.put(job.into());
}

#[test]
fn created_with_an_identity_then_left_alone() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    sync(&mut world, &[&job(json!({}))], &[]);
    let made = world.job(&key());
    let uid = made.metadata.uid.clone().unwrap();
    assert_eq!((made.metadata.generation, made.metadata.creation_timestamp.unwrap().0), (Some(1), world.now));
    let spec = made.spec.unwrap();
    assert_eq!(spec.selector.unwrap().match_labels.unwrap()["batch.kubernetes.io/controller-uid"], uid);
    assert_eq!(spec.template.metadata.unwrap().labels.unwrap()["job-name"], "j");
    finish(&mut world);
    world.now += seconds(1000);
    let before = world.objects.clone();
    sync(&mut world, &[&job(json!({}))], &[]);
    assert_eq!(world.objects, before, "a finished Job is not made again");
}

#[test]
fn a_mutable_change_acts_in_place_and_an_immutable_one_replaces() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    sync(&mut world, &[&job(json!({"completions": 1}))], &[]);
    finish(&mut world);
    let old = world.job(&key());
    sync(&mut world, &[&job(json!({"completions": 1, "parallelism": 3}))], &[]);
    let changed = world.job(&key());
    assert_eq!((changed.metadata.uid.clone(), changed.metadata.generation), (old.metadata.uid.clone(), Some(2)));
    assert_eq!((changed.status.clone(), changed.spec.unwrap().parallelism), (old.status, Some(3)));
    sync(&mut world, &[&job(json!({"completions": 5}))], &[]);
    let going = world.job(&key());
    assert!(going.metadata.deletion_timestamp.is_some());
    assert_eq!(going.metadata.finalizers.unwrap(), [FOREGROUND_FINALIZER]);
    world.step(&key());
    sync(&mut world, &[&job(json!({"completions": 5}))], &[]);
    let new = world.job(&key());
    assert!(new.metadata.uid != old.metadata.uid && new.status.is_none() && new.spec.unwrap().completions == Some(5));
}

#[test]
fn removed_from_the_directory() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let config = manifest(Kind::ConfigMap, "c", "c.yaml#0", json!({"data": {"k": "v"}}));
    let daemon = manifest(Kind::DaemonSet, "d", "d.yaml#0", json!({"spec": {"selector": {}, "template": {}}}));
    sync(&mut world, &[&config, &daemon, &job(json!({}))], &[]);
    // A pod and a CronJob's Job don't come from files.
    world.put(object(Kind::Job, json!({"metadata": {"name": "made", "namespace": "default", "uid": "m"}})));
    sync(&mut world, &[], &["c.yaml", "d.yaml", "j.yaml"]);
    assert!(
        world.objects.len() == 4 && world.objects.values().all(|o| o.meta().deletion_timestamp.is_none()),
        "faulty files keep what they defined"
    );
    sync(&mut world, &[], &["d.yaml"]);
    let left: Vec<_> = world.objects.values().map(|o| (o.key().name, o.meta().deletion_timestamp.is_some())).collect();
    assert_eq!(left, [("d".to_owned(), false), ("j".to_owned(), true), ("made".to_owned(), false)]);
}

#[test]
fn plain_data_changes_in_place_and_a_moved_object_only_changes_its_source() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let config = |source: &str, v: &str| manifest(Kind::ConfigMap, "c", source, json!({"data": {"k": v}}));
    sync(&mut world, &[&config("a.yaml#0", "1")], &[]);
    let first = world.of_kind(Kind::ConfigMap)[0].clone();
    sync(&mut world, &[&config("b.yaml#1", "1"), &config("z.yaml#0", "9")], &["a.yaml"]);
    let moved = world.of_kind(Kind::ConfigMap)[0].clone();
    assert_eq!((source(&moved), moved.uid()), (Some("b.yaml#1"), first.uid()));
    sync(&mut world, &[&config("b.yaml#1", "2")], &[]);
    let changed = world.of_kind(Kind::ConfigMap)[0].clone();
    assert_eq!(changed.as_config_map().unwrap().data.as_ref().unwrap()["k"], "2");
    assert_eq!(changed.uid(), first.uid());
}

#[test]
fn a_daemon_sets_selector_replaces_it_and_its_template_does_not() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let daemon = |label: &str, image: &str| {
        manifest(
            Kind::DaemonSet,
            "d",
            "d.yaml#0",
            json!({"spec": {"selector": {"matchLabels": {"l": label}},
            "template": {"metadata": {"labels": {"l": label}}, "spec": {"containers": [{"name": "c", "image": image}]}}}}),
        )
    };
    sync(&mut world, &[&daemon("a", "1")], &[]);
    sync(&mut world, &[&daemon("a", "2")], &[]);
    let stored = world.of_kind(Kind::DaemonSet)[0].clone();
    assert_eq!((stored.meta().generation, stored.meta().deletion_timestamp.is_some()), (Some(2), false));
    sync(&mut world, &[&daemon("b", "2")], &[]);
    assert!(world.of_kind(Kind::DaemonSet)[0].meta().deletion_timestamp.is_some());
}

#[test]
fn a_changed_schedule_is_dated_and_notes_stay() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let cron = |schedule: &str, suspend: bool| {
        manifest(Kind::CronJob, "c", "c.yaml#0", json!({"spec": {"schedule": schedule, "suspend": suspend, "jobTemplate": {}}}))
    };
    sync(&mut world, &[&cron("0 0 * * *", false)], &[]);
    let mut stored = (*world.of_kind(Kind::CronJob)[0]).clone();
    pods::annotate(stored.meta_mut(), "minik8s.io/cronjob-done", Some("[[1,2]]".into()));
    world.put(stored);
    sync(&mut world, &[&cron("0 0 * * *", true)], &[]);
    let stored = world.of_kind(Kind::CronJob)[0].clone();
    assert_eq!(pods::annotation(stored.meta(), SCHEDULE_SINCE), None);
    assert_eq!(pods::annotation(stored.meta(), "minik8s.io/cronjob-done"), Some("[[1,2]]"));
    sync(&mut world, &[&cron("5 0 * * *", true)], &[]);
    assert_eq!(pods::annotation(world.of_kind(Kind::CronJob)[0].meta(), SCHEDULE_SINCE), Some("2026-01-01T00:00:00Z"));
}

#[test]
fn a_tombstone_keeps_a_job_from_running_again_until_its_manifest_goes_or_changes() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let buried = job(json!({"ttlSecondsAfterFinished": 0}));
    let run = |world: &mut World, what: &Object| {
        sync(world, &[what], &[]);
        finish(world);
        while world.step(&key()) {}
        assert!(world.objects.is_empty() && world.records.len() == 1);
    };
    run(&mut world, &buried);
    sync(&mut world, &[&buried], &[]);
    assert!(world.objects.is_empty(), "the same manifest");
    sync(&mut world, &[&job(json!({"ttlSecondsAfterFinished": 9}))], &[]);
    assert!(world.objects.is_empty(), "a mutable change");
    sync(&mut world, &[], &["j.yaml"]);
    assert_eq!(world.records.len(), 1, "the file is faulty: nobody knows");
    sync(&mut world, &[], &[]);
    assert!(world.records.is_empty());
    sync(&mut world, &[&buried], &[]);
    assert_eq!(world.objects.len(), 1, "added again, it is a new Job");
    finish(&mut world);
    while world.step(&key()) {}
    sync(&mut world, &[&job(json!({"ttlSecondsAfterFinished": 0, "completions": 2}))], &[]);
    assert_eq!((world.objects.len(), world.records.len()), (1, 0), "an immutable change runs");
}

#[test]
fn an_immutable_config_map_stays_as_it_is_and_that_is_told_once() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let map =
        |text: &str, immutable: bool| manifest(Kind::ConfigMap, "m", "m.yaml#0", json!({"data": {"k": text}, "immutable": immutable}));
    let key = Key::new(Kind::ConfigMap, "default", "m");
    let value = |world: &World| world.objects[&key].as_config_map().unwrap().data.clone().unwrap()["k"].clone();
    sync(&mut world, &[&map("1", false)], &[]);
    sync(&mut world, &[&map("2", true)], &[]);
    assert_eq!(value(&world), "2");
    for changed in [map("3", true), map("2", false)] {
        sync(&mut world, &[&changed], &[]);
        assert_eq!(value(&world), "2");
    }
    sync(&mut world, &[], &[]);
    sync(&mut world, &[&map("3", true)], &[]);
    assert_eq!(value(&world), "3");
    assert_eq!(
        merge::forbidden(&map("1", true), &map("2", false)).unwrap(),
        "immutable: Forbidden: field is immutable when `immutable` is set; data: Forbidden: field is immutable when `immutable` is set"
    );
}

#[test]
fn a_claim_is_bound_when_it_is_made_and_stays_bound() {
    let mut world = World::new("2026-01-01T00:00:00Z");
    let claim = |size: &str| {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}});
        manifest(Kind::PersistentVolumeClaim, "c", "c.yaml#0", json!({"spec": spec}))
    };
    let key = Key::new(Kind::PersistentVolumeClaim, "default", "c");
    for size in ["1Gi", "2Gi"] {
        sync(&mut world, &[&claim(size)], &[]);
        let stored = world.objects[&key].as_claim().unwrap().clone();
        let uid = stored.metadata.uid.unwrap();
        assert_eq!(stored.spec.unwrap().volume_name, Some(format!("pvc-{uid}")));
        let status = stored.status.unwrap();
        assert_eq!((status.phase.as_deref(), status.capacity.unwrap()["storage"].0.as_str()), (Some("Bound"), size));
    }
}
