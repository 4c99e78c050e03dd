//! Volumes: names, exactly one source each, and what is in the sources (ValidateVolumes, validateVolumeSource).
//!
//! The sources of clouds and of drivers that are gone are only counted here: the support table refuses them all.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, ProjectedVolumeSource, Volume, VolumeProjection};

use super::field::{Faults, Path, shown};
use super::{env, format};
use crate::api::quantity;

/// The sources in the order in which Kubernetes looks: the first counts, the others are too many.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
const HOST_PATH_TYPES: [&str; 8] = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const MODE_TEXT: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Checks the volumes; returns those without a fault by name: only they can be mounted. `pod`: the name of the pod, "" for a template.
pub(super) fn volumes<'a>(volumes: &'a [Volume], pod: &str, path: &Path, faults: &mut Faults) -> BTreeMap<&'a str, &'a Volume> {
    let mut good = BTreeMap::new();
    let made = |claim: &str| !pod.is_empty() && volumes.iter().any(|v| v.ephemeral.is_some() && claim == format!("{pod}-{}", v.name));
    for (i, volume) in volumes.iter().enumerate() {
        let path = path.index(i);
        let mut own = Faults::default();
        sources(volume, &path, &mut own);
        let name = path.child("name");
        if volume.name.is_empty() {
            own.required(&name, "");
        } else {
            own.invalid_each(&name, &volume.name, format::dns_label(&volume.name));
        }
        if good.contains_key(volume.name.as_str()) {
            own.duplicate(&name, volume.name.as_str());
        }
        if own.is_empty() {
            good.insert(volume.name.as_str(), volume);
        }
        faults.extend(own);
        if let Some(claim) = volume.persistent_volume_claim.as_ref().map(|c| c.claim_name.as_str()).filter(|claim| made(claim)) {
            let at = path.child("persistentVolumeClaim").child("claimName");
            faults.invalid(&at, claim, "must not reference a PVC that gets created for an ephemeral volume");
        }
    }
    good
}

fn sources(volume: &Volume, path: &Path, faults: &mut Faults) {
    let json = shown(volume);
    let mut set = SOURCES.into_iter().filter(|source| json.get(source).is_some());
    let Some(first) = set.next() else { return faults.required(path, "must specify a volume type") };
    source(volume, first, &path.child(first), faults);
    for source in set {
        faults.forbidden(&path.child(source), "may not specify more than 1 volume type");
    }
}

fn source(volume: &Volume, kind: &str, path: &Path, faults: &mut Faults) {
    let required = |faults: &mut Faults, field: &str, value: &str| faults.required_texts(path, &[(field, value)]);
    match kind {
        "emptyDir" => {
            let limit = volume.empty_dir.as_ref().and_then(|s| s.size_limit.as_ref());
            match limit.map(|l| (l, quantity::parse(&l.0))) {
                Some((_, Ok(quantity))) if quantity.is_negative() => {
                    faults.forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
                }
                Some((text, Err(error))) => faults.invalid(&path.child("sizeLimit"), text.0.as_str(), &error.to_string()),
                _ => {}
            }
        }
        "hostPath" => volume.host_path.iter().for_each(|s| host_path(s, path, faults)),
        "secret" => volume.secret.iter().for_each(|s| {
            required(faults, "secretName", s.secret_name.as_deref().unwrap_or_default());
            keys(s.default_mode, s.items.as_deref(), path, faults);
        }),
        "configMap" => volume.config_map.iter().for_each(|s| {
            required(faults, "name", &s.name);
            keys(s.default_mode, s.items.as_deref(), path, faults);
        }),
        "persistentVolumeClaim" => volume.persistent_volume_claim.iter().for_each(|s| required(faults, "claimName", &s.claim_name)),
        "nfs" => volume.nfs.iter().for_each(|s| {
            required(faults, "server", &s.server);
            required(faults, "path", &s.path);
            if !s.path.starts_with('/') {
                faults.invalid(&path.child("path"), s.path.as_str(), "must be an absolute path");
            }
        }),
        "image" => volume.image.iter().for_each(|s| {
            faults.one_of(&path.child("pullPolicy"), s.pull_policy.as_deref(), &["Always", "IfNotPresent", "Never"]);
        }),
        "csi" => volume.csi.iter().for_each(|s| required(faults, "driver", &s.driver)),
        "downwardAPI" => volume.downward_api.iter().for_each(|s| {
            mode(s.default_mode, &path.child("defaultMode"), faults);
            s.items.iter().flatten().for_each(|f| downward_file(f, path, faults));
        }),
        "projected" => volume.projected.iter().for_each(|s| projected(s, path, faults)),
        _ => {}
    }
}

