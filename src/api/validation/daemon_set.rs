//! DaemonSets: `pkg/apis/apps/validation/validation.go`.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::field::{Faults, Path, shown};
use super::{format, metadata, pod};
use crate::api::selector;

/// A DaemonSet from a file.
pub(super) fn daemon_set(daemon_set: &DaemonSet, faults: &mut Faults) {
    metadata::object_meta(&daemon_set.metadata, true, faults);
    let path = Path::new("spec");
    match &daemon_set.spec {
        Some(spec) => self::spec(spec, &path, faults),
        None => faults.required(&path, ""),
    }
}

fn spec(spec: &DaemonSetSpec, path: &Path, faults: &mut Faults) {
    let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    let at = path.child("selector");
    let right = metadata::selector(&spec.selector, &at, faults);
    if selector::is_empty(&spec.selector) {
        // Absent and `{}` read the same here; Kubernetes refuses both.
        faults.required(&at, "empty selector is invalid for daemonset");
    } else if right && !selector::matches(&spec.selector, &labels) {
        let at = path.child("template").child("metadata").child("labels");
        faults.invalid(&at, shown(&labels), "`selector` does not match template `labels`");
    }
    let template = path.child("template");
    pod::template(&spec.template, &template, faults);
    let pod = spec.template.spec.as_ref();
    if let Some(policy) = pod.and_then(|p| p.restart_policy.as_deref()).filter(|p| *p != "Always") {
        faults.not_supported(&template.child("spec").child("restartPolicy"), policy, &["Always"]);
    }
    if pod.is_some_and(|p| p.active_deadline_seconds.is_some()) {
        let at = template.child("spec").child("activeDeadlineSeconds");
        faults.forbidden(&at, "activeDeadlineSeconds in DaemonSet is not Supported");
    }
    faults.non_negative(&path.child("minReadySeconds"), spec.min_ready_seconds);
    if let Some(strategy) = &spec.update_strategy {
        update_strategy(strategy, &path.child("updateStrategy"), faults);
    }
    faults.non_negative(&path.child("revisionHistoryLimit"), spec.revision_history_limit);
}

fn update_strategy(strategy: &DaemonSetUpdateStrategy, path: &Path, faults: &mut Faults) {
    match (strategy.type_.as_deref(), &strategy.rolling_update) {
        (Some("OnDelete"), _) => {}
        (Some("RollingUpdate"), Some(rolling)) => rolling_update(rolling, &path.child("rollingUpdate"), faults),
        (Some("RollingUpdate"), None) => faults.required(&path.child("rollingUpdate"), ""),
        _ => faults.not_supported(path, shown(strategy), &["RollingUpdate", "OnDelete"]),
    }
}

/// Exactly one of maxUnavailable and maxSurge is not zero, neither above 100 %.
fn rolling_update(rolling: &RollingUpdateDaemonSet, path: &Path, faults: &mut Faults) {
    let unavailable = count(rolling.max_unavailable.as_ref(), &path.child("maxUnavailable"), faults);
    let surge = count(rolling.max_surge.as_ref(), &path.child("maxSurge"), faults);
    if unavailable != 0 && surge != 0 {
        faults.invalid(&path.child("maxSurge"), shown(&rolling.max_surge), "may not be set when maxUnavailable is non-zero");
    } else if unavailable == 0 && surge == 0 {
        faults.required(&path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0");
    }
}

/// The number in an int-or-percent; faults where it is none (ValidatePositiveIntOrPercent, IsNotMoreThan100Percent).
fn count(value: Option<&IntOrString>, path: &Path, faults: &mut Faults) -> i64 {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => {
            faults.non_negative(path, Some(*number));
            i64::from(*number)
        }
        Some(IntOrString::String(text)) => match format::percent(text) {
            Ok(percent) => {
                if percent > 100 {
                    faults.invalid(path, text.as_str(), "must not be greater than 100%");
                }
                percent
            }
            Err(wrong) => {
                faults.invalid(path, text.as_str(), &wrong);
                text.parse().unwrap_or(0)
            }
        },
    }
}
