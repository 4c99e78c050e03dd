//! Annotations of pods that mean something, or meant something to older releases (ValidatePodSpecificAnnotations, validateSeccompAnnotationsAndFields,
//! validateAppArmorAnnotationsAndFieldsMatchOnCreate). Whether the agent honours a profile asked for so is `support`'s to say.

use k8s_openapi::api::core::v1::{AppArmorProfile, Container, PodSpec, SeccompProfile, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::field::{Faults, Path};
use super::{format, scheduling};
use crate::api::devices;
use crate::api::well_known::DEVICES;

const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const TAINTS: &str = "scheduler.alpha.kubernetes.io/taints";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The annotations of a pod or of a template, by themselves. `path`: that of the annotations.
pub(super) fn of_pod(meta: &ObjectMeta, spec: &PodSpec, path: &Path, faults: &mut Faults) {
    for (key, value) in meta.annotations.iter().flatten() {
        let (key, value) = (key.as_str(), value.as_str());
        match key {
            MIRROR if spec.node_name.as_deref().unwrap_or_default().is_empty() => {
                faults.invalid(&path.key(key), value, "must set spec.nodeName if mirror pod annotation is set");
            }
            TOLERATIONS if !value.is_empty() => match serde_json::from_str::<Vec<Toleration>>(value) {
                Ok(tolerations) => scheduling::tolerations(&tolerations, &path.child(key), faults),
                Err(error) => faults.invalid(path, key, &error.to_string()),
            },
            DELETION_COST if !is_cost(value) => faults.invalid(&path.key(key), value, "must be a 32bit integer"),
            SECCOMP_POD => seccomp(value, &path.child(key), faults),
            _ if key.starts_with(SECCOMP_CONTAINER) => seccomp(value, &path.child(key), faults),
            _ => {}
        }
        if let Some(name) = key.strip_prefix(APPARMOR) {
            if !containers(spec).any(|(_, _, c)| c.name == name) {
                faults.invalid(&path.key(key), name, "container not found");
            }
            if !["", "runtime/default", "unconfined"].contains(&value) && !value.starts_with("localhost/") {
                faults.invalid(&path.key(key), value, &format!("invalid AppArmor profile name: {value:?}"));
            }
        }
    }
}

/// The annotations of a Node (ValidateNodeSpecificAnnotations), and the agent's own.
pub(super) fn of_node(meta: &ObjectMeta, faults: &mut Faults) {
    let path = Path::new("metadata").child("annotations");
    if let Some(text) = meta.annotations.as_ref().and_then(|a| a.get(DEVICES)) {
        for wrong in devices::read(text).err().into_iter().flatten() {
            let message = if wrong.at.is_empty() { wrong.message } else { format!("{}: {}", wrong.at, wrong.message) };
            faults.invalid_omitted(&path.key(DEVICES), &message);
        }
    }
    let Some(text) = meta.annotations.as_ref().and_then(|a| a.get(TAINTS)).filter(|t| !t.is_empty()) else { return };
    match serde_json::from_str::<Vec<Taint>>(text) {
        Ok(taints) => scheduling::taints(&taints, &path.child(TAINTS), faults),
        Err(error) => faults.invalid(&path, TAINTS, &error.to_string()),
    }
}

/// A number as Kubernetes writes it: no `+`, no leading zero (GetDeletionCostFromPodAnnotations).
fn is_cost(text: &str) -> bool {
    let first = text.as_bytes().first().copied().unwrap_or_default();
    let canonical = text == "0" || first == b'-' || (b'1'..=b'9').contains(&first);
    canonical && text.parse::<i32>().is_ok()
}

/// ValidateSeccompProfile.
fn seccomp(profile: &str, path: &Path, faults: &mut Faults) {
    match profile.strip_prefix("localhost/") {
        Some(file) => faults.invalid_each(path, file, format::descending_path(file)),
        None if ["runtime/default", "docker/default", "unconfined"].contains(&profile) => {}
        None => faults.invalid(path, profile, "must be a valid seccomp profile"),
    }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = (&'static str, usize, &Container)> {
    let init = spec.init_containers.iter().flatten().enumerate().map(|(i, c)| ("initContainers", i, c));
    init.chain(spec.containers.iter().enumerate().map(|(i, c)| ("containers", i, c)))
}

/// Annotations and fields that ask for a profile ask for the same one. `path`: that of the spec.
pub(super) fn agree(meta: &ObjectMeta, spec: &PodSpec, path: &Path, faults: &mut Faults) {
    let annotation = |key: &str| meta.annotations.as_ref().and_then(|a| a.get(key)).map(String::as_str);
    let of_pod = spec.security_context.as_ref();
    if let (Some(text), Some(field)) = (annotation(SECCOMP_POD), of_pod.and_then(|c| c.seccomp_profile.as_ref())) {
        seccomp_agrees(text, field, &path.child("securityContext").child("seccompProfile"), faults);
    }
    for (list, i, container) in containers(spec) {
        let own = container.security_context.as_ref();
        let path = path.child(list).index(i).child("securityContext");
        let text = annotation(&format!("{SECCOMP_CONTAINER}{}", container.name));
        if let (Some(text), Some(field)) = (text, own.and_then(|c| c.seccomp_profile.as_ref())) {
            seccomp_agrees(text, field, &path.child("seccompProfile"), faults);
        }
        let field = own.and_then(|c| c.app_armor_profile.as_ref()).or_else(|| of_pod?.app_armor_profile.as_ref());
        if let (Some(text), Some(field)) = (annotation(&format!("{APPARMOR}{}", container.name)), field) {
            app_armor_agrees(text, field, &path.child("appArmorProfile"), faults);
        }
    }
}

/// validateSeccompAnnotationsAndFieldsMatch.
fn seccomp_agrees(annotation: &str, field: &SeccompProfile, path: &Path, faults: &mut Faults) {
    let same = match field.type_.as_str() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => ["runtime/default", "docker/default"].contains(&annotation),
        "Localhost" => match annotation.strip_prefix("localhost/") {
            Some(file) if field.localhost_profile.as_deref() != Some(file) => {
                return faults.forbidden(&path.child("localhostProfile"), "seccomp profile in annotation and field must match");
            }
            file => file.is_some(),
        },
        _ => true,
    };
    if !same {
        faults.forbidden(&path.child("type"), "seccomp type in annotation and field must match");
    }
}

fn app_armor_agrees(annotation: &str, field: &AppArmorProfile, path: &Path, faults: &mut Faults) {
    let same = match field.type_.as_str() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default",
        "Localhost" => match annotation.strip_prefix("localhost/") {
            Some(name) if field.localhost_profile.as_deref() != Some(name) => {
                return faults.forbidden(&path.child("localhostProfile"), "apparmor profile in annotation and field must match");
            }
            name => name.is_some(),
        },
        _ => true,
    };
    if !same {
        faults.forbidden(&path.child("type"), "apparmor type in annotation and field must match");
    }
}
