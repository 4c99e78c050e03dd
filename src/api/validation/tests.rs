//! The rules, table by table: what is wrong with a manifest → exactly these faults, in Kubernetes' words. Manifests are defaulted first, as always.

mod annotations;
mod containers;
mod formats;
mod hostile;
mod jobs;
mod mounts;
mod nodes;
mod objects;
mod placement;
mod pods;
mod ports;
mod whole_pods;
mod workloads;

use serde_json::{Value, json};

use super::*;
use crate::api::{Kind, defaults};

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character \
                     (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric \
                         character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn faults(kind: Kind, manifest: &Value) -> Vec<String> {
    let mut object = Object::from_json(kind, manifest.to_string().as_bytes()).unwrap_or_else(|e| panic!("{e}: {manifest}"));
    defaults::apply(&mut object);
    validate(&object).into_iter().map(|f| format!("{}: {}", f.field, f.message)).collect()
}

/// Overlays `change` on `base`: objects merge, everything else replaces, null removes.
fn overlay(base: &mut Value, change: &Value) {
    match (base, change) {
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    base.shift_remove(key);
                } else {
                    overlay(base.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (base, change) => *base = change.clone(),
    }
}

fn check(kind: Kind, base: &Value, cases: &[(Value, &[&str])]) {
    assert_eq!(faults(kind, base), Vec::<String>::new(), "the base is valid");
    for (change, expected) in cases {
        let mut manifest = base.clone();
        overlay(&mut manifest, change);
        assert_eq!(faults(kind, &manifest), *expected, "{change}");
    }
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}})
}

fn job() -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}})
}

fn daemon_set() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }})
}

fn cron_job() -> Value {
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job()["spec"]}}})
}

/// Cases on a pod's spec.
fn check_spec(cases: &[(Value, &[&str])]) {
    let cases: Vec<(Value, &[&str])> = cases.iter().map(|(change, expected)| (json!({"spec": change}), *expected)).collect();
    check(Kind::StaticPod, &pod(), &cases);
}

/// Cases on its one container.
fn check_container(cases: &[(Value, &[&str])]) {
    let whole = |change: &Value| {
        let mut container = json!({"name": "c", "image": "busybox"});
        overlay(&mut container, change);
        json!({"containers": [container], "volumes": [{"name": "v"}]})
    };
    let cases: Vec<(Value, &[&str])> = cases.iter().map(|(change, expected)| (whole(change), *expected)).collect();
    check_spec(&cases);
}
