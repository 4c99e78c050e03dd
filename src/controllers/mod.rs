//! The controllers: desired + observed + Node + now → [`Plan`]. Pure; the loop in `agent::reconcile` commits a plan in one transaction.
//!
//! Guarantees: a plan is idempotent (reconciling its result with nothing else changed gives a plan that [`Plan::is_empty`]), an object is
//! in `update` only if it really changes, and every counter that goes up does so in the transaction that makes its cause uncountable.
//! Left to others: committing (the agent; [`deletion::fold`] turns the graceful deletions into plain updates), and what pods really do.

pub mod binding;
pub mod cascade;
pub mod cronjob;
pub mod daemonset;
pub mod deletion;
pub mod forecast;
mod id_ranges;
pub mod job;
pub mod pods;
pub mod pressure;
pub mod static_pod;
pub mod sync;
pub mod taints;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;

use crate::api::names::Names;
use crate::api::{Key, Object};

/// What a controller may look at beside its object and what that owns.
pub struct Context<'a> {
    /// This node: labels, taints, unschedulable, allocatable.
    pub node: &'a Node,
    /// The instant this step is for.
    pub now: Timestamp,
    /// Names and uids for what is created.
    pub names: Names,
    /// The host's time zone, for schedules without one.
    pub zone: jiff::tz::TimeZone,
}

/// A removal: graceful, as `kubectl delete` does it (deletionTimestamp, then the owner of the object finishes).
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    /// What to delete.
    pub key: Key,
    /// Only this incarnation.
    pub uid: String,
    /// Grace in seconds; `None` = the pod's own.
    pub grace_seconds: Option<i64>,
    /// For pods: the DisruptionTarget condition to set, as (reason, message).
    pub disruption: Option<(String, String)>,
    /// For pods: stop it but keep the object and its logs as Failed (an OnFailure Job's last pod). [`deletion::mark`] says how the worker
    /// learns of it.
    pub keep_object: bool,
}

/// An event to record about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDraft {
    /// The object it is about.
    pub about: Key,
    /// The object's uid.
    pub uid: String,
    /// Whether it is a `Warning` (else `Normal`).
    pub warning: bool,
    /// CamelCase reason.
    pub reason: String,
    /// Kubernetes' words.
    pub message: String,
    /// The component that says it (`job-controller`).
    pub source: &'static str,
    /// Which part of the object, as involvedObject.fieldPath: `spec.containers{name}`. `None`: all of it.
    pub field_path: Option<String>,
}

impl EventDraft {
    /// About all of an object.
    pub fn new(source: &'static str, about: Key, uid: String, warning: bool, reason: &str, message: String) -> EventDraft {
        EventDraft { about, uid, warning, reason: reason.to_owned(), message, source, field_path: None }
    }
}

/// All that one reconcile step wants, committed in one transaction. Empty = nothing to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// New objects (pods, jobs, revisions), complete with name, uid, ownerReferences and creationTimestamp.
    pub create: Vec<Object>,
    /// Changed objects, by compare-and-swap on the resourceVersion they were read with: the workload with its new status, pods whose
    /// finalizer was removed because they were counted.
    pub update: Vec<Object>,
    /// Graceful deletions (sets deletionTimestamp; the pod worker or the controller finishes).
    pub delete: Vec<Deletion>,
    /// Objects to drop from the Store at once: a workload whose last child is gone, finished children without a finalizer.
    pub remove: Vec<(Key, String)>,
    /// Records to set (`Some`) or to drop (`None`), such as a Job's tombstone.
    pub records: Vec<(String, Option<Vec<u8>>)>,
    /// Events to record.
    pub events: Vec<EventDraft>,
    /// When to look again even if nothing changes.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    /// Whether nothing is to be committed. `wake_at` alone is no work.
    pub fn is_empty(&self) -> bool {
        self.create.is_empty()
            && self.update.is_empty()
            && self.delete.is_empty()
            && self.remove.is_empty()
            && self.records.is_empty()
            && self.events.is_empty()
    }

    /// Asks to be called again at `at`, or earlier if something asked for that already.
    pub fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

#[cfg(test)]
mod world;
