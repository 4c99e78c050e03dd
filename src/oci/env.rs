//! The environment: the image's, HOSTNAME, then the container's `env` with `$(VAR)` and the downward API.
//!
//! Order and replacement are the kubelet's (kubelet_pods.go makeEnvironmentVariables) and containerd's (pkg/oci replaceOrAppendEnvValues):
//! a later value replaces an earlier one in its place. `KUBERNETES_SERVICE_*` are not set: there is no API server. ConfigMaps, Secrets
//! and `envFrom` are not honoured yet and refused.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::EnvVar;

use super::downward;
use super::expansion::expand;
use super::{Inputs, OciError, namespaces};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The container's own variables, in the manifest's order, expanded. What `$(VAR)` in command and args may name.
pub(super) fn own(inputs: &Inputs) -> Result<Vec<(String, String)>, OciError> {
    if inputs.container.env_from.as_ref().is_some_and(|e| !e.is_empty()) {
        return Err(OciError::refused("envFrom", "ConfigMaps and Secrets as environment are not honoured yet"));
    }
    let (mut known, mut out) = (HashMap::new(), Vec::new());
    for var in inputs.container.env.iter().flatten() {
        let value = value(inputs, var, &known)?;
        known.insert(var.name.clone(), value.clone());
        out.push((var.name.clone(), value));
    }
    Ok(out)
}

fn value(inputs: &Inputs, var: &EnvVar, known: &HashMap<String, String>) -> Result<String, OciError> {
    if let Some(text) = var.value.as_deref().filter(|v| !v.is_empty()) {
        return Ok(expand(text, |name| known.get(name).cloned()));
    }
    let Some(source) = &var.value_from else { return Ok(String::new()) };
    let refuse = |what: &str| OciError::refused(format!("env[{}].valueFrom.{what}", var.name), "not honoured yet".to_owned());
    match source {
        s if s.field_ref.is_some() => s.field_ref.as_ref().map_or(Ok(String::new()), |f| downward::field(inputs, &f.field_path)),
        s if s.resource_field_ref.is_some() => s.resource_field_ref.as_ref().map_or(Ok(String::new()), |r| downward::resource(inputs, r)),
        s if s.config_map_key_ref.is_some() => Err(refuse("configMapKeyRef")),
        s if s.secret_key_ref.is_some() => Err(refuse("secretKeyRef")),
        s if s.file_key_ref.is_some() => Err(refuse("fileKeyRef")),
        _ => Ok(String::new()),
    }
}

/// process.env: PATH, HOSTNAME, the image's, then `own`.
pub(super) fn all(inputs: &Inputs, own: &[(String, String)]) -> Vec<String> {
    let mut out = vec![DEFAULT_PATH.to_owned()];
    let hostname = namespaces::own_hostname(inputs).unwrap_or_else(|| inputs.host.hostname.clone());
    put(&mut out, format!("HOSTNAME={hostname}"));
    for entry in inputs.image_config().and_then(|c| c.env().as_ref()).into_iter().flatten() {
        put(&mut out, entry.clone());
    }
    for (name, value) in own {
        put(&mut out, format!("{name}={value}"));
    }
    out
}

/// Adds `NAME=value`, in the place of an earlier `NAME`; an entry without `=` removes it.
fn put(env: &mut Vec<String>, entry: String) {
    let name = entry.split_once('=').map_or(entry.as_str(), |(n, _)| n);
    let earlier = env.iter().position(|e| e.split_once('=').is_some_and(|(n, _)| n == name));
    match (earlier, entry.contains('=')) {
        (Some(at), true) => env[at] = entry,
        (Some(at), false) => drop(env.remove(at)),
        (None, true) => env.push(entry),
        (None, false) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::super::{OciError, build};

    fn env_of(yaml: &str, image: &str) -> Vec<String> {
        let spec = Case::new(yaml).image(image).build();
        spec.process().as_ref().and_then(|p| p.env().clone()).unwrap_or_default()
    }

    #[test]
    fn image_hostname_and_own_in_order_with_replacement() {
        let env = env_of(
            "{env: [{name: A, value: '1'}, {name: B, value: '$(A)-$(C)-$$(A)-$(FROM_IMAGE)'}, {name: C, value: x}, {name: A, value: '$(A)2'}, {name: E}]}",
            r#"{"Env": ["FROM_IMAGE=yes", "C=image", "PATH=/bin"], "Cmd": ["x"]}"#,
        );
        // C is replaced in place; the image's variables are not known to $(…), nor are later ones.
        assert_eq!(env, ["PATH=/bin", "HOSTNAME=web", "FROM_IMAGE=yes", "C=x", "A=12", "B=1-$(C)-$(A)-$(FROM_IMAGE)", "E="]);
    }

    #[test]
    fn an_image_entry_without_equals_removes() {
        assert_eq!(env_of("{}", r#"{"Env": ["HOSTNAME"], "Cmd": ["x"]}"#), [super::DEFAULT_PATH]);
    }

    #[test]
    fn the_host_name_is_the_hosts_with_its_network() {
        let spec = Case::new("{}").host_network().build();
        assert!(spec.process().as_ref().unwrap().env().as_ref().unwrap().contains(&"HOSTNAME=node1".to_owned()));
        assert_eq!(spec.hostname(), &None);
    }

    #[test]
    fn configmaps_and_secrets_are_refused_by_name() {
        for (yaml, message) in [
            ("{envFrom: [{configMapRef: {name: c}}]}", "envFrom: ConfigMaps and Secrets as environment are not honoured yet"),
            ("{env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]}", "env[A].valueFrom.secretKeyRef: not honoured yet"),
            ("{env: [{name: A, valueFrom: {configMapKeyRef: {name: s, key: k}}}]}", "env[A].valueFrom.configMapKeyRef: not honoured yet"),
        ] {
            let case = Case::new(yaml);
            let error: OciError = build(&case.inputs()).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
