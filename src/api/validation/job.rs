//! Jobs: `pkg/apis/batch/validation/validation.go`. The policies are in `job_policy`.

use k8s_openapi::api::batch::v1::{Job, JobSpec};

use super::field::{Faults, Path, shown};
use super::{format, job_policy, metadata, pod};
use crate::api::selector;

const MAX_PARALLELISM: i32 = 100_000;
/// From so many completions on, per-index back-off has tighter limits.
const MANY_COMPLETIONS: i32 = 100_000;
const MANY_PARALLELISM: i32 = 10_000;
const MANY_FAILED_INDEXES: i32 = 10_000;
const MAX_FAILED_INDEXES: i32 = 100_000;

/// A Job from a file.
pub(super) fn job(job: &Job, faults: &mut Faults) {
    metadata::object_meta(&job.metadata, true, faults);
    let path = Path::new("spec");
    let Some(spec) = &job.spec else { return faults.required(&path.child("template").child("spec").child("containers"), "") };
    own_selector(spec, &path, faults);
    self::spec(spec, &path, faults);
    let name = job.metadata.name.as_deref().unwrap_or_default();
    if name.len() > 63 {
        // The controller labels the pods with the Job's name.
        faults.invalid_each(&path.child("template").child("labels"), name, format::label_value(name));
    }
    if spec.manual_selector != Some(true) {
        generated_labels(spec, name, &path.child("template").child("metadata").child("labels"), faults);
    }
    if let (Some("Indexed"), Some(completions @ 1..)) = (spec.completion_mode.as_deref(), spec.completions) {
        let longest = format!("{name}-{}", completions - 1);
        if !name.is_empty() && !format::dns_label(&longest).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {longest}");
            faults.invalid(&Path::new("metadata").child("name"), name, &detail);
        }
    }
}

/// validateGeneratedSelector: what the template's labels say of the Job must be so. No manifest can know the uid that the Job will get.
fn generated_labels(spec: &JobSpec, name: &str, path: &Path, faults: &mut Faults) {
    let Some(labels) = spec.template.metadata.as_ref().and_then(|m| m.labels.as_ref()) else { return };
    for key in ["controller-uid", "batch.kubernetes.io/controller-uid"].into_iter().filter(|key| labels.contains_key(*key)) {
        faults.invalid(&path.key(key), shown(labels), "must be the uid that the Job gets when it is made: remove the label");
    }
    for key in ["job-name", "batch.kubernetes.io/job-name"] {
        if labels.get(key).is_some_and(|value| value != name) {
            faults.invalid(&path.key(key), shown(labels), &format!("must be '{name}'"));
        }
    }
}

/// The controller makes the selector; a hand-made one needs manualSelector and has to match the template.
fn own_selector(spec: &JobSpec, path: &Path, faults: &mut Faults) {
    let at = path.child("selector");
    let Some(own) = spec.selector.as_ref().filter(|s| !selector::is_empty(s)) else {
        if spec.manual_selector == Some(true) {
            faults.required(&at, "");
        }
        return;
    };
    let right = metadata::selector(own, &at, faults);
    if spec.manual_selector != Some(true) {
        return faults.invalid(&at, shown(own), "`selector` not auto-generated");
    }
    let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    if right && !selector::matches(own, &labels) {
        let at = path.child("template").child("metadata").child("labels");
        faults.invalid(&at, shown(&labels), "`selector` does not match template `labels`");
    }
}

/// What is true of every Job's spec, a CronJob's template included (validateJobSpec).
pub(super) fn spec(spec: &JobSpec, path: &Path, faults: &mut Faults) {
    let counts = [
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("backoffLimit", spec.backoff_limit),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
        ("maxFailedIndexes", spec.max_failed_indexes),
    ];
    for (name, count) in counts {
        faults.non_negative(&path.child(name), count);
    }
    faults.non_negative(&path.child("activeDeadlineSeconds"), spec.active_deadline_seconds);
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        faults.required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    managed_by(spec.managed_by.as_deref(), &path.child("managedBy"), faults);
    match spec.completion_mode.as_deref() {
        Some("Indexed") => indexed(spec, path, faults),
        None | Some("NonIndexed") => not_indexed(spec, path, faults),
        Some(other) => faults.not_supported(&path.child("completionMode"), other, &["NonIndexed", "Indexed"]),
    }
    job_policy::failure(spec, &path.child("podFailurePolicy"), faults);
    job_policy::success(spec, &path.child("successPolicy"), faults);
    replacement(spec, &path.child("podReplacementPolicy"), faults);
    pod::template(&spec.template, &path.child("template"), faults);
    restart_policy(spec, &path.child("template").child("spec").child("restartPolicy"), faults);
}

