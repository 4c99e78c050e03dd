//! What the manifests ask of the Store now: the inputs of `controllers::sync`, gathered. Reads the Store, writes nothing.
//!
//! Guarantees: a change of one manifest, or of one stored object, costs the comparison of that one; everything is compared at the start, when
//! changes were missed, and when a file becomes or ceases to be unreadable. Each key is judged by itself (`controllers::sync`), so that some
//! keys give those keys' part of the whole plan.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::manifests::{ManifestSet, name_of};
use crate::api::fault::{Fault, Severity};
use crate::api::{Key, Kind, Object, well_known};
use crate::controllers::{self, Context, EventDraft, Plan};
use crate::store::Store;

/// The kinds that come from files, Nodes aside. First what pods are configured with.
const KINDS: [Kind; 7] =
    [Kind::ConfigMap, Kind::Secret, Kind::PersistentVolumeClaim, Kind::DaemonSet, Kind::Job, Kind::CronJob, Kind::StaticPod];

/// Of so many objects with unusable files an event tells; the log has all faults.
const MOST_UNREAD: usize = 100;

/// Which keys are to be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// All of them, whatever `keys` says, and `unread`.
    all: bool,
    /// Also what is to be told of objects whose files cannot be used.
    unread: bool,
    keys: BTreeSet<Key>,
}

impl Due {
    /// The same as parts of `most` keys at most, in the order in which they are to be planned and committed: configuration before what uses it.
    pub fn parts(&self, most: usize, set: &ManifestSet, store: &dyn Store) -> Vec<Due> {
        let mut keys: Vec<Key> = if self.all { every(set, store).into_iter().collect() } else { self.keys.iter().cloned().collect() };
        if keys.len() <= most {
            return vec![self.clone()];
        }
        keys.sort_by_key(|key| KINDS.iter().position(|kind| *kind == key.kind));
        let part = |(n, keys): (usize, &[Key])| Due { all: false, unread: self.all && n == 0, keys: keys.iter().cloned().collect() };
        keys.chunks(most).enumerate().map(part).collect()
    }
}

/// The keys of everything that is wanted, stored or remembered.
fn every(set: &ManifestSet, store: &dyn Store) -> BTreeSet<Key> {
    let stored = KINDS.into_iter().flat_map(|kind| store.list(kind)).filter(|o| from_file(o)).map(|o| o.key());
    let wanted = set.objects.iter().filter(|o| o.kind() != Kind::Node).map(|o| o.key());
    let job = |name: &str| name.split_once('/').map(|(namespace, name)| Key::new(Kind::Job, namespace, name));
    stored.chain(wanted).chain(tombstones(store).keys().filter_map(|name| job(name))).collect()
}

/// What has been compared with the Store already.
#[derive(Default)]
pub struct Wishes {
    /// The set that the Store was last brought in line with.
    synced: Option<Arc<ManifestSet>>,
    due: Due,
}

impl Wishes {
    /// Changes of the Store were missed: everything is compared again.
    pub fn missed(&mut self) {
        self.due.all = true;
    }

    /// This object is not as sync left it.
    pub fn look_at(&mut self, key: Key) {
        self.due.keys.insert(key);
    }

    /// What is due for `set`. It is due no more: give it back with [`Wishes::failed`] or say [`Wishes::done`].
    pub fn take(&mut self, set: &ManifestSet) -> Due {
        let mut due = std::mem::take(&mut self.due);
        match self.synced.as_deref().filter(|earlier| earlier.keep == set.keep) {
            Some(earlier) => due.keys.extend(set.changed_since(earlier)),
            None => due.all = true,
        }
        due
    }

    /// It is committed.
    pub fn done(&mut self, set: Arc<ManifestSet>) {
        self.synced = Some(set);
    }

    /// It is not, or not all of it.
    pub fn failed(&mut self, due: Due) {
        self.due.all |= due.all || due.unread;
        self.due.keys.extend(due.keys);
    }
}

/// A set and where in it the objects are that are due.
pub struct Wanted<'a> {
    set: &'a ManifestSet,
    objects: HashMap<(Kind, &'a str, &'a str), &'a Arc<Object>>,
}

impl<'a> Wanted<'a> {
    /// Looks at each object of the set once, however many parts are planned by it.
    pub fn of(due: &Due, set: &'a ManifestSet) -> Wanted<'a> {
        let names: HashSet<_> = due.keys.iter().map(name_of_key).collect();
        let objects = set.objects.iter().map(|o| (name_of(o), o)).filter(|(name, _)| due.all || names.contains(name));
        Wanted { set, objects: objects.collect() }
    }

    fn among(&self, keys: &BTreeSet<Key>) -> Vec<&'a Arc<Object>> {
        keys.iter().filter_map(|key| self.objects.get(&name_of_key(key)).copied()).collect()
    }
}

fn name_of_key(key: &Key) -> (Kind, &str, &str) {
    (key.kind, key.namespace.as_str(), key.name.as_str())
}

