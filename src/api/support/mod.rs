//! Which fields this agent honours: one table, and the check that names every field a manifest sets which the agent does not honour.
//!
//! Guarantees: every field of every struct reachable from a DaemonSet's, Job's, CronJob's, Pod's, claim's or Node's spec has a row, or stands under a field
//! whose row speaks for all below it (a test walks the real types). So nothing is passed over in silence: a field is honoured, refused, warned
//! about, or said to mean nothing here. To add a feature, change its row to `Honoured`. Runs before defaults, so only what the user wrote is reported.
//!
//! A security field is honoured or refused, never warned about.

pub mod coverage;
mod fields;
mod table;

use std::collections::HashMap;
use std::sync::LazyLock;

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Object;
use super::fault::{FieldFault, Severity};

pub use table::table;

/// What the agent does about a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does what Kubernetes does.
    Honoured,
    /// It does not accept an object that sets the field: an error.
    Refused,
    /// It accepts the object and does without the field: a warning.
    Warned,
    /// The field means nothing on a node alone: an information.
    NotApplicable,
}

impl Status {
    /// How it is told of a field that is set; `None`: there is nothing to tell.
    fn severity(self) -> Option<Severity> {
        match self {
            Status::Honoured => None,
            Status::Refused => Some(Severity::Error),
            Status::Warned => Some(Severity::Warning),
            Status::NotApplicable => Some(Severity::Info),
        }
    }
}

/// One field of one of Kubernetes' structs.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The struct, as k8s-openapi names it (`PodSpec`).
    pub owner: &'static str,
    /// The field's name in manifests (`hostUsers`).
    pub field: &'static str,
    /// What the agent does about it.
    pub status: Status,
    /// Why, and what to do instead; "" where honoured.
    pub reason: &'static str,
    /// Values with which the field is honoured whatever the status says, as plain text or compact JSON (`true`, `Default`, `{}`).
    pub except: &'static [&'static str],
    /// The struct the field holds (alone, in a list or in a map) that has rows of its own; "" = the row speaks for all below it.
    pub inner: &'static str,
}

/// The row of a field, if the table has it.
pub fn row(owner: &str, field: &str) -> Option<&'static Row> {
    static BY_FIELD: LazyLock<HashMap<(&str, &str), &Row>> =
        LazyLock::new(|| table().iter().map(|row| ((row.owner, row.field), row)).collect());
    BY_FIELD.get(&(owner, field)).copied()
}

/// The annotations that were AppArmor's field before Kubernetes 1.30, which still count; the container's name follows.
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// Those that were seccomp's: Kubernetes ignores them since 1.27, and a container must not run without the profile that its author wanted.
const SECCOMP: [&str; 2] = ["container.seccomp.security.alpha.kubernetes.io/", "seccomp.security.alpha.kubernetes.io/pod"];

/// Names every field the object sets that the agent does not honour, in the order of the fields.
pub fn check(object: &Object) -> Vec<FieldFault> {
    let (owner, annotated) = match object {
        Object::DaemonSet(o) => ("DaemonSetSpec", Some(("spec.template.", o.spec.as_ref().and_then(|s| s.template.metadata.as_ref())))),
        Object::Job(o) => ("JobSpec", Some(("spec.template.", o.spec.as_ref().and_then(|s| s.template.metadata.as_ref())))),
        Object::CronJob(o) => ("CronJobSpec", Some(("spec.jobTemplate.spec.template.", job_template(o)))),
        Object::StaticPod(_) | Object::Pod(_) => ("PodSpec", Some(("", Some(object.meta())))),
        Object::Node(_) => ("NodeSpec", None),
        Object::PersistentVolumeClaim(_) => ("PersistentVolumeClaimSpec", None),
        Object::ConfigMap(_) | Object::Secret(_) | Object::Event(_) | Object::ControllerRevision(_) => return Vec::new(),
    };
    let mut faults = Vec::new();
    if let Some((path, Some(meta))) = annotated {
        profile_annotations(meta, path, &mut faults);
    }
    fields::walk(&object.to_json_text(), owner, &mut faults);
    faults
}

fn job_template(cron: &CronJob) -> Option<&ObjectMeta> {
    cron.spec.job_template.spec.as_ref()?.template.metadata.as_ref()
}

/// `path` leads to what has this metadata.
fn profile_annotations(meta: &ObjectMeta, path: &str, faults: &mut Vec<FieldFault>) {
    for (key, profile) in meta.annotations.iter().flatten() {
        if let Some(wrong) = profile_fault(key, profile) {
            faults.push(FieldFault::error(format!("{path}metadata.annotations[{key}]"), wrong));
        }
    }
}

/// What is wrong with an annotation that asks for a security profile.
fn profile_fault(key: &str, profile: &str) -> Option<String> {
    if key.starts_with(APPARMOR) {
        let known =
            ["", "runtime/default", "unconfined"].contains(&profile) || profile.strip_prefix("localhost/").is_some_and(|n| !n.is_empty());
        return (!known).then(|| format!("Invalid value: {profile:?}: invalid AppArmor profile name"));
    }
    let seccomp = SECCOMP.iter().any(|prefix| key.starts_with(prefix)) && profile != "unconfined";
    seccomp
        .then(|| "Kubernetes ignores it since 1.27, and the container must not run without; use securityContext.seccompProfile".to_owned())
}

#[cfg(test)]
mod tests;
