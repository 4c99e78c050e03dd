//! From a [`Plan`] to one Store transaction. Decides nothing: what a deletion means for each kind is Kubernetes' own.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::events;
use crate::api::{Key, Kind, Object, well_known};
use crate::controllers::{Deletion, Plan};
use crate::store::{Op, Store};

/// The operations that carry out `plan`, to be committed in one transaction.
pub fn operations(store: &dyn Store, plan: Plan, now: Timestamp) -> Vec<Op> {
    let mut updates: BTreeMap<Key, Object> = plan.update.into_iter().map(|o| (o.key(), o)).collect();
    let mut ops: Vec<Op> = plan.create.into_iter().map(Op::Create).collect();
    for deletion in &plan.delete {
        let current = updates.remove(&deletion.key).map(Arc::new).or_else(|| store.get(&deletion.key));
        if let Some(current) = current.filter(|c| c.uid() == deletion.uid) {
            ops.push(delete(&current, deletion, now));
        }
    }
    for (key, _) in &plan.remove {
        updates.remove(key);
    }
    ops.extend(updates.into_values().map(Op::Update));
    ops.extend(plan.remove.into_iter().map(|(key, uid)| Op::Delete { key, uid: Some(uid) }));
    ops.extend(plan.records.into_iter().map(|(name, value)| Op::Record { name, value }));
    ops.extend(plan.events.iter().map(|draft| events::record(store, draft, now)));
    ops
}

/// A graceful deletion: marks what still has something to stop, drops the rest.
pub fn delete(current: &Object, deletion: &Deletion, now: Timestamp) -> Op {
    let gone = Op::Delete { key: deletion.key.clone(), uid: Some(deletion.uid.clone()) };
    match current {
        Object::Pod(pod) if bound(pod) => Op::Update(terminate_pod((**pod).clone(), deletion, now).into()),
        Object::DaemonSet(_) | Object::Job(_) | Object::CronJob(_) | Object::StaticPod(_) => {
            let mut object = current.clone();
            let meta = object.meta_mut();
            meta.deletion_timestamp.get_or_insert(Time(now));
            let finalizers = meta.finalizers.get_or_insert_default();
            if !finalizers.iter().any(|f| f == well_known::FOREGROUND_FINALIZER) {
                finalizers.push(well_known::FOREGROUND_FINALIZER.to_owned());
            }
            Op::Update(object)
        }
        _ => gone,
    }
}

/// Whether a pod has been given to a worker, which then must stop it.
fn bound(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|s| s.node_name.is_some())
}

/// Sets deletionTimestamp to the end of the grace, as the API server does (registry/core/pod strategy); a later request can only shorten it.
fn terminate_pod(mut pod: Pod, deletion: &Deletion, now: Timestamp) -> Pod {
    let own = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(30);
    let grace = deletion.grace_seconds.unwrap_or(own).clamp(0, i64::from(i32::MAX));
    let end = now.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(now);
    let sooner = pod.metadata.deletion_timestamp.as_ref().is_none_or(|Time(set)| end < *set);
    if sooner {
        pod.metadata.deletion_timestamp = Some(Time(end));
        pod.metadata.deletion_grace_period_seconds = Some(grace);
    }
    if let Some((reason, message)) = &deletion.disruption {
        disrupt(&mut pod, reason, message, now);
    }
    pod
}

fn disrupt(pod: &mut Pod, reason: &str, message: &str, now: Timestamp) {
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.retain(|c| c.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    });
}

/// The deletion `kubectl delete` asks for: the object's own grace unless one is given.
pub fn requested(object: &Object, grace_seconds: Option<i64>) -> Deletion {
    debug_assert!(object.kind() != Kind::Event, "events are dropped, not deleted");
    Deletion { key: object.key(), uid: object.uid().to_owned(), grace_seconds, disruption: None }
}
