//! What the manifests ask of the Store now: the inputs of `controllers::sync`, gathered. Reads the Store, writes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::manifests::ManifestSet;
use crate::api::{Key, Kind, Object, well_known};
use crate::controllers::{self, Context, Plan};
use crate::store::Store;

/// The plan that brings what came from files in line with `set`.
pub fn plan(set: &ManifestSet, store: &dyn Store, cx: &mut Context) -> Plan {
    // Before the objects: a wish to run a Job again comes with the Job's deletion, which must be seen then.
    let tombstones = tombstones(store);
    let stored = stored_from_files(store);
    let desired = desired(set, &stored);
    let buried = tombstones.values().filter_map(|stone| controllers::sync::tombstone_source(stone));
    let sources = stored.iter().filter_map(|o| source(o).map(str::to_owned)).chain(buried);
    let keep: BTreeSet<String> = sources.filter(|s| set.keeps(s)).map(|s| path_of(&s).to_owned()).collect();
    controllers::sync::reconcile(&desired, &stored, &keep, &tombstones, cx)
}

fn source(object: &Object) -> Option<&str> {
    object.meta().annotations.as_ref().and_then(|a| a.get(well_known::SOURCE)).map(String::as_str)
}

fn path_of(source: &str) -> &str {
    source.rsplit_once('#').map_or(source, |(path, _)| path)
}

/// What a controller made did not come from a file, whatever annotations its template has.
fn stored_from_files(store: &dyn Store) -> Vec<Arc<Object>> {
    let kinds = [Kind::DaemonSet, Kind::Job, Kind::CronJob, Kind::StaticPod, Kind::ConfigMap, Kind::Secret, Kind::PersistentVolumeClaim];
    let objects = kinds.into_iter().flat_map(|kind| store.list(kind));
    objects.filter(|o| source(o).is_some() && o.controller_uid().is_none()).collect()
}

/// What the directory asks for, without Nodes (they describe hosts), and without what would take over an object whose own file is only
/// unreadable at the moment.
fn desired<'a>(set: &'a ManifestSet, stored: &[Arc<Object>]) -> Vec<&'a Object> {
    let owners: HashMap<Key, &str> = stored.iter().filter_map(|o| source(o).map(|s| (o.key(), s))).collect();
    let taken = |o: &Object| {
        let (mine, theirs) = (source(o).unwrap_or_default(), owners.get(&o.key()).copied().unwrap_or_default());
        path_of(mine) != path_of(theirs) && set.keeps(theirs)
    };
    set.objects.iter().map(|o| &**o).filter(|o| o.kind() != Kind::Node && !taken(o)).collect()
}

/// What is remembered of Jobs, as `controllers::sync` takes it.
pub fn tombstones(store: &dyn Store) -> BTreeMap<String, String> {
    store.records(well_known::JOB_TOMBSTONE).into_iter().map(tombstone).collect()
}

fn tombstone((name, value): (String, Vec<u8>)) -> (String, String) {
    let key = name.strip_prefix(well_known::JOB_TOMBSTONE).unwrap_or(&name).to_owned();
    (key, String::from_utf8_lossy(&value).into_owned())
}
