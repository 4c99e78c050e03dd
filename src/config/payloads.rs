//! The files of a pod's configuration volumes: configMap, secret, downwardAPI, projected; and whether its claims are there.
//!
//! Rules: pkg/volume/{configmap,secret,projected,downwardapi} MakePayload and CollectData. In a projected volume a later source wins.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Volume, VolumeProjection};

use super::downward::{self, Downward};
use super::{ConfigError, Objects};
use crate::api::{Kind, Object};
use crate::volumes::{PayloadFile, Payloads};

type Files = BTreeMap<String, PayloadFile>;

/// Kubernetes' mode of configuration files.
const DEFAULT_MODE: i32 = 0o644;

/// A volume that cannot be had yet. Display is the kubelet's FailedMount message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {why}")]
pub struct Unready {
    /// The volume.
    pub volume: String,
    /// What is missing.
    pub why: ConfigError,
}

/// Whether the pod has a volume whose files come from here.
pub fn has_files(pod: &Pod) -> bool {
    let of = |v: &Volume| v.config_map.is_some() || v.secret.is_some() || v.downward_api.is_some() || v.projected.is_some();
    pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).any(of)
}

/// The files of all configuration volumes of the pod. Errors: the first volume that something is missing for.
pub fn payloads(facts: &Downward, objects: &Objects, now: Timestamp) -> Result<Payloads, Unready> {
    let mut out = Payloads { at: now, volumes: BTreeMap::new() };
    for volume in facts.pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
        let files = files(volume, facts, objects).map_err(|why| Unready { volume: volume.name.clone(), why })?;
        out.volumes.extend(files.map(|files| (volume.name.clone(), files)));
    }
    Ok(out)
}

fn files(volume: &Volume, facts: &Downward, objects: &Objects) -> Result<Option<Files>, ConfigError> {
    if let Some(source) = &volume.config_map {
        return config_map(objects, &source.name, source.items.as_deref(), source.default_mode, source.optional).map(Some);
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        return secret(objects, name, source.items.as_deref(), source.default_mode, source.optional).map(Some);
    }
    if let Some(source) = &volume.downward_api {
        return downward_files(facts, source.items.as_deref(), source.default_mode).map(Some);
    }
    if let Some(source) = &volume.projected {
        return projected(source, facts, objects).map(Some);
    }
    if let Some(source) = &volume.persistent_volume_claim {
        claim(&volume.name, &source.claim_name, objects)?;
    }
    Ok(None)
}

fn config_map(
    objects: &Objects,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
    optional: Option<bool>,
) -> Result<Files, ConfigError> {
    let Some(map) = objects.config_map(name, optional)? else { return Ok(Files::new()) };
    let text = map.data.iter().flatten().map(|(key, text)| (key.as_str(), text.as_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, bytes)| (key.as_str(), bytes.0.as_slice()));
    pick(&binary.chain(text).collect(), items, mode, optional, ConfigError::NoConfigKey)
}

fn secret(
    objects: &Objects,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
    optional: Option<bool>,
) -> Result<Files, ConfigError> {
    let Some(secret) = objects.secret(name, optional)? else { return Ok(Files::new()) };
    let data = secret.data.iter().flatten().map(|(key, bytes)| (key.as_str(), bytes.0.as_slice())).collect();
    pick(&data, items, mode, optional, ConfigError::NoSecretKey)
}

/// All keys, or those of `items` under their paths.
fn pick(
    data: &BTreeMap<&str, &[u8]>,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
    optional: Option<bool>,
    missing: fn(String) -> ConfigError,
) -> Result<Files, ConfigError> {
    let items = items.unwrap_or_default();
    if items.is_empty() {
        return Ok(data.iter().map(|(key, bytes)| ((*key).to_owned(), file(bytes.to_vec(), mode))).collect());
    }
    let mut out = Files::new();
    for item in items {
        match data.get(item.key.as_str()) {
            Some(bytes) => drop(out.insert(clean(&item.path), file(bytes.to_vec(), item.mode.or(mode)))),
            None if optional == Some(true) => {}
            None => return Err(missing(item.key.clone())),
        }
    }
    Ok(out)
}

fn downward_files(facts: &Downward, items: Option<&[DownwardAPIVolumeFile]>, mode: Option<i32>) -> Result<Files, ConfigError> {
    let mut out = Files::new();
    for item in items.unwrap_or_default() {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward::volume_field(facts, &field.field_path)?,
            (None, Some(selector)) => downward::resource(facts, None, selector)?,
            (None, None) => continue,
        };
        out.insert(clean(&item.path), file(text.into_bytes(), item.mode.or(mode)));
    }
    Ok(out)
}

/// All sources; what is missing of several is told together.
fn projected(source: &ProjectedVolumeSource, facts: &Downward, objects: &Objects) -> Result<Files, ConfigError> {
    let (mut out, mut missing) = (Files::new(), Vec::new());
    for projection in source.sources.iter().flatten() {
        match projection_files(projection, source.default_mode, facts, objects) {
            Ok(files) => out.extend(files),
            Err(error) => missing.push(error),
        }
    }
    match missing.len() {
        0 => Ok(out),
        1 => Err(missing.remove(0)),
        _ => Err(ConfigError::Several(missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))),
    }
}

fn projection_files(projection: &VolumeProjection, mode: Option<i32>, facts: &Downward, objects: &Objects) -> Result<Files, ConfigError> {
    if let Some(source) = &projection.config_map {
        return config_map(objects, &source.name, source.items.as_deref(), mode, source.optional);
    }
    if let Some(source) = &projection.secret {
        return secret(objects, &source.name, source.items.as_deref(), mode, source.optional);
    }
    match &projection.downward_api {
        Some(source) => downward_files(facts, source.items.as_deref(), mode),
        // Refused by the support table.
        None => Ok(Files::new()),
    }
}

/// A claim must be there and ask for a file system.
fn claim(volume: &str, name: &str, objects: &Objects) -> Result<(), ConfigError> {
    let found = objects.get(Kind::PersistentVolumeClaim, name).and_then(Object::as_claim);
    let Some(claim) = found else {
        return Err(ConfigError::NotFound { kind: "persistentvolumeclaim", name: name.to_owned() });
    };
    match claim.spec.as_ref().and_then(|s| s.volume_mode.as_deref()) {
        Some("Block") => Err(ConfigError::BlockClaim { volume: volume.to_owned() }),
        _ => Ok(()),
    }
}

fn file(data: Vec<u8>, mode: Option<i32>) -> PayloadFile {
    PayloadFile { data, mode: mode.unwrap_or(DEFAULT_MODE).unsigned_abs() & 0o777 }
}

/// The path without `.` and doubled slashes (`..` is refused by validation and by the writer).
fn clean(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}