fn host_path(source: &HostPathVolumeSource, path: &Path, faults: &mut Faults) {
    if source.path.is_empty() {
        return faults.required(&path.child("path"), "");
    }
    faults.invalid_each(&path.child("path"), &source.path, format::no_backsteps(&source.path));
    if let Some(kind) = source.type_.as_deref().filter(|t| !HOST_PATH_TYPES.contains(t)) {
        faults.not_supported(&path.child("type"), kind, &HOST_PATH_TYPES);
    }
}

fn mode(mode: Option<i32>, path: &Path, faults: &mut Faults) {
    if let Some(mode) = mode.filter(|m| !(0..=0o777).contains(m)) {
        faults.invalid(path, mode, MODE_TEXT);
    }
}

fn keys(default_mode: Option<i32>, items: Option<&[KeyToPath]>, path: &Path, faults: &mut Faults) {
    mode(default_mode, &path.child("defaultMode"), faults);
    for (i, item) in items.unwrap_or_default().iter().enumerate() {
        key_to_path(item, &path.child("items").index(i), faults);
    }
}

fn key_to_path(item: &KeyToPath, path: &Path, faults: &mut Faults) {
    faults.required_texts(path, &[("key", &item.key), ("path", &item.path)]);
    faults.invalid_each(&path.child("path"), &item.path, format::local_path(&item.path));
    mode(item.mode, &path.child("mode"), faults);
}

fn downward_file(file: &DownwardAPIVolumeFile, path: &Path, faults: &mut Faults) {
    if file.path.is_empty() {
        faults.required(&path.child("path"), "");
    }
    faults.invalid_each(&path.child("path"), &file.path, format::local_path(&file.path));
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(_), Some(_)) => faults.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"),
        (Some(field), None) => env::field_selector(field, &env::VOLUME_FIELDS, &path.child("fieldRef"), faults),
        (None, Some(resource)) => env::resource_selector(resource, true, &path.child("resourceFieldRef"), faults),
        (None, None) => faults.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(file.mode, &path.child("mode"), faults);
}

/// validateProjectionSources: every source of one kind, no path twice. A path that a map's key takes again is told by the map's name.
fn projected(source: &ProjectedVolumeSource, path: &Path, faults: &mut Faults) {
    mode(source.default_mode, &path.child("defaultMode"), faults);
    let mut paths = std::collections::BTreeSet::new();
    for (i, projection) in source.sources.iter().flatten().enumerate() {
        let at = path.child("sources").index(i);
        for (used, shown) in projection_paths(projection, &at, faults) {
            if !used.is_empty() && !paths.insert(used) {
                faults.invalid(path, shown, "conflicting duplicate paths");
            }
        }
        let kinds = shown(projection).as_object().map_or(0, serde_json::Map::len);
        if kinds > 1 {
            faults.forbidden(&at, "may not specify more than 1 volume type per source");
        }
    }
}

/// The paths that one source fills, each with the value shown where it is taken.
fn projection_paths<'a>(projection: &'a VolumeProjection, path: &Path, faults: &mut Faults) -> Vec<(&'a str, &'a str)> {
    let mut paths = Vec::new();
    let mapped = [
        ("secret", projection.secret.as_ref().map(|s| (&s.name, s.items.as_deref()))),
        ("configMap", projection.config_map.as_ref().map(|s| (&s.name, s.items.as_deref()))),
    ];
    for (kind, source) in mapped {
        let (Some((name, items)), path) = (source, path.child(kind)) else { continue };
        faults.required_texts(&path, &[("name", name)]);
        keys(None, items, &path, faults);
        paths.extend(items.unwrap_or_default().iter().map(|i| (i.path.as_str(), name.as_str())));
    }
    for file in projection.downward_api.iter().flat_map(|d| d.items.iter().flatten()) {
        downward_file(file, &path.child("downwardAPI"), faults);
        paths.push((&file.path, &file.path));
    }
    if let Some(token) = &projection.service_account_token {
        let at = path.child("serviceAccountToken");
        let seconds = token.expiration_seconds.unwrap_or(3600);
        if seconds < 600 {
            faults.invalid(&at.child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds > 1 << 32 {
            faults.invalid(&at.child("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds");
        }
        faults.required_texts(&at, &[("path", &token.path)]);
        faults.invalid_each(&at.child("path"), &token.path, format::local_path(&token.path));
    }
    paths
}
