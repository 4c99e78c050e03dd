//! What is compared when one manifest changes, and that comparing only that comes to the same as comparing everything.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::broadcast;

use super::*;
use crate::agent::commit;
use crate::api::names::Names;
use crate::controllers::sync::sourced;
use crate::store::mirror::{Batch, Mirror};
use crate::store::{Change, Op, StoreError};

/// A Store in memory that counts how often whole kinds are read.
#[derive(Default)]
struct Memory {
    mirror: Mutex<Mirror>,
    lists: AtomicUsize,
    plans: AtomicUsize,
}

#[async_trait]
impl Store for Memory {
    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.mirror.lock().unwrap().get(key).cloned()
    }
    fn list(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.mirror.lock().unwrap().list(kind)
    }
    fn owned(&self, uid: &str) -> Vec<Arc<Object>> {
        self.mirror.lock().unwrap().owned(uid)
    }
    fn record(&self, name: &str) -> Option<Vec<u8>> {
        self.mirror.lock().unwrap().record(name).map(|value| value.to_vec())
    }
    fn records(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.mirror.lock().unwrap().records(prefix)
    }
    async fn commit(&self, _: Vec<Op>) -> Result<Vec<Arc<Object>>, StoreError> {
        panic!("plans are applied at once")
    }
    fn watch(&self) -> broadcast::Receiver<Change> {
        broadcast::channel(1).1
    }
}

impl Memory {
    fn plan(&self, due: &Due, set: &ManifestSet) -> Vec<Op> {
        let (node, now) = (Node::default(), Timestamp::UNIX_EPOCH);
        let seed = self.plans.fetch_add(1, Ordering::Relaxed) as u64;
        let mut cx = Context { node: &node, now, names: Names::new(seed, "manifests", now), zone: jiff::tz::TimeZone::UTC };
        commit::operations(self, plan(due, &Wanted::of(due, set), self, &mut cx), now)
    }

    fn apply(&self, ops: Vec<Op>) {
        let mut mirror = self.mirror.lock().unwrap();
        let mut batch = Batch::after(mirror.revision);
        batch.add(&mirror, ops).unwrap();
        mirror.apply(&batch);
    }

    /// One turn of the loop's sync; how many operations it committed.
    fn sync(&self, wishes: &mut Wishes, set: &Arc<ManifestSet>) -> usize {
        self.sync_in_parts(wishes, set, usize::MAX)
    }

    /// As the loop does: each part is planned before the one before it is stored.
    fn sync_in_parts(&self, wishes: &mut Wishes, set: &Arc<ManifestSet>, most: usize) -> usize {
        let (mut count, mut unwritten) = (0, Vec::new());
        for part in wishes.take(set).parts(most, set, self) {
            let ops = self.plan(&part, set);
            count += ops.len();
            self.apply(std::mem::replace(&mut unwritten, ops));
        }
        self.apply(unwritten);
        wishes.done(set.clone());
        count
    }

    /// What is being deleted is gone; the loop is told.
    fn finish_deleted(&self, wishes: &mut Wishes) {
        for object in KINDS.into_iter().flat_map(|kind| self.list(kind)).filter(|o| o.meta().deletion_timestamp.is_some()) {
            let key = object.key();
            self.apply(vec![Op::Delete { key: key.clone(), uid: None }]);
            wishes.look_at(key);
        }
    }
}

const EVERYTHING: Due = Due { all: true, unread: false, keys: BTreeSet::new() };

fn job(name: &str, file: &str, completions: usize) -> Arc<Object> {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let job = json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"completions": completions, "template": template}});
    Arc::new(sourced(Object::from_json(Kind::Job, job.to_string().as_bytes()).unwrap(), file, 0))
}

