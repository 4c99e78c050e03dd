//! What old versions defaulted otherwise than the present ones.
//!
//! `pkg/apis/extensions/v1beta1/defaults.go` (SetDefaults_DaemonSet): selector and labels from the template's labels, updateStrategy
//! OnDelete. apps/v1beta1 took selectors from the template too (for its Deployments and StatefulSets; it never served DaemonSets,
//! but files say so); apps/v1beta2 did not. The CronJob versions differ from batch/v1 in nothing.

use super::kinds::Old;
use crate::api::object::Object;
use crate::api::yaml::Node;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Takes off fields that only old versions had.
pub(super) fn strip(root: &mut Node) {
    if let Some(spec) = root.get_mut("spec") {
        spec.remove("templateGeneration");
    }
}

/// Fills in what the old version would have.
pub(super) fn convert(object: &mut Object, old: &Old) {
    if let Object::DaemonSet(set) = object {
        match old.version {
            "extensions/v1beta1" => {
                selector_from_template(set);
                labels_from_template(set);
                on_delete(set);
            }
            "apps/v1beta1" => selector_from_template(set),
            _ => {}
        }
    }
}

fn selector_from_template(set: &mut DaemonSet) {
    let Some(spec) = &mut set.spec else { return };
    let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone());
    if spec.selector == LabelSelector::default() && labels.is_some() {
        spec.selector.match_labels = labels;
    }
}

fn labels_from_template(set: &mut DaemonSet) {
    let labels = set.spec.as_ref().and_then(|s| s.template.metadata.as_ref()).and_then(|m| m.labels.clone());
    if set.metadata.labels.as_ref().is_none_or(|l| l.is_empty()) {
        set.metadata.labels = labels;
    }
}

fn on_delete(set: &mut DaemonSet) {
    let Some(spec) = &mut set.spec else { return };
    let strategy = spec.update_strategy.get_or_insert_default();
    if strategy.type_.as_deref().is_none_or(str::is_empty) {
        strategy.type_ = Some("OnDelete".to_owned());
    }
}
