//! Which fields this agent honours: one table, and the check that names every field a manifest sets which the agent does not honour.
//!
//! Guarantees: every field of every struct reachable from a DaemonSet's, Job's, CronJob's, Pod's, claim's or Node's spec has a row, or stands under a field
//! whose row speaks for all below it (a test walks the real types). So nothing is passed over in silence: a field is honoured, refused, warned
//! about, or said to mean nothing here. To add a feature, change its row to `Honoured`. Runs before defaults, so only what the user wrote is reported.
//!
//! A security field is honoured or refused, never warned about.

pub mod coverage;
mod table;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

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
    let (owner, annotated): (_, &[&str]) = match object {
        Object::DaemonSet(_) => ("DaemonSetSpec", &["spec", "template"]),
        Object::Job(_) => ("JobSpec", &["spec", "template"]),
        Object::CronJob(_) => ("CronJobSpec", &["spec", "jobTemplate", "spec", "template"]),
        Object::StaticPod(_) | Object::Pod(_) => ("PodSpec", &[]),
        Object::Node(_) => ("NodeSpec", &[]),
        Object::PersistentVolumeClaim(_) => ("PersistentVolumeClaimSpec", &[]),
        Object::ConfigMap(_) | Object::Secret(_) | Object::Event(_) | Object::ControllerRevision(_) => return Vec::new(),
    };
    let json = object.to_json();
    let mut faults = Vec::new();
    if !matches!(owner, "NodeSpec" | "PersistentVolumeClaimSpec") {
        profile_annotations(&json, annotated, &mut faults);
    }
    if let Some(spec) = json.get("spec") {
        walk(spec, owner, &mut "spec".to_owned(), &mut faults);
    }
    faults
}

/// `path` is the value's own, and is so again at the end.
fn walk(value: &Value, owner: &str, path: &mut String, faults: &mut Vec<FieldFault>) {
    let above = path.len();
    for (field, value) in value.as_object().into_iter().flatten() {
        path.truncate(above);
        path.push('.');
        path.push_str(field);
        let Some(row) = row(owner, field) else {
            // The table is complete by test; a hole must not read as honoured all the same.
            faults.push(FieldFault::error(&**path, "this version of minik8s does not know what to do with this field; remove it"));
            continue;
        };
        if let Some(severity) = row.status.severity()
            && is_set(value)
            && !excepted(value, row)
        {
            faults.push(FieldFault { severity, field: path.clone(), message: row.reason.to_owned() });
        }
        match value {
            _ if row.inner.is_empty() => {}
            Value::Array(items) => {
                let list = path.len();
                for (i, item) in items.iter().enumerate() {
                    path.push_str(&format!("[{i}]"));
                    walk(item, row.inner, path, faults);
                    path.truncate(list);
                }
            }
            _ => walk(value, row.inner, path, faults),
        }
    }
    path.truncate(above);
}

/// An empty text or list is what Kubernetes takes for unset.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

fn excepted(value: &Value, row: &Row) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    row.except.contains(&text.as_str())
}

fn profile_annotations(json: &Value, path: &[&str], faults: &mut Vec<FieldFault>) {
    let holder = path.iter().try_fold(json, |value, name| value.get(name));
    let annotations = holder.and_then(|h| h.get("metadata")?.get("annotations")?.as_object());
    for (key, value) in annotations.into_iter().flatten() {
        let Some(wrong) = value.as_str().and_then(|profile| profile_fault(key, profile)) else { continue };
        let mut field: String = path.iter().map(|name| format!("{name}.")).collect();
        field.push_str(&format!("metadata.annotations[{key}]"));
        faults.push(FieldFault::error(field, wrong));
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
