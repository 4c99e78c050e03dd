//! The templates a DaemonSet had, as ControllerRevisions (pkg/controller/daemon/update.go constructHistory, cleanupHistory).
//!
//! Guarantees: the current template's revision has the highest number; old ones beyond revisionHistoryLimit go, oldest first, unless a pod is of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{REVISION_HASH, Step};
use crate::api::{Kind, Object};
use crate::controllers::{Context, Plan, pods};

const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The current template's hash. Plans its revision where there is none, and its number where it is not the highest.
pub(super) fn current(ds: &DaemonSet, spec: &DaemonSetSpec, owned: &[Arc<Object>], cx: &mut Context, plan: &mut Plan) -> String {
    let data = snapshot(spec);
    let (same, old): (Vec<_>, Vec<_>) = revisions(owned).partition(|r| r.data.as_ref().is_some_and(|d| d.0 == data));
    let number = old.iter().map(|r| r.revision).max().unwrap_or(0) + 1;
    let mut same = same;
    same.sort_by_key(|r| r.revision);
    let Some(newest) = same.pop() else {
        let revision = new(ds, data, number, cx);
        let hash = hash_of(&revision);
        plan.create.push(revision.into());
        return hash;
    };
    plan.remove.extend(same.into_iter().map(identity));
    if newest.revision < number {
        plan.update.push(ControllerRevision { revision: number, ..newest.clone() }.into());
    }
    hash_of(newest)
}

fn revisions(owned: &[Arc<Object>]) -> impl Iterator<Item = &ControllerRevision> {
    owned.iter().filter_map(|o| o.as_controller_revision())
}

fn identity(revision: &ControllerRevision) -> (crate::api::Key, String) {
    let object = Object::from(revision.clone());
    (object.key(), object.uid().to_owned())
}

fn hash_of(revision: &ControllerRevision) -> String {
    revision.metadata.labels.as_ref().and_then(|l| l.get(REVISION_HASH)).cloned().unwrap_or_default()
}

/// The patch that restores this template (getPatch).
pub(super) fn snapshot(spec: &DaemonSetSpec) -> Value {
    let mut template = serde_json::to_value(&spec.template).unwrap_or_default();
    if let Some(map) = template.as_object_mut() {
        map.insert("$patch".to_owned(), json!("replace"));
    }
    json!({"spec": {"template": template}})
}

fn new(ds: &DaemonSet, data: Value, revision: i64, cx: &mut Context) -> ControllerRevision {
    let hash: String = Sha256::digest(data.to_string().as_bytes()).iter().take(10).map(letter).collect();
    let from = &ds.metadata;
    let mut labels = ds.spec.as_ref().and_then(|s| s.template.metadata.as_ref()?.labels.clone()).unwrap_or_default();
    labels.insert(REVISION_HASH.to_owned(), hash.clone());
    let annotations = pods::users_annotations(from.annotations.as_ref());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", from.name.as_deref().unwrap_or_default())),
            namespace: from.namespace.clone(),
            uid: Some(cx.names.uid()),
            creation_timestamp: Some(Time(cx.now)),
            labels: Some(labels),
            annotations: Some(annotations).filter(|a| !a.is_empty()),
            owner_references: Some(vec![pods::controlled_by(Kind::DaemonSet, from)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision,
    }
}

fn letter(byte: &u8) -> char {
    char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])
}

/// Drops old revisions beyond the limit.
pub(super) fn trim(step: &mut Step, owned: &[Arc<Object>]) {
    let live: BTreeSet<&str> =
        pods::among(owned).into_iter().filter_map(|p| Some(p.metadata.labels.as_ref()?.get(REVISION_HASH)?.as_str())).collect();
    let current = step.hash.clone();
    let mut old: Vec<&ControllerRevision> = revisions(owned).filter(|r| hash_of(r) != current).collect();
    old.sort_by_key(|r| r.revision);
    let limit = usize::try_from(step.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
    let surplus = old.len().saturating_sub(limit);
    let dead = old.into_iter().filter(|r| !live.contains(hash_of(r).as_str()));
    step.plan.remove.extend(dead.take(surplus).map(identity));
}
