//! Rows of ConfigMaps, Secrets and PersistentVolumeClaims.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};

use super::Row;
use crate::cli::duration::since;

pub(super) const CONFIG_MAP: &[&str] = &["NAME", "DATA", "AGE"];
pub(super) const SECRET: &[&str] = &["NAME", "TYPE", "DATA", "AGE"];
pub(super) const CLAIM: &[&str] =
    &["NAME", "STATUS", "VOLUME", "CAPACITY", "ACCESS MODES", "STORAGECLASS", "VOLUMEATTRIBUTESCLASS", "AGE", "VOLUMEMODE"];

pub(super) fn config_map(map: &ConfigMap, now: Timestamp) -> Row {
    let count = map.data.as_ref().map_or(0, |d| d.len()) + map.binary_data.as_ref().map_or(0, |d| d.len());
    vec![map.metadata.name.clone().unwrap_or_default(), count.to_string(), since(map.metadata.creation_timestamp.as_ref(), now)]
}

pub(super) fn secret(secret: &Secret, now: Timestamp) -> Row {
    vec![
        secret.metadata.name.clone().unwrap_or_default(),
        secret.type_.clone().unwrap_or_default(),
        secret.data.as_ref().map_or(0, |d| d.len()).to_string(),
        since(secret.metadata.creation_timestamp.as_ref(), now),
    ]
}

pub(super) fn claim(claim: &PersistentVolumeClaim, now: Timestamp) -> Row {
    let spec = claim.spec.clone().unwrap_or_default();
    let status = claim.status.clone().unwrap_or_default();
    let unset = || "<unset>".to_owned();
    let phase = match claim.metadata.deletion_timestamp {
        Some(_) => "Terminating".to_owned(),
        None => status.phase.unwrap_or_default(),
    };
    let volume = spec.volume_name.unwrap_or_default();
    let capacity = status.capacity.unwrap_or_default().get("storage").map(|q| q.0.clone()).unwrap_or_default();
    let (capacity, modes) = match volume.as_str() {
        "" => (String::new(), String::new()),
        _ => (capacity, access_modes(status.access_modes.as_deref().unwrap_or_default())),
    };
    vec![
        claim.metadata.name.clone().unwrap_or_default(),
        phase,
        volume,
        capacity,
        modes,
        spec.storage_class_name.unwrap_or_default(),
        spec.volume_attributes_class_name.unwrap_or_else(unset),
        since(claim.metadata.creation_timestamp.as_ref(), now),
        spec.volume_mode.unwrap_or_else(unset),
    ]
}

/// `RWO,ROX`: in Kubernetes' order, each once.
pub(in crate::cli) fn access_modes(modes: &[String]) -> String {
    const SHORT: &[(&str, &str)] =
        &[("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let there = SHORT.iter().filter(|(mode, _)| modes.iter().any(|m| m == mode));
    there.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}
