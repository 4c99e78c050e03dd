//! Variables from ConfigMaps and Secrets: `envFrom`, `configMapKeyRef`, `secretKeyRef`.
//!
//! Rules: kubelet_pods.go makeEnvironmentVariables. Since v1.34 every key of an object is a name that a variable may have (ValidateEnv with
//! relaxed names), so none is skipped; what no process can be given (a NUL, no UTF-8) is an error that names the key.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVarSource};

use super::{ConfigError, Objects};

/// The variables of `envFrom`: a later source wins over an earlier one.
pub fn from_sources(container: &Container, objects: &Objects) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut out = BTreeMap::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(wanted) = &source.config_map_ref {
            let map = objects.config_map(&wanted.name, wanted.optional)?;
            for (key, value) in map.iter().flat_map(|m| m.data.iter().flatten()) {
                out.insert(format!("{prefix}{key}"), text("configmap", &wanted.name, key, value.as_bytes())?);
            }
        } else if let Some(wanted) = &source.secret_ref {
            let secret = objects.secret(&wanted.name, wanted.optional)?;
            for (key, value) in secret.iter().flat_map(|s| s.data.iter().flatten()) {
                out.insert(format!("{prefix}{key}"), text("secret", &wanted.name, key, &value.0)?);
            }
        }
    }
    Ok(out)
}

/// The value of a `configMapKeyRef` or `secretKeyRef`; `None`: it is optional and not there (or neither), and the variable is not set.
pub fn value_of(source: &EnvVarSource, objects: &Objects) -> Result<Option<String>, ConfigError> {
    if let Some(wanted) = &source.config_map_key_ref {
        let Some(map) = objects.config_map(&wanted.name, wanted.optional)? else { return Ok(None) };
        let value = map.data.as_ref().and_then(|d| d.get(&wanted.key)).map(String::as_bytes);
        return found("ConfigMap", objects, (&wanted.name, &wanted.key), wanted.optional, value);
    }
    if let Some(wanted) = &source.secret_key_ref {
        let Some(secret) = objects.secret(&wanted.name, wanted.optional)? else { return Ok(None) };
        let value = secret.data.as_ref().and_then(|d| d.get(&wanted.key)).map(|bytes| bytes.0.as_slice());
        return found("Secret", objects, (&wanted.name, &wanted.key), wanted.optional, value);
    }
    Ok(None)
}

fn found(
    kind: &'static str,
    objects: &Objects,
    (name, key): (&str, &str),
    optional: Option<bool>,
    value: Option<&[u8]>,
) -> Result<Option<String>, ConfigError> {
    let lower = if kind == "Secret" { "secret" } else { "configmap" };
    match value {
        Some(value) => text(lower, name, key, value).map(Some),
        None if optional == Some(true) => Ok(None),
        None => {
            let namespace = objects.namespace.clone();
            Err(ConfigError::NoKey { kind, namespace, name: name.to_owned(), key: key.to_owned() })
        }
    }
}

fn text(kind: &'static str, name: &str, key: &str, value: &[u8]) -> Result<String, ConfigError> {
    let unfit = |why| ConfigError::NoText { kind, name: name.to_owned(), key: key.to_owned(), why };
    if value.contains(&0) {
        return Err(unfit("contains a NUL byte"));
    }
    std::str::from_utf8(value).map(str::to_owned).map_err(|_| unfit("is not UTF-8"))
}
