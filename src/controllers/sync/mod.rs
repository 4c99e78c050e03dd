//! The manifests directory → the Store.
//!
//! ```text
//!                     ┌─ not stored ─────────▶ created (unless a tombstone says that this Job has had its day, and nobody wants it again)
//! in the directory ───┼─ same manifest ──────▶ left alone
//!                     ├─ mutable change ─────▶ updated in place: same uid and status, generation + 1
//!                     ├─ immutable change ───▶ deleted gracefully; created anew when it is gone
//!                     └─ `immutable: true` ──▶ left as it is, with an event: remove the file to replace it, as on a cluster
//! not any more ───────── its file readable ──▶ deleted gracefully (plain data: dropped)
//!                        its file faulty ────▶ left alone
//! ```
//!
//! Guarantees: only what has a [`SOURCE`] is touched; what is the same manifest is never touched, whatever this version's defaults are. Left to
//! others: reading files, and finishing graceful deletions (each workload's controller).

mod merge;
pub mod preview;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sha2::{Digest, Sha256};

use super::{Context, EventDraft, Plan, cascade, job, pods};
use crate::api::well_known::{JOB_TOMBSTONE, MANIFEST_HASH, REFUSED_MANIFEST, SOURCE};
use crate::api::{Key, Kind, Object};

/// One look at the directory.
///
/// * `desired`: every object of every readable file, each with [`SOURCE`] and [`MANIFEST_HASH`]; of two with one key the first counts.
/// * `stored`: the stored objects that have a [`SOURCE`]; others are passed over.
/// * `keep_sources`: files (the part of [`SOURCE`] before `#`) that are faulty or unreadable now.
/// * `tombstones`: the records under [`JOB_TOMBSTONE`], keyed by what follows that prefix (`<ns>/<name>`).
pub fn reconcile(
    desired: &[&Object],
    stored: &[Arc<Object>],
    keep_sources: &BTreeSet<String>,
    tombstones: &BTreeMap<String, String>,
    cx: &mut Context,
) -> Plan {
    let mut wanted: BTreeMap<Key, &Object> = BTreeMap::new();
    for object in desired {
        wanted.entry(object.key()).or_insert(object);
    }
    let stored: BTreeMap<Key, &Object> = stored.iter().filter(|o| source(o).is_some()).map(|o| (o.key(), &**o)).collect();
    let mut plan = Plan::default();
    for (key, object) in &wanted {
        match stored.get(key) {
            Some(old) => follow(old, object, &mut plan, cx),
            None if buried(key, object, tombstones) => {}
            None => create_wanted(key, object, tombstones, &mut plan, cx),
        }
    }
    let kept = |source: &str| keep_sources.contains(file(source));
    for (_, object) in stored.iter().filter(|(key, o)| !wanted.contains_key(*key) && !source(o).is_some_and(kept)) {
        prune(object, &mut plan);
    }
    for (name, text) in tombstones {
        if !needed(name, text, &wanted, &stored, &kept) {
            plan.records.push((format!("{JOB_TOMBSTONE}{name}"), None));
        }
    }
    plan
}

/// A decoded object with what tells where it is from and what it says: [`SOURCE`] (`<file>#<document>`) and [`MANIFEST_HASH`].
pub fn sourced(mut object: Object, file: &str, document: usize) -> Object {
    let hash: String = Sha256::digest(object.to_json_text()).iter().take(16).map(|b| format!("{b:02x}")).collect();
    let annotations = object.meta_mut().annotations.get_or_insert_default();
    annotations.insert(SOURCE.to_owned(), format!("{file}#{document}"));
    annotations.insert(MANIFEST_HASH.to_owned(), hash);
    object
}

fn source(object: &Object) -> Option<&str> {
    pods::annotation(object.meta(), SOURCE)
}

fn file(source: &str) -> &str {
    source.rsplit_once('#').map_or(source, |(file, _)| file)
}

/// Makes the object; if that was asked for by hand, says so. The wish goes with the tombstone that holds it, in the same plan ([`needed`]).
fn create_wanted(key: &Key, object: &Object, tombstones: &BTreeMap<String, String>, plan: &mut Plan, cx: &mut Context) {
    create(object, plan, cx);
    let wish = stone_of(key, tombstones).and_then(|stone| stone.again);
    if let (Some(wish), Some(made)) = (wish, plan.create.last()) {
        plan.events.push(job::rerun::made_again(key, made.uid(), &wish));
    }
}

