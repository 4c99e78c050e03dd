//! What a [`Deletion`] does to an object, so that the code which commits a [`Plan`] decides nothing.
//!
//! Guarantees: folding is a pure function of the plan and the objects as they are; an object that is in `update` and in `delete` of one plan
//! comes out once, with both changes. Left to others: stopping containers and dropping the object when its last finalizer is gone.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Deletion, Plan};
use crate::api::well_known::{FOREGROUND_FINALIZER, KEEP_OBJECT};
use crate::api::{Key, Kind, Object};

/// Grace where the pod says none (core/v1 defaults).
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// Turns `plan.delete` into entries of `plan.update`, reading what is not updated anyway with `current`. Deletions of objects that are gone, or of
/// another incarnation, fall away. What comes out is committed as it is: create, update, remove, records, events.
pub fn fold(mut plan: Plan, current: impl Fn(&Key) -> Option<Arc<Object>>, now: Timestamp) -> Plan {
    for deletion in std::mem::take(&mut plan.delete) {
        if let Some(updated) = plan.update.iter_mut().find(|o| o.uid() == deletion.uid && o.key() == deletion.key) {
            mark(updated, &deletion, now);
            continue;
        }
        let Some(stored) = current(&deletion.key).filter(|o| o.uid() == deletion.uid) else { continue };
        let mut object = (*stored).clone();
        if mark(&mut object, &deletion, now) {
            plan.update.push(object);
        }
    }
    plan
}

/// Marks `object` as being deleted, as the API server does on DELETE: deletionTimestamp = now + grace, deletionGracePeriodSeconds, the disruption
/// condition; [`FOREGROUND_FINALIZER`] on a workload, [`KEEP_OBJECT`] on a pod that is to be kept. A second deletion can only shorten the
/// grace and take the keeping away. Returns whether anything changed.
pub fn mark(object: &mut Object, deletion: &Deletion, now: Timestamp) -> bool {
    let before = object.clone();
    let grace = grace_of(object, deletion);
    let meta = object.meta_mut();
    if meta.deletion_timestamp.is_none() || meta.deletion_grace_period_seconds.is_some_and(|earlier| grace < earlier) {
        let ends = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
        meta.deletion_timestamp = Some(Time(ends));
        meta.deletion_grace_period_seconds = Some(grace);
    }
    match object.kind() {
        Kind::DaemonSet | Kind::Job | Kind::CronJob | Kind::StaticPod => add_foreground_finalizer(object),
        _ => set_keep(object, deletion.keep_object),
    }
    if let (Object::Pod(pod), Some((reason, message))) = (&mut *object, &deletion.disruption) {
        set_disruption(pod, reason, message, now);
    }
    *object != before
}

/// Whether the object goes as soon as it is marked: a pod that was never given to a worker has nothing to stop, and nobody else would drop it.
pub fn drops_at_once(object: &Object) -> bool {
    let unbound = object.as_pod().is_some_and(|p| p.spec.as_ref().is_none_or(|s| s.node_name.is_none()));
    unbound && object.meta().deletion_timestamp.is_some()
}

fn grace_of(object: &Object, deletion: &Deletion) -> i64 {
    let own = object.as_pod().map(|p| p.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(DEFAULT_GRACE_SECONDS));
    deletion.grace_seconds.or(own).unwrap_or(0).max(0)
}

fn add_foreground_finalizer(object: &mut Object) {
    let finalizers = object.meta_mut().finalizers.get_or_insert_default();
    if !finalizers.iter().any(|f| f == FOREGROUND_FINALIZER) {
        finalizers.push(FOREGROUND_FINALIZER.to_owned());
    }
}

fn set_keep(object: &mut Object, keep: bool) {
    let annotations = &mut object.meta_mut().annotations;
    if keep {
        annotations.get_or_insert_default().insert(KEEP_OBJECT.to_owned(), "true".to_owned());
    } else if let Some(map) = annotations {
        map.remove(KEEP_OBJECT);
    }
}

fn set_disruption(pod: &mut Pod, reason: &str, message: &str, now: Timestamp) {
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    if conditions.iter().any(|c| c.type_ == "DisruptionTarget" && c.status == "True") {
        return;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Object {
        let mut pod = Pod::default();
        pod.metadata.name = Some("p".into());
        pod.metadata.uid = Some("u".into());
        pod.into()
    }

    fn deletion(object: &Object) -> Deletion {
        Deletion { key: object.key(), uid: object.uid().into(), grace_seconds: None, disruption: None, keep_object: false }
    }

    #[test]
    fn a_pod_gets_its_grace_and_a_second_deletion_only_shortens_it() {
        let (mut p, now) = (pod(), Timestamp::UNIX_EPOCH);
        let mut d = deletion(&p);
        assert!(mark(&mut p, &d, now));
        assert_eq!(p.meta().deletion_grace_period_seconds, Some(30));
        assert!(!mark(&mut p, &d, now));
        d.grace_seconds = Some(60);
        assert!(!mark(&mut p, &d, now));
        d.grace_seconds = Some(5);
        assert!(mark(&mut p, &d, now));
        assert_eq!(p.meta().deletion_timestamp, Some(Time(now + SignedDuration::from_secs(5))));
    }

    #[test]
    fn an_update_and_a_deletion_of_one_object_come_out_once() {
        let p = pod();
        let mut updated = p.clone();
        updated.meta_mut().labels = Some([("a".to_owned(), "b".to_owned())].into());
        let mut d = deletion(&p);
        d.keep_object = true;
        let plan = Plan { update: vec![updated], delete: vec![d], ..Plan::default() };
        let folded = fold(plan, |_| None, Timestamp::UNIX_EPOCH);
        assert_eq!((folded.update.len(), folded.delete.len()), (1, 0));
        let meta = folded.update[0].meta();
        assert!(meta.deletion_timestamp.is_some() && meta.labels.is_some());
        assert_eq!(meta.annotations.as_ref().and_then(|a| a.get(KEEP_OBJECT)).map(String::as_str), Some("true"));
    }

    #[test]
    fn another_incarnation_is_left_alone() {
        let p = Arc::new(pod());
        let mut d = deletion(&p);
        d.uid = "another".into();
        assert!(fold(Plan { delete: vec![d], ..Plan::default() }, |_| Some(p.clone()), Timestamp::UNIX_EPOCH).is_empty());
    }
}
