//! The end of a workload that is being deleted: first its children, then itself (foreground deletion).
//!
//! Guarantees: the workload is dropped only when nothing it owns is left; children are deleted gracefully, once. Left to others: the pod workers stop
//! containers and drop pods without finalizers; a child Job ends by this same module.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::{Deletion, Plan, pods};
use crate::api::well_known::KEEP_OBJECT;
use crate::api::{Key, Kind, Object};

/// What is next for the deleted workload `key` of this `uid`, which owns `children`.
pub fn finish(key: Key, uid: &str, children: &[Arc<Object>]) -> Plan {
    let mut plan = Plan::default();
    for child in children {
        match &**child {
            Object::Pod(pod) => end_pod(pod, &mut plan),
            object if object.kind() == Kind::Job => end_job(object, &mut plan),
            object => plan.remove.push((object.key(), object.uid().to_owned())),
        }
    }
    let only_records_left = children.iter().all(|c| !matches!(c.kind(), Kind::Pod | Kind::Job));
    if only_records_left {
        plan.remove.push((key, uid.to_owned()));
    }
    plan
}

/// A pod nobody will count any more: its finalizer goes, it is stopped, and nothing of it is kept.
fn end_pod(pod: &Pod, plan: &mut Plan) {
    if pods::tracked(pod) {
        plan.update.push(pods::untracked(pod).into());
    }
    if !pods::deleting(pod) || pods::annotation(&pod.metadata, KEEP_OBJECT).is_some() {
        plan.delete.push(pods::deletion(pod));
    }
}

fn end_job(job: &Object, plan: &mut Plan) {
    if job.meta().deletion_timestamp.is_none() {
        plan.delete.push(whole(job));
    }
}

/// A deletion of a workload.
pub fn whole(object: &Object) -> Deletion {
    Deletion { key: object.key(), uid: object.uid().to_owned(), grace_seconds: None, disruption: None, keep_object: false }
}
