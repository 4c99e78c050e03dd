//! Pods beside pods: topologySpreadConstraints, and the label keys by which a pod's own labels complete a selector
//! (validateTopologySpreadConstraints, validateMatchLabelKeysAndMismatchLabelKeys). One node alone neither spreads nor gathers, but what is written must be right.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::field::{Faults, Path};
use super::metadata;

const IN_BOTH: &str = "exists in both matchLabelKeys and labelSelector";
const NO_SELECTOR: &str = "must not be specified when labelSelector is not set";

/// All constraints of a pod.
pub(super) fn constraints(constraints: &[TopologySpreadConstraint], path: &Path, faults: &mut Faults) {
    for (i, constraint) in constraints.iter().enumerate() {
        let path = path.index(i);
        one(constraint, &path, faults);
        let (key, action) = (&constraint.topology_key, &constraint.when_unsatisfiable);
        if constraints[i + 1..].iter().any(|c| c.topology_key == *key && c.when_unsatisfiable == *action) {
            faults.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), format!("{{{key}, {action}}}"));
        }
    }
}

fn one(constraint: &TopologySpreadConstraint, path: &Path, faults: &mut Faults) {
    let action = constraint.when_unsatisfiable.as_str();
    if constraint.max_skew <= 0 {
        faults.invalid(&path.child("maxSkew"), constraint.max_skew, "must be greater than zero");
    }
    if constraint.topology_key.is_empty() {
        faults.required(&path.child("topologyKey"), "can not be empty");
    }
    let supported = ["DoNotSchedule", "ScheduleAnyway"];
    if !supported.contains(&action) {
        faults.not_supported(&path.child("whenUnsatisfiable"), action, &supported);
    }
    if let Some(domains) = constraint.min_domains {
        let at = path.child("minDomains");
        if domains <= 0 {
            faults.invalid(&at, domains, "must be greater than zero");
        }
        if action != "DoNotSchedule" {
            faults.invalid(&at, domains, &format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"));
        }
    }
    let policies = [("nodeAffinityPolicy", &constraint.node_affinity_policy), ("nodeTaintsPolicy", &constraint.node_taints_policy)];
    for (name, policy) in policies {
        if let Some(policy) = policy.as_deref().filter(|p| !["Ignore", "Honor"].contains(p)) {
            faults.not_supported(&path.child(name), policy, &["Honor", "Ignore"]);
        }
    }
    let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
    spread_keys(keys, constraint.label_selector.as_ref(), &path.child("matchLabelKeys"), faults);
    if let Some(selector) = &constraint.label_selector {
        metadata::selector(selector, &path.child("labelSelector"), faults);
    }
}

/// validateMatchLabelKeysInTopologySpread.
fn spread_keys(keys: &[String], selector: Option<&LabelSelector>, path: &Path, faults: &mut Faults) {
    if selector.is_none() && !keys.is_empty() {
        faults.forbidden(path, NO_SELECTOR);
    }
    let selected = selected(selector);
    for (i, key) in keys.iter().enumerate() {
        metadata::label_key(key, &path.index(i), faults);
        if selected.contains(key.as_str()) {
            faults.invalid(&path.index(i), key.as_str(), IN_BOTH);
        }
    }
}

fn selected(selector: Option<&LabelSelector>) -> BTreeSet<&str> {
    let Some(selector) = selector else { return BTreeSet::new() };
    let expressions = selector.match_expressions.iter().flatten().map(|e| e.key.as_str());
    selector.match_labels.iter().flatten().map(|(key, _)| key.as_str()).chain(expressions).collect()
}

/// matchLabelKeys and mismatchLabelKeys of a term of pod affinity. When a pod is made the API server first adds them to the selector, so that one that is
/// selected by already is there twice; a template whose pods could not be made is refused here too.
pub(super) fn affinity_keys(keys: &[String], without: &[String], selector: Option<&LabelSelector>, path: &Path, faults: &mut Faults) {
    for (name, keys) in [("matchLabelKeys", keys), ("mismatchLabelKeys", without)] {
        let path = path.child(name);
        match selector {
            None if !keys.is_empty() => faults.forbidden(&path, NO_SELECTOR),
            _ => keys.iter().enumerate().for_each(|(i, key)| metadata::label_key(key, &path.index(i), faults)),
        }
    }
    let selected = selected(selector);
    for (i, key) in keys.iter().enumerate() {
        if selected.contains(key.as_str()) {
            faults.invalid(&path.index(i), key.as_str(), IN_BOTH);
        }
        if without.contains(key) {
            faults.invalid(&path.child("matchLabelKeys").index(i), key.as_str(), "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
}
