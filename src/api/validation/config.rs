//! ConfigMaps, Secrets and PersistentVolumeClaims (ValidateConfigMap, ValidateSecret, ValidatePersistentVolumeClaimSpec).

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, PersistentVolumeClaimSpec, Secret};

use super::field::{Faults, Path};
use super::{format, metadata};
use crate::api::quantity;

/// All data of a ConfigMap or a Secret together, in bytes.
const DATA_LIMIT: usize = 1024 * 1024;
const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// A ConfigMap from a file.
pub(super) fn config_map(map: &ConfigMap, faults: &mut Faults) {
    metadata::object_meta(&map.metadata, true, faults);
    let mut size = 0usize;
    for (key, text) in map.data.iter().flatten() {
        let path = Path::new("data").key(key);
        faults.invalid_each(&path, key, format::config_key(key));
        if map.binary_data.as_ref().is_some_and(|b| b.contains_key(key)) {
            faults.invalid(&path, key.as_str(), "duplicate of key present in binaryData");
        }
        size = size.saturating_add(text.len());
    }
    for (key, bytes) in map.binary_data.iter().flatten() {
        faults.invalid_each(&Path::new("binaryData").key(key), key, format::config_key(key));
        size = size.saturating_add(bytes.0.len());
    }
    if size > DATA_LIMIT {
        faults.too_long(&Path::new(""), DATA_LIMIT);
    }
}

/// A Secret from a file: its keys, its size, and what its type promises.
pub(super) fn secret(secret: &Secret, faults: &mut Faults) {
    metadata::object_meta(&secret.metadata, true, faults);
    let (path, mut size) = (Path::new("data"), 0usize);
    for (key, bytes) in secret.data.iter().flatten() {
        faults.invalid_each(&path.key(key), key, format::config_key(key));
        size = size.saturating_add(bytes.0.len());
    }
    if size > DATA_LIMIT {
        faults.too_long(&path, DATA_LIMIT);
    }
    let filled = |key: &str| secret.data.as_ref().and_then(|d| d.get(key)).is_some_and(|v| !v.0.is_empty());
    let present = |key: &str| secret.data.as_ref().is_some_and(|d| d.contains_key(key));
    match secret.type_.as_deref().unwrap_or_default() {
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            if secret.metadata.annotations.as_ref().and_then(|a| a.get(name)).is_none_or(String::is_empty) {
                faults.required(&Path::new("metadata").child("annotations").key(name), "");
            }
        }
        "kubernetes.io/dockercfg" => docker_config(secret, ".dockercfg", faults),
        "kubernetes.io/dockerconfigjson" => docker_config(secret, ".dockerconfigjson", faults),
        "kubernetes.io/basic-auth" if !present("username") && !present("password") => {
            faults.required(&path.key("username"), "");
            faults.required(&path.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if !filled("ssh-privatekey") => faults.required(&path.key("ssh-privatekey"), ""),
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"].into_iter().filter(|key| !present(key)) {
                faults.required(&path.key(key), "");
            }
        }
        _ => {}
    }
}

/// The JSON object that a registry's logins are. What is wrong with it is said without a character of it: Kubernetes quotes one.
fn docker_config(secret: &Secret, key: &str, faults: &mut Faults) {
    let path = Path::new("data").key(key);
    let Some(bytes) = secret.data.as_ref().and_then(|d| d.get(key)) else { return faults.required(&path, "") };
    let wrong = match serde_json::from_slice::<serde_json::Value>(&bytes.0) {
        Ok(serde_json::Value::Object(_) | serde_json::Value::Null) => return,
        Ok(serde_json::Value::Array(_)) => cannot_unmarshal("array"),
        Ok(serde_json::Value::String(_)) => cannot_unmarshal("string"),
        Ok(serde_json::Value::Number(_)) => cannot_unmarshal("number"),
        Ok(serde_json::Value::Bool(_)) => cannot_unmarshal("bool"),
        Err(error) if error.is_eof() => "unexpected end of JSON input".to_owned(),
        Err(error) => format!("invalid character at line {} column {}", error.line(), error.column()),
    };
    faults.invalid(&path, "<secret contents redacted>", &wrong);
}

fn cannot_unmarshal(what: &str) -> String {
    format!("json: cannot unmarshal {what} into Go value of type map[string]interface {{}}")
}

/// A PersistentVolumeClaim from a file.
pub(super) fn claim(claim: &PersistentVolumeClaim, faults: &mut Faults) {
    metadata::object_meta(&claim.metadata, true, faults);
    let none = PersistentVolumeClaimSpec::default();
    claim_spec(claim.spec.as_ref().unwrap_or(&none), &Path::new("spec"), faults);
}

fn claim_spec(spec: &PersistentVolumeClaimSpec, path: &Path, faults: &mut Faults) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    let at = path.child("accessModes");
    if modes.is_empty() {
        faults.required(&at, "at least 1 access mode is required");
    }
    for mode in modes.iter().filter(|m| !ACCESS_MODES.contains(&m.as_str())) {
        faults.not_supported(&at, mode.as_str(), &ACCESS_MODES);
    }
    let known = |mode: &String| ACCESS_MODES.contains(&mode.as_str()) && mode != "ReadWriteOncePod";
    if modes.iter().any(|m| m == "ReadWriteOncePod") && modes.iter().any(known) {
        faults.forbidden(&at, "may not use ReadWriteOncePod with other access modes");
    }
    if let Some(own) = &spec.selector {
        metadata::selector(own, &path.child("selector"), faults);
    }
    let at = path.child("resources").key("storage");
    match spec.resources.as_ref().and_then(|r| r.requests.as_ref()).and_then(|r| r.get("storage")) {
        None => faults.required(&at, ""),
        Some(text) => match quantity::parse(&text.0) {
            Ok(size) if size.is_zero() || size.is_negative() => faults.invalid(&at, size.to_string(), "must be greater than zero"),
            Ok(_) => {}
            Err(error) => faults.invalid(&at, text.0.as_str(), &error.to_string()),
        },
    }
    for (name, class) in [("storageClassName", &spec.storage_class_name), ("volumeAttributesClassName", &spec.volume_attributes_class_name)]
    {
        if let Some(class) = class.as_deref().filter(|c| !c.is_empty()) {
            faults.invalid_each(&path.child(name), class, format::dns_subdomain(class));
        }
    }
    if let Some(mode) = spec.volume_mode.as_deref().filter(|m| !["Block", "Filesystem"].contains(m)) {
        faults.not_supported(&path.child("volumeMode"), mode, &["Block", "Filesystem"]);
    }
}
