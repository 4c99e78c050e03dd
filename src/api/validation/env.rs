//! Environment: names, and exactly one source for each value (ValidateEnv, ValidateEnvFrom).

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, FileKeySelector, ObjectFieldSelector, ResourceFieldSelector};

use super::field::{Faults, Path};
use super::{format, metadata};
use crate::api::quantity;

/// The fields an environment variable may refer to.
pub(super) const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// The fields a downwardAPI volume may hold.
pub(super) const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const RESOURCES: [&str; 6] =
    ["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];
const BYTE_DIVISORS: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// All variables of a container.
pub(super) fn variables(variables: &[EnvVar], path: &Path, faults: &mut Faults) {
    for (i, variable) in variables.iter().enumerate() {
        let path = path.index(i);
        if variable.name.is_empty() {
            faults.required(&path.child("name"), "");
        } else {
            faults.invalid_each(&path.child("name"), &variable.name, format::env_name(&variable.name));
        }
        source(variable, &path.child("valueFrom"), faults);
    }
}

fn source(variable: &EnvVar, path: &Path, faults: &mut Faults) {
    let Some(from) = &variable.value_from else { return };
    let mut sources = 0;
    if let Some(selector) = &from.field_ref {
        sources += 1;
        field_selector(selector, &ENV_FIELDS, &path.child("fieldRef"), faults);
    }
    if let Some(selector) = &from.resource_field_ref {
        sources += 1;
        resource_selector(selector, false, &path.child("resourceFieldRef"), faults);
    }
    if let Some(selector) = &from.config_map_key_ref {
        sources += 1;
        key_selector(&selector.name, &selector.key, &path.child("configMapKeyRef"), faults);
    }
    if let Some(selector) = &from.secret_key_ref {
        sources += 1;
        key_selector(&selector.name, &selector.key, &path.child("secretKeyRef"), faults);
    }
    if let Some(selector) = &from.file_key_ref {
        sources += 1;
        file_selector(selector, &path.child("fileKeyRef"), faults);
    }
    if sources == 0 {
        faults.invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    } else if !variable.value.as_deref().unwrap_or_default().is_empty() {
        faults.invalid(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        faults.invalid(path, "", "may not have more than one field specified at a time");
    }
}

/// validateObjectFieldSelector; `metadata.labels['k']` and `metadata.annotations['k']` everywhere.
pub(super) fn field_selector(selector: &ObjectFieldSelector, fields: &[&str], path: &Path, faults: &mut Faults) {
    let (at, field) = (path.child("fieldPath"), selector.field_path.as_str());
    match selector.api_version.as_deref().unwrap_or_default() {
        "" => return faults.required(&path.child("apiVersion"), ""),
        _ if field.is_empty() => return faults.required(&at, ""),
        "v1" => {}
        other => return faults.invalid(&at, field, &format!("error converting fieldPath: unsupported pod version: {other}")),
    }
    let Some((name, subscript)) = subscripted(field) else {
        // Kubernetes first converts the path, which knows every field of any of the lists.
        let known = ENV_FIELDS.contains(&field)
            || VOLUME_FIELDS.contains(&field)
            || matches!(field, "spec.restartPolicy" | "spec.schedulerName" | "status.phase" | "spec.host");
        return match fields.contains(&field) {
            true => {}
            false if known => faults.not_supported(&at, field, fields),
            false => faults.invalid(&at, field, &format!("error converting fieldPath: field label not supported: {field}")),
        };
    };
    match name {
        "metadata.annotations" => metadata::label_key(&subscript.to_ascii_lowercase(), path, faults),
        "metadata.labels" => metadata::label_key(subscript, path, faults),
        _ => faults.invalid(&at, field, &format!("error converting fieldPath: field label does not support subscript: {field}")),
    }
}

/// `path['key']` → (path, key) (`pkg/fieldpath` SplitMaybeSubscriptedPath).
fn subscripted(field: &str) -> Option<(&str, &str)> {
    let (path, key) = field.strip_suffix("']")?.split_once("['")?;
    (!path.is_empty()).then_some((path, key))
}

/// validateContainerResourceFieldSelector; in a volume the container must be named.
pub(super) fn resource_selector(selector: &ResourceFieldSelector, volume: bool, path: &Path, faults: &mut Faults) {
    let resource = selector.resource.as_str();
    let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if volume && selector.container_name.as_deref().unwrap_or_default().is_empty() {
        faults.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        faults.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge {
        faults.not_supported(&path.child("resource"), resource, &RESOURCES);
    }
    let Some(divisor) = &selector.divisor else { return };
    let at = path.child("divisor");
    let divisor = match quantity::parse(&divisor.0) {
        Ok(divisor) if divisor.is_zero() => return,
        Ok(divisor) => divisor.to_string(),
        Err(error) => return faults.invalid(&at, divisor.0.as_str(), &error.to_string()),
    };
    let (kind, allowed, list): (_, &[&str], _) = match resource {
        "limits.cpu" | "requests.cpu" => ("cpu", &["1m", "1"], "1m and 1".to_owned()),
        "limits.memory" | "requests.memory" => ("memory", &BYTE_DIVISORS, BYTE_DIVISORS.join(", ")),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => ("local ephemeral storage", &BYTE_DIVISORS, BYTE_DIVISORS.join(", ")),
        _ if huge => ("hugepages", &BYTE_DIVISORS, BYTE_DIVISORS.join(", ")),
        _ => return,
    };
    if !allowed.contains(&divisor.as_str()) {
        faults.invalid(&at, resource, &format!("only divisor's values {list} are supported with the {kind} resource"));
    }
}

fn key_selector(name: &str, key: &str, path: &Path, faults: &mut Faults) {
    faults.invalid_each(&path.child("name"), name, format::dns_subdomain(name));
    if key.is_empty() {
        faults.required(&path.child("key"), "");
    } else {
        faults.invalid_each(&path.child("key"), key, format::config_key(key));
    }
}

fn file_selector(selector: &FileKeySelector, path: &Path, faults: &mut Faults) {
    faults.required_texts(path, &[("key", &selector.key), ("volumeName", &selector.volume_name), ("path", &selector.path)]);
    faults.invalid_each(&path.child("path"), &selector.path, format::local_path(&selector.path));
}

/// Sources of whole environments.
pub(super) fn from_sources(sources: &[EnvFromSource], path: &Path, faults: &mut Faults) {
    for (i, source) in sources.iter().enumerate() {
        let at = path.index(i);
        if let Some(prefix) = source.prefix.as_deref().filter(|p| !p.is_empty()) {
            faults.invalid_each(&at.child("prefix"), prefix, format::env_name(prefix));
        }
        let references =
            [("configMapRef", source.config_map_ref.as_ref().map(|r| &r.name)), ("secretRef", source.secret_ref.as_ref().map(|r| &r.name))];
        for (field, name) in references.iter().filter_map(|(field, name)| Some((field, (*name)?))) {
            let at = at.child(field).child("name");
            if name.is_empty() {
                faults.required(&at, "");
            } else {
                faults.invalid_each(&at, name, format::dns_subdomain(name));
            }
        }
        match references.iter().filter(|(_, name)| name.is_some()).count() {
            0 => faults.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => faults.invalid(path, "", "may not have more than one field specified at a time"),
        }
    }
}
