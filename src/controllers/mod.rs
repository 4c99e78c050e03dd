//! The controllers: desired + observed + Node + now → [`Plan`]. Pure; the loop in `agent::reconcile` commits a plan in one transaction.

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
