//! What the agent would do about manifests, of all that it knows: what is stored, which Jobs have had their day, how a DaemonSet's rollout goes, what
//! else runs here. Pure; the agent answers with it, and nothing is changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rehearsal::{Rehearsal, rehearse};
use super::{Row, verdict};
use crate::admission;
use crate::api::{Key, Object};
use crate::controllers::sync::preview::{Outcome, changed_fields, preview};
use crate::controllers::{Context, job, pods, sync};

/// What the agent knows.
pub struct Known<'a> {
    /// The object of a key.
    pub stored: &'a dyn Fn(&Key) -> Option<Arc<Object>>,
    /// The objects whose controller has a uid.
    pub owned: &'a dyn Fn(&str) -> Vec<Arc<Object>>,
    /// The records under `JOB_TOMBSTONE`, as [`sync::reconcile`] takes them.
    pub tombstones: &'a BTreeMap<String, String>,
    /// The pods that hold something of the node.
    pub bound: &'a [Arc<Object>],
}

/// What would become of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// `created`, `replaced`, `configured` or `unchanged`.
    pub outcome: String,
    /// Why, and what comes of it.
    pub why: Vec<String>,
    /// Pods and Jobs that would be made, a generated name as `pi-*`.
    pub started: Vec<String>,
    /// Pods that would be stopped.
    pub stopped: Vec<String>,
}

/// The rows of the workloads among `objects` (each with its SOURCE and MANIFEST_HASH), for the agent's node.
pub fn foresee(objects: &[Object], known: &Known, cx: &mut Context) -> Vec<Row> {
    let mut rows = Vec::new();
    for object in objects {
        if let Some(verdict) = verdict(object, cx.node) {
            rows.push(Row { key: object.key(), verdict, change: Some(change(object, known, cx)) });
        }
    }
    rows
}

fn change(desired: &Object, known: &Known, cx: &mut Context) -> Change {
    let key = desired.key();
    let stored = (known.stored)(&key);
    let (outcome, old, new) = preview(stored.as_deref(), desired, cx.now);
    let fields = old.as_ref().map(|old| changed_fields(old, &new)).unwrap_or_default();
    let mut change = Change::default();
    let taken = stored.as_deref().and_then(Object::controller_uid).is_some();
    let going = stored.as_ref().is_some_and(|old| old.meta().deletion_timestamp.is_some());
    let buried = (going || stored.is_none()) && sync::buried(&key, desired, known.tombstones);
    let (word, why) = match outcome {
        _ if taken => {
            ("unchanged", vec!["an object of this name was made by a controller; it is tried again until the name is free".to_owned()])
        }
        _ if buried => ("unchanged", vec![format!("it ran and its time to live is over; minik8s rerun job/{} runs it again", key.name)]),
        Outcome::Created => ("created", vec!["there is no such object".to_owned()]),
        Outcome::Unchanged => ("unchanged", ended(stored.as_deref())),
        Outcome::Configured => ("configured", fields.iter().cloned().chain(rollout(desired, &fields)).collect()),
        Outcome::Replaced => ("replaced", fields.iter().map(|field| format!("{field}: cannot change in place")).collect()),
        Outcome::Refused(why) => ("unchanged", vec![why]),
    };
    change.outcome = word.to_owned();
    change.why = why;
    if going && !taken && !buried {
        change.outcome = "created".to_owned();
        change.why = vec!["the one before is being deleted; it is made when that is gone".to_owned()];
    } else if word == "unchanged" {
        return change;
    }
    let done = rehearse(desired, stored, known, cx);
    change.why.extend(waits(&done, known, cx));
    (change.started, change.stopped) = (done.started.iter().map(shown).collect(), done.stopped);
    change
}

/// A finished Job does nothing any more.
fn ended(stored: Option<&Object>) -> Vec<String> {
    let Some(Object::Job(job)) = stored else { return Vec::new() };
    let name = job.metadata.name.as_deref().unwrap_or_default();
    job::finished(job)
        .map(|_| format!("it has finished and does not run again; minik8s rerun job/{name} runs it again"))
        .into_iter()
        .collect()
}

/// How a DaemonSet's pods follow a changed template.
fn rollout(desired: &Object, fields: &[String]) -> Option<String> {
    let spec = desired.as_daemon_set()?.spec.as_ref()?;
    fields.iter().find(|field| *field == "spec.template")?;
    let strategy = spec.update_strategy.as_ref();
    if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
        return Some("updateStrategy OnDelete: the pod that runs stays until it is deleted".to_owned());
    }
    let surge = strategy.and_then(|s| s.rolling_update.as_ref()?.max_surge.as_ref());
    let surges = surge.is_some_and(|surge| !matches!(serde_json::to_string(surge).as_deref(), Ok("0" | "\"0%\"")));
    Some(match surges {
        true => "updateStrategy RollingUpdate with maxSurge: the old pod is stopped when the new one is available".to_owned(),
        false => "updateStrategy RollingUpdate: the old pod is stopped, then the new one is made".to_owned(),
    })
}

/// Why what would be made could not start at once, beside what goes on running.
fn waits(done: &Rehearsal, known: &Known, cx: &Context) -> Vec<String> {
    let others: Vec<Arc<Object>> = known.bound.iter().filter(|pod| !done.gone.contains(pod.uid())).cloned().collect();
    let pod = done.started.iter().find_map(Object::as_pod);
    let lacking = pod.and_then(|pod| admission::fits(pod, &others, cx.node).err()).unwrap_or_default();
    lacking.into_iter().map(|reason| format!("its pod would wait beside what runs here: {reason}")).collect()
}

fn shown(object: &Object) -> String {
    let meta = object.meta();
    let generated = meta.generate_name.as_deref().filter(|base| !base.is_empty()).map(|base| format!("{base}*"));
    generated.or_else(|| meta.name.clone()).unwrap_or_default()
}

/// Whether the object is a pod that has not ended.
pub(super) fn runs(object: &Object) -> bool {
    object.as_pod().is_some_and(|pod| !pods::terminal(pod))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
