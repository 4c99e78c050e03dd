//! A `serde::Deserializer` over the spanned tree that collects faults instead of stopping at the first.
//!
//! Expected flow: [`object`] decodes into a k8s-openapi type. A leaf of the wrong type is reported and a zero value supplied; an
//! unknown field is reported with the nearest known name; what fails in a way serde can't resume from is reported, left out,
//! and the whole decoding tried again. So one run names everything that is wrong.
//!
//! Strictness is `kubectl --validate=strict`'s; null is the zero value everywhere, as in Go. Pure; leaves the meaning of the
//! values to validation.

mod access;
mod cursor;
mod leaf;
mod misplaced;
mod path;

use crate::api::yaml::{Node, Place};
use cursor::{Cursor, Sink};
use serde::de::DeserializeOwned;
use std::collections::HashSet;

/// Most times a document is decoded anew after leaving out what failed.
const MAX_RETRIES: usize = 64;
/// Most faults collected in one decoding of one document.
const MAX_FOUND: usize = 500;

/// Something that does not fit the type.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Where it stands.
    pub place: Place,
    /// The field's path as Kubernetes writes it.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
    /// The path of the field that was probably meant: its being absent need not be told as well.
    pub meant: Option<String>,
}

/// Why serde could not go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Stopped(String);

impl serde::de::Error for Stopped {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Stopped(message.to_string())
    }
}

/// Decodes `root`. With `secret` no message quotes a value. The object is there, with zero values in place of what is wrong,
/// unless decoding could not be resumed.
pub fn object<T: DeserializeOwned>(root: &Node, secret: bool) -> (Option<T>, Vec<Found>) {
    let mut left_out = HashSet::new();
    let mut hard = Vec::new();
    for _ in 0..MAX_RETRIES {
        let sink = Sink::new(&left_out, secret);
        let result = T::deserialize(Cursor::root(root, &sink));
        let (mut found, stopped_at) = sink.into_parts();
        if let (Err(_), Some((id, fault))) = (&result, stopped_at)
            && left_out.insert(id)
        {
            hard.push(fault);
            continue;
        }
        if let Err(Stopped(message)) = &result {
            found.push(Found { place: root.place, field: String::new(), message: message.clone(), meant: None });
        }
        found.extend(hard);
        return (result.ok(), found);
    }
    (None, hard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::batch::v1::{CronJob, Job};
    use k8s_openapi::api::core::v1::{Pod, Secret};
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

    fn decode<T: DeserializeOwned>(text: &str) -> (Option<T>, Vec<String>) {
        let parsed = crate::api::yaml::parse(text, Place { line: 1, column: 1, offset: 0 }).remove(0);
        let (object, found) = object(&parsed.root.expect("parses"), false);
        (object, found.iter().map(|f| format!("{}:{} {}: {}", f.place.line, f.place.column, f.field, f.message)).collect())
    }

    fn pod(container: &str) -> (Pod, Vec<String>) {
        let (pod, found) = decode::<Pod>(&format!("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    {container}\n"));
        (pod.expect("decodes"), found)
    }

    #[test]
    fn quantities_may_be_numbers() {
        let (pod, found) = pod("resources: {limits: {cpu: 0.15, nvidia.com/gpu: 1, memory: 1Gi, a/b: 1e3}}");
        assert_eq!(found, Vec::<String>::new());
        let limits = pod.spec.and_then(|s| s.containers[0].resources.clone()?.limits).expect("limits");
        assert_eq!((limits["cpu"].0.as_str(), limits["nvidia.com/gpu"].0.as_str(), limits["a/b"].0.as_str()), ("0.15", "1", "1000"));
    }

    #[test]
    fn octal_modes_int_or_string_and_null_decode_as_kubernetes_has_them() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {labels: {a: null}, annotations: }\nspec:\n  volumes: [{name: v, secret: {defaultMode: 0400}}]\n  \
                    containers:\n  - name: a\n    livenessProbe: {httpGet: {port: 80}}\n    readinessProbe: {httpGet: {port: web}}\n";
        let (pod, found) = decode::<Pod>(text);
        assert_eq!(found, Vec::<String>::new());
        let pod = pod.expect("decodes");
        assert_eq!(pod.metadata.labels.as_ref().map(|l| l["a"].as_str()), Some(""));
        let spec = pod.spec.expect("spec");
        assert_eq!(spec.volumes.as_ref().and_then(|v| v[0].secret.as_ref()?.default_mode), Some(256));
        let port = |p: &Option<k8s_openapi::api::core::v1::Probe>| p.as_ref().and_then(|p| p.http_get.as_ref().map(|h| h.port.clone()));
        assert_eq!(port(&spec.containers[0].liveness_probe), Some(IntOrString::Int(80)));
        assert_eq!(port(&spec.containers[0].readiness_probe), Some(IntOrString::String("web".into())));
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let text = "apiVersion: batch/v1\nkind: Job\nspec:\n  backoffLimit: \"3\"\n  completions: 99999999999\n  template:\n    spec:\n      \
                    backoffLimit: 2\n      restartpolicy: Never\n      containers:\n      - name: 7\n        image: yes\n        command: sh\n        \
                    tty: \"true\"\n        livenessProbe: {httpGet: {port: [1]}}\n";
        let (job, found) = decode::<Job>(text);
        assert!(job.is_some());
        let all = found.join("\n");
        for part in [
            "4:17 spec.backoffLimit: cannot unmarshal string into a field of type int32",
            "5:16 spec.completions: number 99999999999 does not fit",
            "8:7 spec.template.spec.backoffLimit: unknown field \"spec.template.spec.backoffLimit\": it is a field of spec",
            "9:7 spec.template.spec.restartpolicy: unknown field \"spec.template.spec.restartpolicy\": did you mean \"restartPolicy\"?",
            "11:15 spec.template.spec.containers[0].name: cannot unmarshal number into a field of type string",
            "12:16 spec.template.spec.containers[0].image: cannot unmarshal bool into a field of type string",
            "13:18 spec.template.spec.containers[0].command: cannot unmarshal string into a field of type array",
            "14:14 spec.template.spec.containers[0].tty: cannot unmarshal string into a field of type bool",
            "15:41 spec.template.spec.containers[0].livenessProbe.httpGet.port: cannot unmarshal array",
        ] {
            assert!(all.contains(part), "{part}\n--- in\n{all}");
        }
        assert_eq!(found.len(), 9, "{all}");
    }

    #[test]
    fn what_serde_cannot_resume_from_is_left_out_and_named() {
        let (secret, found) = decode::<Secret>("apiVersion: v1\nkind: Secret\ndata:\n  a: '%%%'\n  b: YQ==\n  c: '###'\n");
        assert_eq!(secret.and_then(|s| s.data).map(|d| d.len()), Some(1));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("4:6 data[a]: illegal base64 data"), "{found:?}");
    }

    #[test]
    fn times_are_checked() {
        let text = "apiVersion: batch/v1\nkind: CronJob\nmetadata:\n  deletionTimestamp: soon\n  creationTimestamp: null\n";
        let (cron, found) = decode::<CronJob>(text);
        assert!(cron.is_some());
        assert!(found[0].starts_with("4:22 metadata.deletionTimestamp: parsing time \"soon\""), "{found:?}");
    }
}
