//! Eviction by NoExecute taints (pkg/controller/tainteviction).
//!
//! Guarantees: what the node's taints don't tolerate is deleted with condition DisruptionTarget; what they tolerate for a time is looked at again when
//! that time is over. Left to others: setting a taint's timeAdded when it is put on the node (the agent).

use std::sync::Arc;

use super::{Context, EventDraft, Plan, pods};
use crate::admission::{Eviction, no_execute};
use crate::api::Object;

/// Evicts those of `bound`, the pods bound to this node, that its NoExecute taints drive away.
pub fn reconcile(bound: &[Arc<Object>], cx: &mut Context) -> Plan {
    let mut plan = Plan::default();
    for pod in pods::among(bound).into_iter().filter(|pod| pods::active(pod)) {
        match no_execute(pod, cx.node, cx.now) {
            Eviction::Keep => {}
            Eviction::At(time) => plan.wake(time),
            Eviction::Now => {
                let mut deletion = pods::deletion(pod);
                deletion.disruption =
                    Some(("DeletionByTaintManager".to_owned(), "Taint manager: deleting due to NoExecute taint".to_owned()));
                let message = format!("Marking for deletion Pod {}/{}", deletion.key.namespace, deletion.key.name);
                let (about, uid) = (deletion.key.clone(), deletion.uid.clone());
                plan.events.push(EventDraft::new("taint-eviction-controller", about, uid, false, "TaintManagerEviction", message));
                plan.delete.push(deletion);
            }
        }
    }
    plan
}