#[test]
fn one_changed_manifest_of_a_thousand_is_the_only_one_compared() {
    let (store, mut wishes) = (Memory::default(), Wishes::default());
    let mut objects: Vec<_> = (0..1000).map(|n| job(&format!("j{n:04}"), &format!("{n:04}.yaml"), 1)).collect();
    let set = |objects: &[Arc<Object>]| Arc::new(ManifestSet { objects: objects.to_vec(), ..ManifestSet::default() });
    assert_eq!(store.sync(&mut wishes, &set(&objects)), 1000);
    let before = store.lists.load(Ordering::Relaxed);
    objects[500] = job("j0500", "0500.yaml", 2);
    let changed = set(&objects);
    assert_eq!(wishes.clone_due(&changed).keys.into_iter().map(|key| key.name).collect::<Vec<_>>(), ["j0500"]);
    assert_eq!((store.sync(&mut wishes, &changed), store.lists.load(Ordering::Relaxed) - before), (1, 0));
    assert_eq!(store.sync(&mut wishes, &changed), 0);
    wishes.missed();
    assert_eq!(store.sync(&mut wishes, &changed), 0);
    assert!(store.lists.load(Ordering::Relaxed) > before, "what was missed is looked for everywhere");
}

#[test]
fn what_could_not_be_committed_is_due_again() {
    let (store, mut wishes) = (Memory::default(), Wishes::default());
    let set = Arc::new(ManifestSet { objects: vec![job("a", "a.yaml", 1)], ..ManifestSet::default() });
    store.sync(&mut wishes, &set);
    let next = Arc::new(ManifestSet { objects: vec![job("a", "a.yaml", 1), job("b", "b.yaml", 1)], ..ManifestSet::default() });
    let due = wishes.take(&next);
    wishes.failed(due);
    assert_eq!(store.sync(&mut wishes, &next), 1);
    assert!(store.plan(&EVERYTHING, &next).is_empty());
}

#[test]
fn of_many_parts_configuration_comes_first_and_all_are_there() {
    let store = Memory::default();
    let config = |n: usize| {
        let map = json!({"metadata": {"name": format!("c{n}"), "namespace": "default"}});
        Arc::new(sourced(Object::from_json(Kind::ConfigMap, map.to_string().as_bytes()).unwrap(), &format!("c{n}.yaml"), 0))
    };
    let objects: Vec<_> = (0..5).map(|n| job(&format!("j{n}"), &format!("j{n}.yaml"), 1)).chain((0..3).map(config)).collect();
    let set = ManifestSet { objects, ..ManifestSet::default() };
    let stone = Op::Record { name: format!("{}default/gone", well_known::JOB_TOMBSTONE), value: Some(b"{}".to_vec()) };
    store.apply(vec![stone]);
    let parts = EVERYTHING.parts(4, &set, &store);
    let names: Vec<Vec<&str>> = parts.iter().map(|part| part.keys.iter().map(|key| key.name.as_str()).collect()).collect();
    assert_eq!(names, [vec!["gone", "c0", "c1", "c2"], vec!["j0", "j1", "j2", "j3"], vec!["j4"]]);
    assert_eq!(parts.iter().map(|part| part.unread).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(EVERYTHING.parts(9, &set, &store), [EVERYTHING]);
}

#[test]
fn an_object_whose_file_cannot_be_used_any_more_stays_and_says_why() {
    let (store, mut wishes) = (Memory::default(), Wishes::default());
    let objects = vec![job("a", "a.yaml", 1), job("b", "b.yaml", 1)];
    store.sync(&mut wishes, &Arc::new(ManifestSet { objects: objects.clone(), ..ManifestSet::default() }));
    let fault = |severity, message: &str| Fault {
        file: "a.yaml".to_owned(),
        line: 3,
        column: 5,
        severity,
        field: "spec.completions".to_owned(),
        message: message.to_owned(),
    };
    let faults = vec![fault(Severity::Warning, "odd"), fault(Severity::Error, "Invalid value"), fault(Severity::Error, "another")];
    let keep = BTreeSet::from(["a.yaml".to_owned()]);
    let faulty = Arc::new(ManifestSet { objects: objects[1..].to_vec(), keep, faults });
    store.sync(&mut wishes, &faulty);
    let told: Vec<_> = store.list(Kind::Event).iter().filter_map(|o| o.as_event().cloned()).collect();
    let said: Vec<_> = told.iter().map(|e| (e.involved_object.name.as_deref(), e.reason.as_deref(), e.message.as_deref())).collect();
    let words = "Job is unchanged, since its file cannot be used: a.yaml:3:5: error: spec.completions: Invalid value";
    assert_eq!(said, [(Some("a"), Some("FailedValidation"), Some(words))]);
    assert!(store.get(&Key::new(Kind::Job, "default", "a")).is_some_and(|o| o.meta().deletion_timestamp.is_none()));
    assert_eq!(store.sync(&mut wishes, &faulty), 0, "once, while it stays so");
}

#[test]
fn a_name_that_is_taken_holds_up_its_own_manifest_only_and_comes_when_it_is_free() {
    let (store, mut wishes) = (Memory::default(), Wishes::default());
    let owner = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "c", "controller": true}]);
    let made =
        json!({"metadata": {"name": "a", "namespace": "default", "uid": "made", "ownerReferences": owner}, "spec": {"template": {}}});
    store.apply(vec![Op::Create(Object::from_json(Kind::Job, made.to_string().as_bytes()).unwrap())]);
    let set = Arc::new(ManifestSet { objects: vec![job("a", "a.yaml", 1), job("b", "b.yaml", 1)], ..ManifestSet::default() });
    store.sync(&mut wishes, &set);
    let uid = |name| store.get(&Key::new(Kind::Job, "default", name)).map(|o| o.uid().to_owned());
    assert!(uid("b").is_some() && uid("a").as_deref() == Some("made"));
    let told: Vec<String> = store.list(Kind::Event).iter().filter_map(|o| o.as_event()?.message.clone()).collect();
    let words = "a.yaml wants this name, which belongs to an object that CronJob \"nightly\" made; the manifest is taken up when that is gone, or give it another name";
    assert_eq!(told, [words]);
    let key = Key::new(Kind::Job, "default", "a");
    store.apply(vec![Op::Delete { key: key.clone(), uid: None }]);
    wishes.look_at(key);
    store.sync(&mut wishes, &set);
    assert!(uid("a").is_some_and(|uid| uid != "made"));
}

