//! A Job's podFailurePolicy and successPolicy: `pkg/apis/batch/validation/validation.go`.

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule, SuccessPolicyRule,
};

use super::field::{Faults, Path, shown};
use super::metadata;

const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_PATTERNS: usize = 20;
/// Of succeededIndexes, in bytes.
const MAX_INDEXES_TEXT: usize = 64 * 1024;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];

/// validatePodFailurePolicy.
pub(super) fn failure(spec: &JobSpec, path: &Path, faults: &mut Faults) {
    let Some(policy) = &spec.pod_failure_policy else { return };
    let path = path.child("rules");
    if policy.rules.len() > MAX_RULES {
        faults.too_many(&path, policy.rules.len(), MAX_RULES);
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        failure_rule(rule, spec, &path.index(i), faults);
    }
}

fn failure_rule(rule: &PodFailurePolicyRule, spec: &JobSpec, path: &Path, faults: &mut Faults) {
    let action = path.child("action");
    match rule.action.as_str() {
        "" => faults.required(&action, "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
        "FailIndex" if spec.backoff_limit_per_index.is_none() => {
            faults.invalid(&action, "FailIndex", "requires the backoffLimitPerIndex to be set");
        }
        known if ACTIONS.contains(&known) => {}
        other => faults.not_supported(&action, other, &ACTIONS),
    }
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(codes, spec, &path.child("onExitCodes"), faults);
    }
    let conditions = rule.on_pod_conditions.as_deref().unwrap_or_default();
    pod_conditions(conditions, &path.child("onPodConditions"), faults);
    match (rule.on_exit_codes.is_some(), conditions.is_empty()) {
        (true, false) => faults.invalid_omitted(path, "specifying both OnExitCodes and OnPodConditions is not supported"),
        (false, true) => faults.invalid_omitted(path, "specifying one of OnExitCodes and OnPodConditions is required"),
        _ => {}
    }
}

fn exit_codes(codes: &PodFailurePolicyOnExitCodesRequirement, spec: &JobSpec, path: &Path, faults: &mut Faults) {
    let operator = path.child("operator");
    match codes.operator.as_str() {
        "" => faults.required(&operator, "valid values: [\"In\" \"NotIn\"]"),
        "In" | "NotIn" => {}
        other => faults.not_supported(&operator, other, &["In", "NotIn"]),
    }
    if let Some(name) = &codes.container_name {
        let pod = spec.template.spec.as_ref();
        let known = pod.is_some_and(|p| p.containers.iter().chain(p.init_containers.iter().flatten()).any(|c| c.name == *name));
        if !known {
            let detail = "must be one of the container or initContainer names in the pod template";
            faults.invalid(&path.child("containerName"), name.as_str(), detail);
        }
    }
    let at = path.child("values");
    match codes.values.len() {
        0 => faults.invalid(&at, shown(&codes.values), "at least one value is required"),
        n if n > MAX_EXIT_CODES => faults.too_many(&at, n, MAX_EXIT_CODES),
        _ => {}
    }
    let mut seen = std::collections::BTreeSet::new();
    for (i, value) in codes.values.iter().enumerate() {
        if codes.operator == "In" && *value == 0 {
            faults.invalid(&at.index(i), 0, "must not be 0 for the In operator");
        }
        if !seen.insert(value) {
            faults.duplicate(&at.index(i), *value);
        }
    }
    if !codes.values.is_sorted() {
        faults.invalid(&at, shown(&codes.values), "must be ordered");
    }
}

fn pod_conditions(patterns: &[PodFailurePolicyOnPodConditionsPattern], path: &Path, faults: &mut Faults) {
    if patterns.len() > MAX_PATTERNS {
        faults.too_many(path, patterns.len(), MAX_PATTERNS);
    }
    for (i, pattern) in patterns.iter().enumerate() {
        let path = path.index(i);
        metadata::label_key(&pattern.type_, &path.child("type"), faults);
        match pattern.status.as_deref().unwrap_or_default() {
            "" => faults.required(&path.child("status"), "valid values: [\"False\" \"True\" \"Unknown\"]"),
            "False" | "True" | "Unknown" => {}
            other => faults.not_supported(&path.child("status"), other, &["False", "True", "Unknown"]),
        }
    }
}

/// validateSuccessPolicy: Indexed Jobs only.
pub(super) fn success(spec: &JobSpec, path: &Path, faults: &mut Faults) {
    let Some(policy) = &spec.success_policy else { return };
    if spec.completion_mode.as_deref() != Some("Indexed") {
        return faults.invalid(path, shown(policy), "requires indexed completion mode");
    }
    let path = path.child("rules");
    match policy.rules.len() {
        0 => faults.required(&path, "at least one rules must be specified when the successPolicy is specified"),
        n if n > MAX_RULES => faults.too_many(&path, n, MAX_RULES),
        _ => {}
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        success_rule(rule, spec.completions.unwrap_or(0), &path.index(i), faults);
    }
}

fn success_rule(rule: &SuccessPolicyRule, completions: i32, path: &Path, faults: &mut Faults) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        faults.required(path, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut total = None;
    if let Some(indexes) = &rule.succeeded_indexes {
        let at = path.child("succeededIndexes");
        if indexes.len() > MAX_INDEXES_TEXT {
            faults.too_long(&at, MAX_INDEXES_TEXT);
        }
        total = Some(count_indexes(indexes, completions).unwrap_or_else(|wrong| {
            faults.invalid(&at, indexes.as_str(), &format!("error parsing succeededIndexes: {wrong}"));
            0
        }));
    }
    let Some(count) = rule.succeeded_count else { return };
    let at = path.child("succeededCount");
    faults.non_negative(&at, Some(count));
    if count > completions {
        faults.invalid(&at, count, &format!("must be less than or equal to {completions} (the number of specified completions)"));
    }
    if let Some(total) = total.filter(|total| i64::from(count) > *total) {
        faults.invalid(
            &at,
            count,
            &format!("must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"),
        );
    }
}

/// How many indexes `0,2-4` names; increasing, below completions (validateIndexesFormat).
fn count_indexes(text: &str, completions: i32) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let (mut total, mut last) = (0i64, None);
    for interval in text.split(',') {
        let (first, end) = index_interval(interval, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total += i64::from(end) - i64::from(first) + 1;
        last = Some(end);
    }
    Ok(total)
}

fn index_interval(interval: &str, completions: i32) -> Result<(i32, i32), String> {
    let parts: Vec<&str> = interval.split('-').collect();
    if parts.len() > 2 {
        return Err(format!(
            "the fragment {interval:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let number = |text: &str| -> Result<i32, String> {
        let wrong = || format!("cannot convert string to integer for index: {text:?}");
        let n: i64 = text.parse().map_err(|_| wrong())?;
        if n >= i64::from(completions) {
            return Err(format!("too large index: {text:?}"));
        }
        i32::try_from(n).map_err(|_| wrong())
    };
    let first = number(parts[0])?;
    let end = parts.get(1).map_or(Ok(first), |text| number(text))?;
    if parts.len() == 2 && first >= end {
        return Err(format!("non-increasing order, previous: {first}, current: {end}"));
    }
    Ok((first, end))
}