/// The plan that brings what came from files in line with what is wanted, as far as it is due.
pub fn plan(due: &Due, wanted: &Wanted, store: &dyn Store, cx: &mut Context) -> Plan {
    let set = wanted.set;
    // Before the objects: a wish to run a Job again comes with the Job's deletion, which must be seen then.
    let tombstones = due_tombstones(due, store);
    let (stored, objects) = match due.all {
        true => (KINDS.into_iter().flat_map(|kind| store.list(kind)).collect::<Vec<_>>(), set.objects.iter().collect()),
        false => (due.keys.iter().filter_map(|key| store.get(key)).collect(), wanted.among(&due.keys)),
    };
    let stored: Vec<Arc<Object>> = stored.into_iter().filter(|o| from_file(o)).collect();
    let mut desired = desired(&objects, set, &stored);
    // A name that a controller or a command gave: its turn comes when that object is gone, which makes the key due. Everything else goes on.
    let holder = |o: &Object| store.get(&o.key()).filter(|held| !from_file(held));
    let taken: Vec<EventDraft> = desired.iter().filter_map(|o| holder(o).map(|held| name_taken(o, &held))).collect();
    desired.retain(|o| holder(o).is_none());
    let buried = tombstones.values().filter_map(|stone| controllers::sync::tombstone_source(stone));
    let sources = stored.iter().filter_map(|o| source(o).map(str::to_owned)).chain(buried);
    let keep: BTreeSet<String> = sources.filter(|s| set.keeps(s)).map(|s| path_of(&s).to_owned()).collect();
    let mut plan = controllers::sync::reconcile(&desired, &stored, &keep, &tombstones, cx);
    plan.events.extend(taken);
    if due.all || due.unread {
        plan.events.extend(unread(store, set));
    }
    plan
}

/// What is to be told of objects whose file says nothing usable of them any more: that they stay as they are, and why.
fn unread(store: &dyn Store, set: &ManifestSet) -> Vec<EventDraft> {
    let faults: HashMap<&str, &Fault> =
        set.faults.iter().rev().filter(|f| f.severity == Severity::Error).map(|f| (f.file.as_str(), f)).collect();
    if faults.is_empty() {
        return Vec::new();
    }
    let read: HashSet<_> = set.objects.iter().map(|o| name_of(o)).collect();
    let stored = KINDS.into_iter().flat_map(|kind| store.list(kind)).filter(|o| from_file(o));
    let unread = stored.filter(|o| !read.contains(&name_of(o)));
    let told = unread.filter_map(|o| {
        let (about, uid, fault) = (o.key(), o.uid().to_owned(), faults.get(path_of(source(&o)?))?);
        let message = format!("{} is unchanged, since its file cannot be used: {fault}", about.kind.shown());
        Some(EventDraft::new("minik8s", about, uid, true, "FailedValidation", message))
    });
    told.take(MOST_UNREAD).collect()
}

fn name_taken(wanted: &Object, held: &Object) -> EventDraft {
    let owner = held.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let by = owner.map_or_else(String::new, |owner| format!(" that {} {:?} made", owner.kind, owner.name));
    let file = source(wanted).map_or("a manifest", path_of);
    let message = format!(
        "{file} wants this name, which belongs to an object{by}; the manifest is taken up when that is gone, or give it another name"
    );
    let (about, uid) = (held.key(), held.uid().to_owned());
    EventDraft::new("minik8s", about, uid, true, "NameTaken", message)
}

fn due_tombstones(due: &Due, store: &dyn Store) -> BTreeMap<String, String> {
    if due.all {
        return tombstones(store);
    }
    let jobs = due.keys.iter().filter(|key| key.kind == Kind::Job);
    let names = jobs.map(|key| format!("{}{}/{}", well_known::JOB_TOMBSTONE, key.namespace, key.name));
    names.filter_map(|name| store.record(&name).map(|value| tombstone((name, value)))).collect()
}

fn source(object: &Object) -> Option<&str> {
    object.meta().annotations.as_ref().and_then(|a| a.get(well_known::SOURCE)).map(String::as_str)
}

fn path_of(source: &str) -> &str {
    source.rsplit_once('#').map_or(source, |(path, _)| path)
}

/// What a controller made did not come from a file, whatever annotations its template has.
fn from_file(object: &Object) -> bool {
    KINDS.contains(&object.kind()) && source(object).is_some() && object.controller_uid().is_none()
}

/// What the directory asks for, without Nodes (they describe hosts), and without what would take over an object whose own file is only
/// unreadable at the moment.
fn desired<'a>(objects: &[&'a Arc<Object>], set: &ManifestSet, stored: &[Arc<Object>]) -> Vec<&'a Object> {
    let owners: HashMap<_, &str> = stored.iter().filter_map(|o| source(o).map(|s| (name_of(o), s))).collect();
    let taken = |o: &Object| {
        let (mine, theirs) = (source(o).unwrap_or_default(), owners.get(&name_of(o)).copied().unwrap_or_default());
        path_of(mine) != path_of(theirs) && set.keeps(theirs)
    };
    objects.iter().map(|o| &***o).filter(|o| o.kind() != Kind::Node && !taken(o)).collect()
}

/// What is remembered of all Jobs, as `controllers::sync` takes it.
pub fn tombstones(store: &dyn Store) -> BTreeMap<String, String> {
    store.records(well_known::JOB_TOMBSTONE).into_iter().map(tombstone).collect()
}

fn tombstone((name, value): (String, Vec<u8>)) -> (String, String) {
    let key = name.strip_prefix(well_known::JOB_TOMBSTONE).unwrap_or(&name).to_owned();
    (key, String::from_utf8_lossy(&value).into_owned())
}

#[cfg(test)]
#[path = "wishes_tests.rs"]
mod tests;