fn managed_by(controller: Option<&str>, path: &Path, faults: &mut Faults) {
    match controller {
        None => {}
        Some("") => faults.required(path, ""),
        Some(name) => {
            for (part, message) in format::domain_prefixed_path(name) {
                faults.invalid(path, part, &message);
            }
            if name.len() > 63 {
                faults.too_long(path, 63);
            }
        }
    }
}

fn indexed(spec: &JobSpec, path: &Path, faults: &mut Faults) {
    let Some(completions) = spec.completions else {
        return faults.required(&path.child("completions"), "when completion mode is Indexed");
    };
    let parallelism = path.child("parallelism");
    if let Some(n) = spec.parallelism.filter(|n| *n > MAX_PARALLELISM) {
        faults.invalid(&parallelism, n, &format!("must be less than or equal to {MAX_PARALLELISM} when completion mode is Indexed"));
    }
    let failed = path.child("maxFailedIndexes");
    if let Some(n) = spec.max_failed_indexes.filter(|n| *n > completions) {
        faults.invalid(&failed, n, "must be less than or equal to completions");
    }
    if let Some(n) = spec.max_failed_indexes.filter(|n| *n > MAX_FAILED_INDEXES) {
        faults.invalid(&failed, n, &format!("must be less than or equal to {MAX_FAILED_INDEXES}"));
    }
    if completions <= MANY_COMPLETIONS || spec.backoff_limit_per_index.is_none() {
        return;
    }
    let many = |limit: i32| {
        format!("must be less than or equal to {limit} when completions are above {MANY_COMPLETIONS} and used with backoff limit per index")
    };
    if spec.max_failed_indexes.is_none() {
        faults.required(&failed, &format!("must be specified when completions is above {MANY_COMPLETIONS}"));
    }
    if let Some(n) = spec.parallelism.filter(|n| *n > MANY_PARALLELISM) {
        faults.invalid(&parallelism, n, &many(MANY_PARALLELISM));
    }
    if let Some(n) = spec.max_failed_indexes.filter(|n| *n > MANY_FAILED_INDEXES) {
        faults.invalid(&failed, n, &many(MANY_FAILED_INDEXES));
    }
}

fn not_indexed(spec: &JobSpec, path: &Path, faults: &mut Faults) {
    for (name, value) in [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)] {
        if let Some(value) = value {
            faults.invalid(&path.child(name), value, "requires indexed completion mode");
        }
    }
}

fn replacement(spec: &JobSpec, path: &Path, faults: &mut Faults) {
    let supported: &[&str] = if spec.pod_failure_policy.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if let Some(policy) = spec.pod_replacement_policy.as_deref().filter(|p| !supported.contains(p)) {
        faults.not_supported(path, policy, supported);
    }
}

/// OnFailure or Never must be chosen: the default of pods, Always, is none for a Job.
fn restart_policy(spec: &JobSpec, path: &Path, faults: &mut Faults) {
    match spec.template.spec.as_ref().and_then(|p| p.restart_policy.as_deref()).unwrap_or_default() {
        "" | "Always" => faults.required(path, "valid values: \"OnFailure\", \"Never\""),
        policy @ "OnFailure" if spec.pod_failure_policy.is_some() => {
            faults.invalid(path, policy, "only \"Never\" is supported when podFailurePolicy is specified");
        }
        "OnFailure" | "Never" => {}
        policy => faults.not_supported(path, policy, &["OnFailure", "Never"]),
    }
}
