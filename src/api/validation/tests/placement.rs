//! Preferences, spread, and label keys.

use super::*;

const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

#[test]
fn values_of_preferred_terms_need_not_be_label_values() {
    let term = json!({"matchExpressions": [{"key": "k", "operator": "In", "values": ["a b"]}]});
    let at = format!("spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].values[0]");
    let mut manifest = pod();
    overlay(&mut manifest, &json!({"spec": {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [term]}}}}}));
    let found = faults(Kind::StaticPod, &manifest);
    assert!(found.len() == 1 && found[0].starts_with(&format!("{at}: Invalid value: \"a b\": a valid label must be")), "{found:?}");
    check_spec(&[
        (json!({"affinity": {"nodeAffinity": {PREFERRED: [{"weight": 100, "preference": term}]}}}), &[]),
        (
            json!({"affinity": {"nodeAffinity": {PREFERRED: [{"weight": 101, "preference": {"matchFields": [{"key": "metadata.name", "operator": "Gt", "values": ["a", "B"]}]}}]}}}),
            &[
                &format!("spec.affinity.nodeAffinity.{PREFERRED}[0].weight: Invalid value: 101: must be in the range 1-100"),
                &format!(
                    "spec.affinity.nodeAffinity.{PREFERRED}[0].preference.matchFields[0].operator: Invalid value: \"Gt\": not a valid selector operator"
                ),
                &format!(
                    "spec.affinity.nodeAffinity.{PREFERRED}[0].preference.matchFields[0].values[1]: Invalid value: \"B\": {SUBDOMAIN}"
                ),
            ],
        ),
        // No integer: the API server takes it, and the term matches no node.
        (
            json!({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Gt", "values": ["many"]}]}]}}}}),
            &[],
        ),
    ]);
}

#[test]
fn label_keys_of_pod_affinity() {
    let term = |term: Value| {
        let mut whole = json!({"topologyKey": "kubernetes.io/hostname"});
        overlay(&mut whole, &term);
        json!({"affinity": {"podAffinity": {REQUIRED: [whole]}}})
    };
    let at = format!("spec.affinity.podAffinity.{REQUIRED}[0]");
    let label = LABEL;
    check_spec(&[
        (term(json!({"labelSelector": {"matchLabels": {"a": "b"}}, "matchLabelKeys": ["c"], "mismatchLabelKeys": ["d"]})), &[]),
        (
            term(json!({"matchLabelKeys": ["c"], "mismatchLabelKeys": ["d"]})),
            &[
                &format!("{at}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"),
                &format!("{at}.mismatchLabelKeys: Forbidden: must not be specified when labelSelector is not set"),
            ],
        ),
        (
            term(json!({"labelSelector": {"matchLabels": {"a": "b"}}, "matchLabelKeys": ["x", "a"]})),
            &[&format!("{at}[1]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector")],
        ),
        (
            term(json!({"labelSelector": {}, "matchLabelKeys": ["a"], "mismatchLabelKeys": ["a"]})),
            &[&format!("{at}.matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and mismatchLabelKeys")],
        ),
        (term(json!({"namespaces": ["-"]})), &[&format!("{at}.namespace: Invalid value: \"-\": {label}")]),
        (
            json!({"affinity": {"podAntiAffinity": {PREFERRED: [{"weight": 0, "podAffinityTerm": {"topologyKey": "k", "labelSelector": {"matchExpressions": [{"key": "k", "operator": "Gt"}]}}}]}}}),
            &[
                &format!("spec.affinity.podAntiAffinity.{PREFERRED}[0].weight: Invalid value: 0: must be in the range 1-100"),
                &format!(
                    "spec.affinity.podAntiAffinity.{PREFERRED}[0].podAffinityTerm.labelSelector.matchExpressions[0].operator: Invalid value: \"Gt\": not a valid selector operator"
                ),
            ],
        ),
    ]);
}

#[test]
fn spread_constraints() {
    let one = |change: Value| {
        let mut whole =
            json!({"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"a": "b"}}});
        overlay(&mut whole, &change);
        json!({"topologySpreadConstraints": [whole]})
    };
    let at = "spec.topologySpreadConstraints[0]";
    let twice = json!({"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "ScheduleAnyway"});
    check_spec(&[
        (one(json!({"minDomains": 2, "nodeAffinityPolicy": "Honor", "nodeTaintsPolicy": "Ignore", "matchLabelKeys": ["c"]})), &[]),
        (
            one(json!({"minDomains": 0, "whenUnsatisfiable": "ScheduleAnyway"})),
            &[
                &format!("{at}.minDomains: Invalid value: 0: must be greater than zero"),
                &format!(
                    "{at}.minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
                ),
            ],
        ),
        (
            one(json!({"nodeAffinityPolicy": "Maybe"})),
            &[&format!("{at}.nodeAffinityPolicy: Unsupported value: \"Maybe\": supported values: \"Honor\", \"Ignore\"")],
        ),
        (
            one(json!({"labelSelector": null, "matchLabelKeys": ["c"]})),
            &[&format!("{at}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set")],
        ),
        (
            one(json!({"matchLabelKeys": ["a"]})),
            &[&format!("{at}.matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector")],
        ),
        (one(json!({"topologyKey": ""})), &[&format!("{at}.topologyKey: Required value: can not be empty")]),
        (
            json!({"topologySpreadConstraints": [twice, twice]}),
            &[&format!("{at}.{{topologyKey, whenUnsatisfiable}}: Duplicate value: \"{{k, ScheduleAnyway}}\"")],
        ),
    ]);
}

#[test]
fn tolerations_of_every_form() {
    let one = |toleration: Value| json!({"tolerations": [toleration]});
    check_spec(&[
        (one(json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": -1})), &[]),
        (one(json!({"key": "k", "operator": "Equal", "value": "v"})), &[]),
        (
            one(json!({"key": "k", "effect": "Never"})),
            &[
                "spec.tolerations[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ],
        ),
        (
            one(json!({"key": "k", "effect": "NoSchedule", "tolerationSeconds": 9_223_372_036_854_775_807_i64})),
            &["spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set"],
        ),
        (
            one(json!({"key": "/", "operator": "Exists"})),
            &[
                "spec.tolerations[0].key: Invalid value: \"/\": prefix part must be non-empty",
                "spec.tolerations[0].key: Invalid value: \"/\": name part must be non-empty",
                "spec.tolerations[0].key: Invalid value: \"/\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ],
        ),
    ]);
}