fn create(object: &Object, plan: &mut Plan, cx: &mut Context) {
    let mut new = object.clone();
    let meta = new.meta_mut();
    meta.uid = Some(cx.names.uid());
    meta.creation_timestamp = Some(Time(cx.now));
    meta.generation = Some(1);
    meta.resource_version = None;
    match &mut new {
        Object::Job(job) => job::prepare(job),
        Object::PersistentVolumeClaim(claim) => merge::bind_claim(claim),
        _ => {}
    }
    plan.create.push(new);
}

/// The manifest of a stored object, as it is now.
fn follow(old: &Object, desired: &Object, plan: &mut Plan, cx: &Context) {
    let hash = |o: &Object| pods::annotation(o.meta(), MANIFEST_HASH).map(str::to_owned);
    if old.meta().deletion_timestamp.is_some() {
        return; // It is made anew when it is gone.
    }
    if hash(old) == hash(desired) {
        let mut moved = old.clone();
        if pods::annotate(moved.meta_mut(), SOURCE, source(desired).map(str::to_owned)) {
            plan.update.push(moved);
        }
        return;
    }
    if let Some(message) = merge::forbidden(old, desired) {
        refuse(old, hash(desired), &message, plan);
    } else if merge::must_replace(old, desired) {
        plan.delete.push(cascade::whole(old));
    } else {
        plan.update.push(merge::in_place(old, desired, cx.now));
    }
}

/// Leaves an immutable object as it is and says so, once for each manifest.
fn refuse(old: &Object, manifest: Option<String>, message: &str, plan: &mut Plan) {
    let mut noted = old.clone();
    if pods::annotate(noted.meta_mut(), REFUSED_MANIFEST, manifest) {
        let (about, uid) = (old.key(), old.uid().to_owned());
        let message = format!("{} is unchanged: {message}; remove its file and add it again to replace it", about.kind.shown());
        plan.events.push(EventDraft::new("minik8s", about, uid, true, "FailedValidation", message));
        plan.update.push(noted);
    }
}

fn prune(object: &Object, plan: &mut Plan) {
    match object.kind() {
        Kind::DaemonSet | Kind::Job | Kind::CronJob | Kind::StaticPod if object.meta().deletion_timestamp.is_some() => {}
        Kind::DaemonSet | Kind::Job | Kind::CronJob | Kind::StaticPod => plan.delete.push(cascade::whole(object)),
        _ => plan.remove.push((object.key(), object.uid().to_owned())),
    }
}

/// The SOURCE of the Job that a tombstone's record remembers.
pub fn tombstone_source(record: &str) -> Option<String> {
    tombstone(record).map(|stone| stone.source)
}

/// The tombstone of a record's text.
fn tombstone(text: &str) -> Option<job::Tombstone> {
    serde_json::from_str(text).ok()
}

fn stone_of(key: &Key, tombstones: &BTreeMap<String, String>) -> Option<job::Tombstone> {
    if key.kind != Kind::Job {
        return None;
    }
    tombstones.get(&format!("{}/{}", key.namespace, key.name)).and_then(|text| tombstone(text))
}

/// Whether this Job ran already and was removed by its TTL: the same manifest, or one that differs only in what may change; and nobody has asked
/// for it again since.
pub(super) fn buried(key: &Key, object: &Object, tombstones: &BTreeMap<String, String>) -> bool {
    let Object::Job(desired) = object else { return false };
    stone_of(key, tombstones).is_some_and(|stone| stone.again.is_none() && remembers(&stone, desired))
}

fn remembers(stone: &job::Tombstone, desired: &Job) -> bool {
    pods::annotation(&desired.metadata, MANIFEST_HASH) == Some(&stone.manifest) || job::immutable_hash(desired) == stone.immutable
}

/// Whether a tombstone still keeps a manifest from running again, or may, while its file is faulty. One that has it run again is needed until the Job
/// is made: while the earlier one is going.
fn needed(name: &str, text: &str, wanted: &BTreeMap<Key, &Object>, stored: &BTreeMap<Key, &Object>, kept: &impl Fn(&str) -> bool) -> bool {
    let (Some((namespace, job)), Some(stone)) = (name.split_once('/'), tombstone(text)) else { return false };
    let key = Key::new(Kind::Job, namespace, job);
    match wanted.get(&key) {
        Some(_) if stone.again.is_some() => stored.get(&key).is_some_and(|old| old.meta().deletion_timestamp.is_some()),
        Some(object) => object.as_job().is_some_and(|desired| remembers(&stone, desired)),
        None => kept(&stone.source),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_identity;
#[cfg(test)]
mod tests_rerun;
