//! nodeSelector and required node affinity (component-helpers/scheduling/corev1/nodeaffinity).
//!
//! Guarantees: nodeSelector and affinity are ANDed, terms ORed, an empty term matches nothing. The error names every label that decided.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// Whether the node's labels and name satisfy `spec`; otherwise what did not.
pub(super) fn matches(spec: &PodSpec, node: &Node) -> Result<(), String> {
    let empty = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let unmatched = spec.node_selector.iter().flatten().filter(|(key, wanted)| labels.get(*key) != Some(wanted));
    let mut why: Vec<String> = unmatched.map(|(key, wanted)| format!("{key}={wanted}: {}", has(key, labels))).collect();
    let required = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    if let Some(selector) = required.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()) {
        why.extend(any_term(selector, labels, node.metadata.name.as_deref().unwrap_or_default()).err());
    }
    if why.is_empty() { Ok(()) } else { Err(why.join("; ")) }
}

fn any_term(selector: &NodeSelector, labels: &BTreeMap<String, String>, name: &str) -> Result<(), String> {
    let mut why = Vec::new();
    for term in &selector.node_selector_terms {
        match all_of(term, labels, name) {
            Ok(()) => return Ok(()),
            Err(reason) => why.push(reason),
        }
    }
    Err(if why.is_empty() { "no terms".to_owned() } else { why.join("; ") })
}

fn all_of(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> Result<(), String> {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return Err("an empty term matches nothing".to_owned());
    }
    let unmet = expressions.iter().filter(|r| !requirement(r, labels.get(&r.key).map(String::as_str)));
    let mut why: Vec<String> = unmet.map(|r| format!("{}: {}", shown(r), has(&r.key, labels))).collect();
    for r in fields {
        if r.key != "metadata.name" || !matches!(r.operator.as_str(), "In" | "NotIn") || !requirement(r, Some(name)) {
            why.push(format!("{}: the node is {name}", shown(r)));
        }
    }
    if why.is_empty() { Ok(()) } else { Err(why.join(", ")) }
}

/// One requirement against a label's value. NotIn and DoesNotExist match where the label is absent; Gt and Lt need one int64 on each side.
fn requirement(r: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = r.values.as_deref().unwrap_or_default();
    let within = value.is_some_and(|v| values.iter().any(|w| w == v));
    match r.operator.as_str() {
        "In" => within,
        "NotIn" => !within,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => integers(values, value).is_some_and(|(label, bound)| label > bound),
        "Lt" => integers(values, value).is_some_and(|(label, bound)| label < bound),
        _ => false,
    }
}

fn integers(values: &[String], value: Option<&str>) -> Option<(i64, i64)> {
    match values {
        [bound] => Some((value?.parse().ok()?, bound.parse().ok()?)),
        _ => None,
    }
}

fn shown(r: &NodeSelectorRequirement) -> String {
    match r.values.as_deref().unwrap_or_default() {
        [] => format!("{} {}", r.key, r.operator),
        values => format!("{} {} [{}]", r.key, r.operator, values.join(" ")),
    }
}

fn has(key: &str, labels: &BTreeMap<String, String>) -> String {
    match labels.get(key) {
        Some(value) => format!("the node has {key}={value}"),
        None => "the node has no such label".to_owned(),
    }
}
