//! Pods from files: a template (`Object::StaticPod`) and the pod `<name>-<node>` made from it (pkg/kubelet/config/common.go applyDefaults).
//!
//! Guarantees: at most one pod a template; a changed template's pod comes after the old one is gone. A pod that has ended stays ended, unless the
//! host's shutdown ended it. While the node is cordoned no pod is made, so that a drained one stays away (the kubelet would start it again at once).
//! Left to others: whether it fits beside the others (`agent::binding`); unlike the kubelet, which
//! rejects a static pod that does not fit for good, ours waits until it does.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{Context, Plan, cascade, pods};
use crate::admission::{UNSCHEDULABLE_REASON, cordoned_for, placement_reasons, unavailable};
use crate::api::well_known::{CONFIG_SOURCE, MANIFEST_HASH};
use crate::api::{Key, Kind, Object};
use crate::controllers::EventDraft;

/// Annotation kubelet puts on static pods: the hash of the manifest they were made from.
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
const CONFIG_SEEN: &str = "kubernetes.io/config.seen";

/// One step of a static pod's `template`, which owns `owned`.
pub fn reconcile(template: &Pod, owned: &[Arc<Object>], cx: &mut Context) -> Plan {
    let meta = &template.metadata;
    let key = Key::new(Kind::StaticPod, meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    if meta.deletion_timestamp.is_some() {
        return cascade::finish(key, meta.uid.as_deref().unwrap_or_default(), owned);
    }
    let Some(spec) = &template.spec else { return Plan::default() };
    let (mut plan, mut next) = (Plan::default(), template.clone());
    let present = pods::among(owned);
    let mut reasons = placement_reasons(spec, cx.node);
    if present.is_empty() && cordoned_for(spec, cx.node) {
        reasons.push(UNSCHEDULABLE_REASON.to_owned());
    }
    if pods::note_admission(&mut next.metadata, &reasons) {
        if !reasons.is_empty() {
            plan.events.push(not_admitted(key, meta, &reasons));
        }
        plan.update.push(Object::StaticPod(Box::new(next)));
    }
    let stale = |p: &&&Pod| pods::annotation(&p.metadata, CONFIG_HASH) != Some(hash(template)) || ended_by_host(p);
    plan.delete.extend(present.iter().filter(|p| !pods::deleting(p)).filter(stale).map(|p| pods::deletion(p)));
    if present.is_empty() && reasons.is_empty() {
        plan.create.push(new_pod(template, cx).into());
    }
    plan
}

fn ended_by_host(pod: &Pod) -> bool {
    pods::phase(pod) == "Failed" && pods::interrupted(pod)
}

fn hash(template: &Pod) -> &str {
    pods::annotation(&template.metadata, MANIFEST_HASH).unwrap_or_default()
}

fn not_admitted(about: Key, meta: &ObjectMeta, reasons: &[String]) -> EventDraft {
    let reason = if reasons.iter().any(|r| r == UNSCHEDULABLE_REASON) { "FailedScheduling" } else { "NodeAffinity" };
    EventDraft::new("kubelet", about, meta.uid.clone().unwrap_or_default(), true, reason, unavailable(reasons))
}

fn new_pod(template: &Pod, cx: &mut Context) -> Pod {
    let from = &template.metadata;
    let node = cx.node.metadata.name.clone().unwrap_or_default();
    let mut annotations = pods::users_annotations(from.annotations.as_ref());
    annotations.insert(CONFIG_SOURCE.to_owned(), "file".to_owned());
    annotations.insert(CONFIG_HASH.to_owned(), hash(template).to_owned());
    annotations.insert(CONFIG_SEEN.to_owned(), cx.now.to_string());
    let mut spec = pods::unbound(template.spec.as_ref());
    let everything = Toleration { operator: Some("Exists".to_owned()), effect: Some("NoExecute".to_owned()), ..Toleration::default() };
    let tolerations = spec.tolerations.get_or_insert_default();
    if !tolerations.contains(&everything) {
        tolerations.push(everything);
    }
    Pod {
        metadata: ObjectMeta {
            name: Some(format!("{}-{node}", from.name.as_deref().unwrap_or_default())),
            namespace: from.namespace.clone(),
            uid: Some(cx.names.uid()),
            creation_timestamp: Some(Time(cx.now)),
            labels: from.labels.clone(),
            annotations: Some(annotations),
            owner_references: Some(vec![pods::controlled_by(Kind::StaticPod, from)]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: Some(PodStatus { phase: Some("Pending".to_owned()), ..PodStatus::default() }),
    }
}

#[cfg(test)]
mod tests;
