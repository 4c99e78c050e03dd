//! A changed manifest over the object that is stored: what must be made anew, and what a change in place keeps.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::Object;
use crate::controllers::cronjob::SCHEDULE_SINCE;
use crate::controllers::{job, pods};

/// Whether the change is of something Kubernetes calls immutable: a Job's template, completions, …; a DaemonSet's selector.
pub(super) fn must_replace(old: &Object, new: &Object) -> bool {
    match (old, new) {
        (Object::Job(old), Object::Job(new)) => job::immutable_hash(old) != job::immutable_hash(new),
        (Object::DaemonSet(old), Object::DaemonSet(new)) => {
            old.spec.as_ref().map(|s| &s.selector) != new.spec.as_ref().map(|s| &s.selector)
        }
        _ => false,
    }
}

/// `desired` in place of `old`: identity, status and what the agent noted on it stay; the generation counts changes of the spec.
pub(super) fn in_place(old: &Object, desired: &Object, now: Timestamp) -> Object {
    let mut next = desired.clone();
    keep_identity(next.meta_mut(), old.meta());
    match (&mut next, old) {
        (Object::DaemonSet(next), Object::DaemonSet(old)) => next.status = old.status.clone(),
        (Object::Job(next), Object::Job(old)) => merge_job(next, old),
        (Object::CronJob(next), Object::CronJob(old)) => merge_cron_job(next, old, now),
        (Object::Node(next), Object::Node(old)) => next.status = old.status.clone(),
        (Object::PersistentVolumeClaim(next), Object::PersistentVolumeClaim(_)) => bind_claim(next),
        _ => {}
    }
    let generation = old.meta().generation.unwrap_or(1) + i64::from(!same_spec(old, &next));
    next.meta_mut().generation = Some(generation);
    next
}

/// Every claim is bound at once, to a directory of this node that has its uid's name as a volume.
pub(super) fn bind_claim(claim: &mut PersistentVolumeClaim) {
    let spec = claim.spec.get_or_insert_default();
    let uid = claim.metadata.uid.as_deref().unwrap_or_default();
    spec.volume_name.get_or_insert_with(|| format!("pvc-{uid}"));
    let storage = spec.resources.as_ref().and_then(|r| r.requests.as_ref()?.get("storage")).cloned();
    claim.status = Some(PersistentVolumeClaimStatus {
        phase: Some("Bound".to_owned()),
        access_modes: spec.access_modes.clone(),
        capacity: storage.map(|size| [("storage".to_owned(), size)].into()),
        ..PersistentVolumeClaimStatus::default()
    });
}

/// Why a change of a ConfigMap or Secret is refused: it is immutable (ValidateConfigMapUpdate, ValidateSecretUpdate).
pub(super) fn forbidden(old: &Object, new: &Object) -> Option<String> {
    let (was, is, data, binary) = match (old, new) {
        (Object::ConfigMap(old), Object::ConfigMap(new)) => {
            (old.immutable, new.immutable, old.data != new.data, old.binary_data != new.binary_data)
        }
        (Object::Secret(old), Object::Secret(new)) => (old.immutable, new.immutable, old.data != new.data, false),
        _ => return None,
    };
    if was != Some(true) {
        return None;
    }
    let changed = [("immutable", is != Some(true)), ("data", data), ("binaryData", binary)];
    let faults: Vec<String> = changed
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(field, _)| format!("{field}: Forbidden: field is immutable when `immutable` is set"))
        .collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

fn same_spec(old: &Object, new: &Object) -> bool {
    match (old, new) {
        (Object::DaemonSet(old), Object::DaemonSet(new)) => old.spec == new.spec,
        (Object::Job(old), Object::Job(new)) => old.spec == new.spec,
        (Object::CronJob(old), Object::CronJob(new)) => old.spec == new.spec,
        (Object::StaticPod(old), Object::StaticPod(new)) => old.spec == new.spec,
        (Object::PersistentVolumeClaim(old), Object::PersistentVolumeClaim(new)) => old.spec == new.spec,
        (Object::Node(old), Object::Node(new)) => old.spec == new.spec,
        // What else comes from files has none.
        _ => true,
    }
}

fn keep_identity(next: &mut ObjectMeta, old: &ObjectMeta) {
    next.uid = old.uid.clone();
    next.resource_version = old.resource_version.clone();
    next.creation_timestamp = old.creation_timestamp.clone();
    next.finalizers = old.finalizers.clone();
    next.owner_references = old.owner_references.clone();
    let noted = old.annotations.iter().flatten().filter(|(name, _)| name.starts_with("minik8s.io/"));
    let annotations = next.annotations.get_or_insert_default();
    for (name, value) in noted {
        annotations.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

/// The template and selector stay as they were made with the Job's uid; they are the same but for that.
fn merge_job(next: &mut Job, old: &Job) {
    job::prepare(next);
    if let (Some(next), Some(old)) = (&mut next.spec, &old.spec) {
        next.template = old.template.clone();
        next.selector = old.selector.clone();
    }
    next.status = old.status.clone();
}

/// A changed schedule owes nothing from before the change.
fn merge_cron_job(next: &mut CronJob, old: &CronJob, now: Timestamp) {
    next.status = old.status.clone();
    if next.spec.schedule != old.spec.schedule || next.spec.time_zone != old.spec.time_zone {
        pods::annotate(&mut next.metadata, SCHEDULE_SINCE, Some(now.to_string()));
    }
}
