//! metadata, labels and label selectors: `staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go` and
//! `pkg/apis/meta/v1/validation/validation.go`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use super::field::{Faults, Path};
use super::format;

/// All annotations of an object together, keys and values, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// The metadata of an object whose name is a DNS subdomain, as all kinds here have it.
pub(super) fn object_meta(meta: &ObjectMeta, namespaced: bool, faults: &mut Faults) {
    let path = Path::new("metadata");
    let generate = meta.generate_name.as_deref().unwrap_or_default();
    if !generate.is_empty() {
        faults.invalid_each(&path.child("generateName"), generate, format::dns_subdomain(&masked(generate)));
    }
    match meta.name.as_deref().unwrap_or_default() {
        "" if generate.is_empty() => faults.required(&path.child("name"), "name or generateName is required"),
        "" => {}
        name => faults.invalid_each(&path.child("name"), name, format::dns_subdomain(name)),
    }
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    match (namespaced, namespace) {
        (true, "") => faults.required(&path.child("namespace"), ""),
        (true, _) => faults.invalid_each(&path.child("namespace"), namespace, format::dns_label(namespace)),
        (false, "") => {}
        (false, _) => faults.forbidden(&path.child("namespace"), "not allowed on this type"),
    }
    faults.non_negative(&path.child("generation"), meta.generation);
    labels(meta.labels.as_ref(), &path.child("labels"), faults);
    annotations(meta.annotations.as_ref(), &path.child("annotations"), faults);
    owners(meta.owner_references.as_deref().unwrap_or_default(), &path.child("ownerReferences"), faults);
    finalizers(meta.finalizers.as_deref().unwrap_or_default(), &path.child("finalizers"), faults);
}

/// Qualified names, but not both of the two that contradict each other (ValidateFinalizers); those without a prefix must be Kubernetes' own
/// (validateKubeFinalizerName of `pkg/apis/core/validation/validation.go`).
fn finalizers(finalizers: &[String], path: &Path, faults: &mut Faults) {
    for finalizer in finalizers {
        faults.invalid_each(path, finalizer, format::qualified_name(finalizer));
    }
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    if has("foregroundDeletion") && has("orphan") {
        faults.invalid(path, super::field::shown(&finalizers), "finalizer orphan and foregroundDeletion cannot be both set");
    }
    for (i, finalizer) in finalizers.iter().enumerate() {
        if !finalizer.contains('/') && !["foregroundDeletion", "kubernetes", "orphan"].contains(&finalizer.as_str()) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            faults.invalid(&path.index(i), finalizer.as_str(), detail);
        }
    }
}

/// A prefix may end in `-`: what is generated after it makes it whole (maskTrailingDash).
fn masked(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(base) if !base.is_empty() => format!("{base}a"),
        _ => prefix.to_owned(),
    }
}

/// Labels: keys are qualified names, values label values.
pub(super) fn labels(labels: Option<&BTreeMap<String, String>>, path: &Path, faults: &mut Faults) {
    for (key, value) in labels.into_iter().flatten() {
        faults.invalid_each(path, key, format::qualified_name(key));
        faults.invalid_each(path, value, format::label_value(value));
    }
}

/// Annotations: keys are qualified names in any case, all together at most 256 KiB.
pub(super) fn annotations(annotations: Option<&BTreeMap<String, String>>, path: &Path, faults: &mut Faults) {
    let mut size = 0usize;
    for (key, value) in annotations.into_iter().flatten() {
        faults.invalid_each(path, key, format::qualified_name(&key.to_ascii_lowercase()));
        size = size.saturating_add(key.len()).saturating_add(value.len());
    }
    if size > ANNOTATIONS_LIMIT {
        faults.too_long(path, ANNOTATIONS_LIMIT);
    }
}

/// ValidateOwnerReferences. Ours: the faults name the reference's index, which Kubernetes leaves out.
fn owners(owners: &[OwnerReference], path: &Path, faults: &mut Faults) {
    let mut first: Option<&OwnerReference> = None;
    for (i, owner) in owners.iter().enumerate() {
        let at = path.index(i);
        if version_of(&owner.api_version).is_empty() {
            faults.invalid(&at.child("apiVersion"), owner.api_version.as_str(), "version must not be empty");
        }
        for (name, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                faults.invalid(&at.child(name), value.as_str(), "must not be empty");
            }
        }
        if owner.api_version == "v1" && owner.kind == "Event" {
            faults.invalid(&at, super::field::shown(owner), "/v1, Kind=Event is disallowed from being an owner");
        }
        match first.filter(|_| owner.controller == Some(true)) {
            Some(first) => {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {}/{} and {}/{}",
                    first.kind, first.name, owner.kind, owner.name
                );
                faults.invalid(path, super::field::shown(&owners), &detail);
            }
            None if owner.controller == Some(true) => first = Some(owner),
            None => {}
        }
    }
}

/// `v1` of `v1` and of `batch/v1`; what has more than one `/` has none (schema.ParseGroupVersion).
fn version_of(api_version: &str) -> &str {
    match api_version.split('/').collect::<Vec<_>>()[..] {
        [version] | [_, version] => version,
        _ => "",
    }
}

/// A label selector: known operators, values where they belong. Returns whether it is right: only then can it be said to match something or not.
pub(super) fn selector(selector: &LabelSelector, path: &Path, faults: &mut Faults) -> bool {
    let mut own = Faults::default();
    requirements(selector, path, &mut own);
    let right = own.is_empty();
    faults.extend(own);
    right
}

fn requirements(selector: &LabelSelector, path: &Path, faults: &mut Faults) {
    labels(selector.match_labels.as_ref(), &path.child("matchLabels"), faults);
    for (i, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(i);
        let values = requirement.values.as_deref().unwrap_or_default();
        match requirement.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                faults.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'")
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                faults.forbidden(&path.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            operator => faults.invalid(&path.child("operator"), operator, "not a valid selector operator"),
        }
        label_key(&requirement.key, &path.child("key"), faults);
        for (j, value) in values.iter().enumerate() {
            faults.invalid_each(&path.child("values").index(j), value, format::label_value(value));
        }
    }
}

/// A label's key (ValidateLabelName).
pub(super) fn label_key(key: &str, path: &Path, faults: &mut Faults) {
    faults.invalid_each(path, key, format::qualified_name(key));
}
