//! Where a pod may run: affinity, tolerations, taints (`pkg/apis/core/validation/validation.go`).

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, Taint, Toleration, WeightedPodAffinityTerm,
};

use super::field::{Faults, Path};
use super::{format, metadata, spread};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// All of a pod's affinity (validateAffinity).
pub(super) fn affinity(affinity: &Affinity, path: &Path, faults: &mut Faults) {
    if let Some(node) = &affinity.node_affinity {
        let path = path.child("nodeAffinity");
        if let Some(selector) = &node.required_during_scheduling_ignored_during_execution {
            node_selector(selector, &path.child(REQUIRED), faults);
        }
        for (i, preferred) in node.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
            let path = path.child(PREFERRED).index(i);
            weight(preferred.weight, &path, faults);
            node_selector_term(&preferred.preference, false, &path.child("preference"), faults);
        }
    }
    if let Some(pods) = &affinity.pod_affinity {
        let (required, preferred) =
            (&pods.required_during_scheduling_ignored_during_execution, &pods.preferred_during_scheduling_ignored_during_execution);
        pod_terms(required.as_deref(), preferred.as_deref(), &path.child("podAffinity"), faults);
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        let (required, preferred) =
            (&pods.required_during_scheduling_ignored_during_execution, &pods.preferred_during_scheduling_ignored_during_execution);
        pod_terms(required.as_deref(), preferred.as_deref(), &path.child("podAntiAffinity"), faults);
    }
}

fn weight(weight: i32, path: &Path, faults: &mut Faults) {
    if !(1..=100).contains(&weight) {
        faults.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn node_selector(selector: &NodeSelector, path: &Path, faults: &mut Faults) {
    let path = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        return faults.required(&path, "must have at least one node selector term");
    }
    for (i, term) in selector.node_selector_terms.iter().enumerate() {
        node_selector_term(term, true, &path.index(i), faults);
    }
}

/// ValidateNodeSelectorTerm. `strict`: values must be label values; those of preferred terms need not.
fn node_selector_term(term: &NodeSelectorTerm, strict: bool, path: &Path, faults: &mut Faults) {
    for (i, requirement) in term.match_expressions.iter().flatten().enumerate() {
        node_label_requirement(requirement, strict, &path.child("matchExpressions").index(i), faults);
    }
    for (i, requirement) in term.match_fields.iter().flatten().enumerate() {
        node_field_requirement(requirement, &path.child("matchFields").index(i), faults);
    }
}

/// ValidateNodeSelectorRequirement. That Gt and Lt compare integers is not the API server's to say: a value that is none matches no node (`admission`).
fn node_label_requirement(requirement: &NodeSelectorRequirement, strict: bool, path: &Path, faults: &mut Faults) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let at = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => faults.required(&at, "must be specified when `operator` is 'In' or 'NotIn'"),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            faults.forbidden(&at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        }
        "Gt" | "Lt" if values.len() != 1 => faults.required(&at, "must be specified single value when `operator` is 'Lt' or 'Gt'"),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        operator => faults.invalid(&path.child("operator"), operator, "not a valid selector operator"),
    }
    metadata::label_key(&requirement.key, &path.child("key"), faults);
    for (i, value) in values.iter().enumerate().filter(|_| strict) {
        faults.invalid_each(&at.index(i), value, format::label_value(value));
    }
}

/// ValidateNodeFieldSelectorRequirement: only metadata.name.
fn node_field_requirement(requirement: &NodeSelectorRequirement, path: &Path, faults: &mut Faults) {
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => {
            faults.required(&path.child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
        }
        "In" | "NotIn" => {}
        operator => faults.invalid(&path.child("operator"), operator, "not a valid selector operator"),
    }
    if requirement.key != "metadata.name" {
        return faults.invalid(&path.child("key"), requirement.key.as_str(), "not a valid field selector key");
    }
    for (i, value) in values.iter().enumerate() {
        faults.invalid_each(&path.child("values").index(i), value, format::dns_subdomain(value));
    }
}

fn pod_terms(required: Option<&[PodAffinityTerm]>, preferred: Option<&[WeightedPodAffinityTerm]>, path: &Path, faults: &mut Faults) {
    for (i, term) in required.unwrap_or_default().iter().enumerate() {
        pod_term(term, &path.child(REQUIRED).index(i), faults);
    }
    for (i, term) in preferred.unwrap_or_default().iter().enumerate() {
        let path = path.child(PREFERRED).index(i);
        weight(term.weight, &path, faults);
        pod_term(&term.pod_affinity_term, &path.child("podAffinityTerm"), faults);
    }
}

/// validatePodAffinityTerm.
fn pod_term(term: &PodAffinityTerm, path: &Path, faults: &mut Faults) {
    for (name, selector) in [("labelSelector", &term.label_selector), ("namespaceSelector", &term.namespace_selector)] {
        if let Some(selector) = selector {
            metadata::selector(selector, &path.child(name), faults);
        }
    }
    for namespace in term.namespaces.iter().flatten() {
        faults.invalid_each(&path.child("namespace"), namespace, format::dns_label(namespace));
    }
    let (keys, without) = (term.match_label_keys.as_deref().unwrap_or_default(), term.mismatch_label_keys.as_deref().unwrap_or_default());
    spread::affinity_keys(keys, without, term.label_selector.as_ref(), path, faults);
    if term.topology_key.is_empty() {
        faults.required(&path.child("topologyKey"), "can not be empty");
    }
    metadata::label_key(&term.topology_key, &path.child("topologyKey"), faults);
}

/// ValidateTolerations. Lt and Gt are behind a gate that is off.
pub(super) fn tolerations(tolerations: &[Toleration], path: &Path, faults: &mut Faults) {
    for (i, toleration) in tolerations.iter().enumerate() {
        let path = path.index(i);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (key, operator, effect, value) =
            (text(&toleration.key), text(&toleration.operator), text(&toleration.effect), text(&toleration.value));
        if !key.is_empty() {
            metadata::label_key(&key, &path.child("key"), faults);
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            faults.invalid(&path.child("operator"), operator.as_str(), detail);
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            faults.invalid(&path.child("effect"), effect.as_str(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator.as_str() {
            "" | "Equal" => {
                let wrong = format::label_value(&value);
                if !wrong.is_empty() {
                    faults.invalid(&path.child("operator"), value.as_str(), &wrong.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                faults.invalid(&path.child("operator"), value.as_str(), "value must be empty when `operator` is 'Exists'")
            }
            "Exists" => {}
            other => faults.not_supported(&path.child("operator"), other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            faults.one_of(&path.child("effect"), Some(&effect), &EFFECTS);
        }
    }
}

/// validateNodeTaints: key, value and effect, each (key, effect) once. Ours: under `spec`, where they stand; Kubernetes says `metadata.taints`.
pub(super) fn taints(taints: &[Taint], path: &Path, faults: &mut Faults) {
    let mut seen = std::collections::BTreeSet::new();
    for (i, taint) in taints.iter().enumerate() {
        let path = path.index(i);
        metadata::label_key(&taint.key, &path.child("key"), faults);
        let value = taint.value.as_deref().unwrap_or_default();
        let wrong = format::label_value(value);
        if !wrong.is_empty() {
            faults.invalid(&path.child("value"), value, &wrong.join(";"));
        }
        faults.one_of(&path.child("effect"), Some(&taint.effect), &EFFECTS);
        if !seen.insert((&taint.key, &taint.effect)) {
            faults.duplicate_because(&path, super::field::shown(taint), "taints must be unique by key and effect pair");
        }
    }
}
