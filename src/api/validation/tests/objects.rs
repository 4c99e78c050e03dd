//! Metadata, configuration objects, Nodes.

use super::*;

#[test]
fn names_labels_and_annotations() {
    let bad_name = format!("metadata.name: Invalid value: \"A_b\": {SUBDOMAIN}");
    let dotted = "metadata.namespace: Invalid value: \"a.b\": must not contain dots";
    let bad_namespace = format!("metadata.namespace: Invalid value: \"-\": {LABEL}");
    let long = "x".repeat(254);
    let too_long = format!("metadata.name: Invalid value: \"{long}\": must be no more than 253 characters");
    check(
        Kind::StaticPod,
        &pod(),
        &[
            (json!({"metadata": {"name": null}}), &["metadata.name: Required value: name or generateName is required"]),
            (json!({"metadata": {"name": null, "generateName": "p-"}}), &[]),
            (json!({"metadata": {"name": "A_b"}}), &[&bad_name]),
            (json!({"metadata": {"name": long}}), &[&too_long]),
            (json!({"metadata": {"namespace": "a.b"}}), &[dotted]),
            (json!({"metadata": {"namespace": "-"}}), &[&bad_namespace]),
            (
                json!({"metadata": {"labels": {"a/b/c": "x"}}}),
                &[
                    "metadata.labels: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                ],
            ),
            (
                json!({"metadata": {"labels": {"a": "x y"}}}),
                &[
                    "metadata.labels: Invalid value: \"x y\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                ],
            ),
            (json!({"metadata": {"labels": {"/a": ""}}}), &["metadata.labels: Invalid value: \"/a\": prefix part must be non-empty"]),
            (
                json!({"metadata": {"annotations": {"a": "x".repeat(262_144)}}}),
                &["metadata.annotations: Too long: may not be more than 262144 bytes"],
            ),
        ],
    );
    check(
        Kind::Node,
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}),
        &[
            (json!({"metadata": {"namespace": "x"}}), &["metadata.namespace: Forbidden: not allowed on this type"]),
            (
                json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}}),
                &[
                    "spec.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}: taints must be unique by key and effect pair",
                ],
            ),
            (
                json!({"spec": {"taints": [{"key": "a"}, {"key": "b", "effect": "Evict"}]}}),
                &[
                    "spec.taints[0].effect: Required value",
                    "spec.taints[1].effect: Unsupported value: \"Evict\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
                ],
            ),
        ],
    );
}

#[test]
fn configuration_and_claims() {
    check(
        Kind::ConfigMap,
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a.b-c_D": "x"}}),
        &[
            (json!({"data": {"..": "x"}}), &["data[..]: Invalid value: \"..\": must not be '..'"]),
            (
                json!({"data": {"a b": "x"}}),
                &[
                    "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                ],
            ),
            (
                json!({"data": {"k": "x"}, "binaryData": {"k": "eA=="}}),
                &["data[k]: Invalid value: \"k\": duplicate of key present in binaryData"],
            ),
        ],
    );
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "x"}});
    check(
        Kind::Secret,
        &secret,
        &[
            (json!({"type": "kubernetes.io/tls"}), &["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
            (json!({"type": "kubernetes.io/basic-auth"}), &["data[username]: Required value", "data[password]: Required value"]),
            (json!({"type": "kubernetes.io/dockerconfigjson"}), &["data[.dockerconfigjson]: Required value"]),
            (
                json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{"}}),
                &["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": unexpected end of JSON input"],
            ),
            (json!({"stringData": {"a": "x".repeat(1_048_577)}}), &["data: Too long: may not be more than 1048576 bytes"]),
        ],
    );
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "p"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    check(
        Kind::PersistentVolumeClaim,
        &claim,
        &[
            (json!({"spec": {"accessModes": null}}), &["spec.accessModes: Required value: at least 1 access mode is required"]),
            (
                json!({"spec": {"accessModes": ["RWO"]}}),
                &[
                    "spec.accessModes: Unsupported value: \"RWO\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
                ],
            ),
            (json!({"spec": {"resources": null}}), &["spec.resources[storage]: Required value"]),
            (
                json!({"spec": {"resources": {"requests": {"storage": "0"}}}}),
                &["spec.resources[storage]: Invalid value: \"0\": must be greater than zero"],
            ),
            (
                json!({"spec": {"volumeMode": "Raw"}}),
                &["spec.volumeMode: Unsupported value: \"Raw\": supported values: \"Block\", \"Filesystem\""],
            ),
        ],
    );
}

#[test]
fn everything_wrong_is_said_at_once() {
    let mut manifest = daemon_set();
    overlay(
        &mut manifest,
        &json!({"metadata": {"name": null}, "spec": {"selector": null, "template": {"spec": {"containers": [{"name": "c"}, {"image": "i"}]}}}}),
    );
    assert_eq!(faults(Kind::DaemonSet, &manifest).len(), 4);
}
