//! From a [`Plan`] to one Store transaction. Decides nothing: what a deletion means for each kind is Kubernetes' own.

use jiff::Timestamp;

use super::events;
use crate::api::Object;
use crate::controllers::{Deletion, Plan, deletion};
use crate::store::{Op, Store};

/// The operations that carry out `plan`, to be committed in one transaction.
pub fn operations(store: &dyn Store, plan: Plan, now: Timestamp) -> Vec<Op> {
    let plan = deletion::fold(plan, |key| store.get(key), now);
    let removed: Vec<_> = plan.remove.iter().map(|(key, _)| key.clone()).collect();
    let mut ops: Vec<Op> = plan.create.into_iter().map(Op::Create).collect();
    ops.extend(plan.update.into_iter().filter(|o| !removed.contains(&o.key())).map(replace_or_drop));
    ops.extend(plan.remove.into_iter().map(|(key, uid)| Op::Delete { key, uid: Some(uid) }));
    ops.extend(plan.records.into_iter().map(|(name, value)| Op::Record { name, value }));
    ops.extend(events::record(store, &plan.events, now));
    ops
}

fn replace_or_drop(object: Object) -> Op {
    match deletion::drops_at_once(&object) {
        true => Op::Delete { key: object.key(), uid: Some(object.uid().to_owned()) },
        false => Op::Update(object),
    }
}

/// The deletion `kubectl delete` asks for: the object's own grace unless one is given.
pub fn requested(object: &Object, grace_seconds: Option<i64>) -> Deletion {
    Deletion { key: object.key(), uid: object.uid().to_owned(), grace_seconds, disruption: None, keep_object: false }
}
