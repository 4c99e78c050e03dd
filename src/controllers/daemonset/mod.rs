//! The DaemonSet controller (pkg/controller/daemon), for the one node it runs on.
//!
//! ```text
//! node suits? ─ no, and may not go on ──▶ pods are deleted
//!      │ yes
//!      ▼
//! no pod ──▶ one is made ──▶ Failed/Succeeded ──▶ deleted (back-off 1 s ×2, cap 15 min) ──▶ no pod
//!      │ template changed (RollingUpdate)
//!      ├─ maxSurge 0: the old pod is deleted, then the new one made
//!      └─ maxSurge 1: the new one is made beside it, the old one goes when the new one is available
//! ```
//!
//! Guarantees: at most one pod here, two while surging; the back-off survives a restart. Left to others: binding and running the pods.

mod backoff;
mod history;
pub mod rollback;
mod rollout;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec};

use super::{Context, EventDraft, Plan, cascade, pods};
use crate::admission::{Verdict, daemon_tolerations, eligible};
use crate::api::{Key, Kind, Object};

/// The component named in a DaemonSet's events.
const SOURCE: &str = "daemonset-controller";
/// Label on daemon pods and ControllerRevisions: which template they are of.
pub const REVISION_HASH: &str = "controller-revision-hash";

/// One step of `ds`, which owns `owned`: its pods and its ControllerRevisions.
pub fn reconcile(ds: &DaemonSet, owned: &[Arc<Object>], cx: &mut Context) -> Plan {
    let meta = &ds.metadata;
    let key = Key::new(Kind::DaemonSet, meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    if meta.deletion_timestamp.is_some() {
        return cascade::finish(key, meta.uid.as_deref().unwrap_or_default(), owned);
    }
    let Some(spec) = &ds.spec else { return Plan::default() };
    let verdict = spec.template.spec.as_ref().map_or_else(Verdict::default, |from| eligible(&tolerant(from), cx.node));
    let mut plan = Plan::default();
    let hash = history::current(ds, spec, owned, cx, &mut plan);
    let present = pods::among(owned).into_iter().filter(|p| !(pods::terminal(p) && pods::deleting(p))).collect();
    let mut step = Step { key, spec, verdict, hash, pods: present, next: ds.clone(), plan, doomed: BTreeSet::new(), cx };
    pods::note_admission(&mut step.next.metadata, &step.verdict.reasons);
    rollout::manage(&mut step);
    if step.created().next().is_none() && rollout::is_rolling(spec) {
        rollout::rolling_update(&mut step);
    }
    history::trim(&mut step, owned);
    status::observe(&mut step);
    if step.next != *ds {
        step.plan.update.push(step.next.into());
    }
    step.plan
}

/// One step in the making.
struct Step<'a, 'c, 'n> {
    key: Key,
    spec: &'a DaemonSetSpec,
    verdict: Verdict,
    /// The current template's hash.
    hash: String,
    /// The pods that are there, without terminal ones being deleted.
    pods: Vec<&'a Pod>,
    next: DaemonSet,
    plan: Plan,
    /// Names of pods deleted in this step.
    doomed: BTreeSet<String>,
    cx: &'c mut Context<'n>,
}

impl<'a> Step<'a, '_, '_> {
    fn event(&mut self, warning: bool, reason: &str, message: String) {
        let uid = self.next.metadata.uid.clone().unwrap_or_default();
        self.plan.events.push(EventDraft::new(SOURCE, self.key.clone(), uid, warning, reason, message));
    }

    /// Pods made in this step.
    fn created(&self) -> impl Iterator<Item = &Pod> {
        self.plan.create.iter().filter_map(|o| o.as_pod())
    }

    fn min_ready(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }

    /// Whether the pod is available; if it will be, wakes then.
    fn available(&mut self, pod: &Pod) -> bool {
        match pods::available_at(pod, self.min_ready()) {
            Some(at) if at > self.cx.now => {
                self.plan.wake(at);
                false
            }
            at => at.is_some(),
        }
    }

    fn delete(&mut self, pod: &'a Pod) {
        let deletion = pods::deletion(pod);
        if self.doomed.insert(deletion.key.name.clone()) {
            self.event(false, "SuccessfulDelete", format!("Deleted pod: {}", deletion.key.name));
            self.plan.delete.push(deletion);
        }
    }

    fn create(&mut self) {
        let base = format!("{}-", self.key.name);
        let mut pod = pods::from_template(&self.spec.template, &base, Kind::DaemonSet, &self.next.metadata, self.cx);
        pod.metadata.labels.get_or_insert_default().insert(REVISION_HASH.to_owned(), self.hash.clone());
        if let Some(spec) = &mut pod.spec {
            daemon_tolerations(spec);
            pin(spec, self.cx.node.metadata.name.as_deref().unwrap_or_default());
        }
        self.event(false, "SuccessfulCreate", format!("Created pod: {}", pod.metadata.name.as_deref().unwrap_or_default()));
        self.plan.create.push(pod.into());
    }
}

fn tolerant(spec: &PodSpec) -> PodSpec {
    let mut spec = spec.clone();
    daemon_tolerations(&mut spec);
    spec
}

/// Required node affinity for this node alone, in place of the template's (ReplaceDaemonSetPodNodeNameNodeAffinity).
fn pin(spec: &mut PodSpec, node: &str) {
    let field = NodeSelectorRequirement { key: "metadata.name".to_owned(), operator: "In".to_owned(), values: Some(vec![node.to_owned()]) };
    let term = NodeSelectorTerm { match_fields: Some(vec![field]), match_expressions: None };
    let affinity: &mut NodeAffinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution = Some(NodeSelector { node_selector_terms: vec![term] });
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_rows;
