//! ConfigMaps, Secrets and PersistentVolumeClaims (ValidateConfigMap, ValidateSecret, ValidatePersistentVolumeClaimSpec).

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, PersistentVolumeClaimSpec, Secret};

use super::field::{Faults, Path};
use super::{format, metadata, resources};

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

fn docker_config(secret: &Secret, key: &str, faults: &mut Faults) {
    let path = Path::new("data").key(key);
    match secret.data.as_ref().and_then(|d| d.get(key)) {
        None => faults.required(&path, ""),
        Some(bytes) => {
            if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes.0) {
                faults.invalid(&path, "<secret contents redacted>", &error.to_string());
            }
        }
    }
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
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        faults.forbidden(&at, "may not use ReadWriteOncePod with other access modes");
    }
    if let Some(own) = &spec.selector {
        metadata::selector(own, &path.child("selector"), faults);
    }
    let at = path.child("resources").key("storage");
    match spec.resources.as_ref().and_then(|r| r.requests.as_ref()).and_then(|r| r.get("storage")) {
        None => faults.required(&at, ""),
        Some(text) => {
            if resources::parsed(&text.0, &at, faults).is_some_and(|q| q.is_zero()) {
                faults.invalid(&at, text.0.as_str(), "must be greater than zero");
            }
        }
    }
    if let Some(class) = spec.storage_class_name.as_deref().filter(|c| !c.is_empty()) {
        faults.invalid_each(&path.child("storageClassName"), class, format::dns_subdomain(class));
    }
    if let Some(mode) = spec.volume_mode.as_deref().filter(|m| !["Block", "Filesystem"].contains(m)) {
        faults.not_supported(&path.child("volumeMode"), mode, &["Block", "Filesystem"]);
    }
}
