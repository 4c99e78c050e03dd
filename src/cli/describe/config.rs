//! ConfigMaps, Secrets (sizes only) and PersistentVolumeClaims.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};

use super::doc::Doc;
use super::{About, annotations, head, names, pairs};
use crate::cli::duration::since;

pub(super) fn config_map(doc: &mut Doc, map: &ConfigMap) {
    head(doc, &map.metadata);
    doc.line(0, "\nData\n====");
    for (key, value) in map.data.iter().flatten() {
        doc.line(0, format!("{key}:\n----\n{value}\n"));
    }
    doc.line(0, "\nBinaryData\n====");
    for (key, value) in map.binary_data.iter().flatten() {
        doc.line(0, format!("{key}: {} bytes", value.0.len()));
    }
    doc.line(0, "");
    doc.flush();
}

pub(super) fn secret(doc: &mut Doc, secret: &Secret) {
    head(doc, &secret.metadata);
    doc.line(0, format!("\nType:\t{}", secret.type_.as_deref().unwrap_or_default()));
    doc.line(0, "\nData\n====");
    for (key, value) in secret.data.iter().flatten() {
        doc.line(0, format!("{key}:\t{} bytes", value.0.len()));
    }
}

pub(super) fn claim(doc: &mut Doc, claim: &PersistentVolumeClaim, about: &About) {
    let spec = claim.spec.clone().unwrap_or_default();
    let status = claim.status.clone().unwrap_or_default();
    names(doc, &claim.metadata);
    doc.line(0, format!("StorageClass:\t{}", spec.storage_class_name.unwrap_or_default()));
    match &claim.metadata.deletion_timestamp {
        Some(deleted) => doc.line(0, format!("Status:\tTerminating (lasts {})", since(Some(deleted), about.now))),
        None => doc.line(0, format!("Status:\t{}", status.phase.unwrap_or_default())),
    }
    let volume = spec.volume_name.unwrap_or_default();
    doc.line(0, format!("Volume:\t{volume}"));
    pairs(doc, "Labels", claim.metadata.labels.as_ref());
    annotations(doc, &claim.metadata);
    doc.line(0, format!("Finalizers:\t[{}]", claim.metadata.finalizers.clone().unwrap_or_default().join(" ")));
    let bound = !volume.is_empty();
    let capacity = status.capacity.unwrap_or_default().get("storage").map(|q| q.0.clone()).filter(|_| bound).unwrap_or_default();
    doc.line(0, format!("Capacity:\t{capacity}"));
    let modes = status.access_modes.filter(|_| bound).unwrap_or_default();
    doc.line(0, format!("Access Modes:\t{}", crate::cli::tables::access_modes(&modes)));
    if let Some(mode) = spec.volume_mode {
        doc.line(0, format!("VolumeMode:\t{mode}"));
    }
    let uses = |pod: &&k8s_openapi::api::core::v1::Pod| {
        let mut volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
        volumes.any(|v| v.persistent_volume_claim.as_ref().map(|c| &c.claim_name) == claim.metadata.name.as_ref())
    };
    let users = about.pods.iter().filter(uses).filter_map(|pod| pod.metadata.name.clone()).collect();
    super::column(doc, "Used By", users);
}