impl Wishes {
    fn clone_due(&self, set: &ManifestSet) -> Due {
        Wishes { synced: self.synced.clone(), due: self.due.clone() }.take(set)
    }
}

/// A directory of five files, each absent, faulty, or defining one of four Jobs in one of three versions.
fn directories() -> impl Strategy<Value = Vec<Vec<Option<(usize, usize, bool)>>>> {
    let file = prop::option::weighted(0.8, (0usize..4, 1usize..4, prop::bool::weighted(0.2)));
    prop::collection::vec(prop::collection::vec(file, 5), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn some_keys_come_to_the_same_as_all(
        directories in directories(),
        finishes in prop::collection::vec(any::<bool>(), 12),
        most in 1usize..5,
        missed in any::<bool>(),
    ) {
        let (store, mut wishes) = (Memory::default(), Wishes::default());
        let mut known: HashMap<(usize, usize, usize), Arc<Object>> = HashMap::new();
        for (directory, finish) in directories.iter().zip(finishes) {
            let mut set = ManifestSet::default();
            let mut taken = BTreeSet::new();
            for (n, file) in directory.iter().enumerate() {
                let Some((name, version, faulty)) = file else { continue };
                if *faulty {
                    set.keep.insert(format!("{n}.yaml"));
                } else if taken.insert(*name) {
                    let read = known.entry((n, *name, *version)).or_insert_with(|| job(&format!("j{name}"), &format!("{n}.yaml"), *version));
                    set.objects.push(read.clone());
                }
            }
            let set = Arc::new(set);
            if missed {
                wishes.missed();
            }
            store.sync_in_parts(&mut wishes, &set, most);
            prop_assert!(store.plan(&EVERYTHING, &set).is_empty(), "left to do: {:?}", store.plan(&EVERYTHING, &set));
            if finish {
                store.finish_deleted(&mut wishes);
                store.sync(&mut wishes, &set);
                prop_assert!(store.plan(&EVERYTHING, &set).is_empty());
            }
        }
    }
}
