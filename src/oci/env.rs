//! The environment: the image's, HOSTNAME, `envFrom`, then the container's `env` with `$(VAR)`, the downward API, ConfigMaps and Secrets.
//!
//! Order and replacement are the kubelet's (kubelet_pods.go makeEnvironmentVariables) and containerd's (pkg/oci replaceOrAppendEnvValues):
//! a later value replaces an earlier one in its place. `KUBERNETES_SERVICE_*` are not set: there is no API server.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::EnvVar;

use super::expansion::expand;
use super::{Inputs, OciError, namespaces};
use crate::config;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The container's own variables, expanded: those of `envFrom` by name, then `env` in the manifest's order. What `$(VAR)` in command, args and
/// subPathExpr may name.
pub(super) fn own(inputs: &Inputs) -> Result<Vec<(String, String)>, OciError> {
    let mut out: Vec<(String, String)> = config::from_sources(inputs.container, inputs.config)?.into_iter().collect();
    let mut known: HashMap<String, String> = out.iter().cloned().collect();
    for var in inputs.container.env.iter().flatten() {
        let Some(value) = value(inputs, var, &known)? else { continue };
        known.insert(var.name.clone(), value.clone());
        out.push((var.name.clone(), value));
    }
    Ok(out)
}

/// The variable's value; `None`: it is optional and not there, so it is not set (nor is one of `envFrom` replaced).
fn value(inputs: &Inputs, var: &EnvVar, known: &HashMap<String, String>) -> Result<Option<String>, OciError> {
    if let Some(text) = var.value.as_deref().filter(|v| !v.is_empty()) {
        return Ok(Some(expand(text, |name| known.get(name).cloned())));
    }
    let Some(source) = &var.value_from else { return Ok(Some(String::new())) };
    if let Some(selector) = &source.field_ref {
        return Ok(Some(config::field(&inputs.downward(), &selector.field_path)?));
    }
    if let Some(selector) = &source.resource_field_ref {
        return Ok(Some(config::resource(&inputs.downward(), Some(inputs.container), selector)?));
    }
    if source.file_key_ref.is_some() {
        return Err(OciError::refused(format!("env[{}].valueFrom.fileKeyRef", var.name), "not honoured"));
    }
    Ok(config::value_of(source, inputs.config)?)
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
    fn env_wins_over_env_from_and_may_name_it() {
        let yaml = "{envFrom: [{configMapRef: {name: c}}, {prefix: S_, secretRef: {name: s}}], env: [{name: B, value: '$(A)+$(S_K)'}, \
            {name: A, valueFrom: {configMapKeyRef: {name: c, key: none, optional: true}}}, {name: Z, valueFrom: {secretKeyRef: {name: s, key: K}}}]}";
        let case = Case::new(yaml)
            .config(r#"{"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"A": "1", "B": "2"}}"#)
            .config(r#"{"kind": "Secret", "metadata": {"name": "s"}, "data": {"K": "c2VjcmV0"}}"#);
        let env = case.build().process().as_ref().unwrap().env().clone().unwrap();
        // The optional key that is not there leaves envFrom's A as it is.
        assert_eq!(env[2..], ["A=1", "B=1+secret", "S_K=secret", "Z=secret"]);
    }

    #[test]
    fn what_is_missing_is_told_in_the_kubelets_words() {
        for (yaml, message) in [
            ("{envFrom: [{configMapRef: {name: c}}]}", "configmap \"c\" not found"),
            ("{env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]}", "secret \"s\" not found"),
        ] {
            let error: OciError = build(&Case::new(yaml).inputs()).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
