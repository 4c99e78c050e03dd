//! Nodes, and the metadata that any object may have.

use super::*;

fn node() -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"a": "b"}}})
}

#[test]
fn taints_and_networks_of_nodes() {
    let taints = |taints: Value| json!({"spec": {"taints": taints}});
    let value = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
    let name = "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let characters =
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let cidr = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    check(
        Kind::Node,
        &node(),
        &[
            (taints(json!([{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}])), &[]),
            (
                taints(json!([{"key": "", "value": "no spaces", "effect": ""}])),
                &[
                    "spec.taints[0].key: Invalid value: \"\": name part must be non-empty",
                    &format!("spec.taints[0].key: Invalid value: \"\": {characters} {name}"),
                    &format!("spec.taints[0].value: Invalid value: \"no spaces\": {value}"),
                    "spec.taints[0].effect: Required value",
                ],
            ),
            (json!({"spec": {"podCIDRs": ["10.0.0.0/24", "2001:db8::/64"]}}), &[]),
            (
                json!({"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}}),
                &["spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one CIDR for each IP family"],
            ),
            (
                json!({"spec": {"podCIDR": "10.0.0.1", "podCIDRs": ["nonsense"]}}),
                &[&format!("spec.podCIDR: Invalid value: \"10.0.0.1\": {cidr}")],
            ),
            (
                json!({"spec": {"podCIDRs": ["10.0.0.0/33", "10.0.0.0/33"]}}),
                &[
                    &format!("spec.podCIDRs[0]: Invalid value: \"10.0.0.0/33\": {cidr}"),
                    &format!("spec.podCIDRs[1]: Invalid value: \"10.0.0.0/33\": {cidr}"),
                    "spec.podCIDRs: Invalid value: [\"10.0.0.0/33\",\"10.0.0.0/33\"]: may specify no more than one CIDR for each IP family",
                    "spec.podCIDRs[1]: Duplicate value: \"10.0.0.0/33\"",
                ],
            ),
            (
                json!({"status": {"capacity": {"cpu": "-1", "pods": "1.5"}, "allocatable": {"memory": "many"}}}),
                &[
                    "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                    "status.capacity.pods: Invalid value: \"1500m\": must be an integer",
                    "status.allocatable.memory: Invalid value: \"many\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                ],
            ),
            (
                json!({"metadata": {"annotations": {"scheduler.alpha.kubernetes.io/taints": "[{\"key\":\"k\",\"effect\":\"Go\"}]"}}}),
                &[
                    "metadata.annotations.scheduler.alpha.kubernetes.io/taints[0].effect: Unsupported value: \"Go\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
                ],
            ),
        ],
    );
}

#[test]
fn finalizers_and_owners() {
    let finalizers = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    let owner = |kind: &str, controller: bool| json!({"apiVersion": "v1", "kind": kind, "name": "n", "uid": "u", "controller": controller});
    let owners = json!([owner("A", true), owner("B", true), owner("C", true)]);
    let shown = serde_json::to_value(
        serde_json::from_value::<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>>(owners.clone())
            .unwrap_or_else(|e| panic!("{e}")),
    );
    let shown = shown.unwrap_or_else(|e| panic!("{e}"));
    let two = |other: &str| {
        format!(
            "metadata.ownerReferences: Invalid value: {shown}: Only one reference can have Controller set to true. Found \"true\" in references for A/n and {other}/n"
        )
    };
    check(
        Kind::Node,
        &node(),
        &[
            (finalizers(json!(["orphan", "example.com/mine"])), &[]),
            (
                finalizers(json!(["orphan", "foregroundDeletion"])),
                &[
                    "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set",
                ],
            ),
            (
                finalizers(json!(["mine"])),
                &["metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"],
            ),
            (json!({"metadata": {"ownerReferences": owners}}), &[&two("B"), &two("C")]),
            (
                json!({"metadata": {"ownerReferences": [{"apiVersion": "a/b/c", "kind": "", "name": "", "uid": ""}]}}),
                &[
                    "metadata.ownerReferences[0].apiVersion: Invalid value: \"a/b/c\": version must not be empty",
                    "metadata.ownerReferences[0].kind: Invalid value: \"\": must not be empty",
                    "metadata.ownerReferences[0].name: Invalid value: \"\": must not be empty",
                    "metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty",
                ],
            ),
        ],
    );
    let event = faults(
        Kind::Node,
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "ownerReferences": [owner("Event", false)]}}),
    );
    assert!(event.len() == 1 && event[0].ends_with("/v1, Kind=Event is disallowed from being an owner"), "{event:?}");
}

#[test]
fn devices_of_extended_resources() {
    let devices = |text: &str| json!({"metadata": {"annotations": {"minik8s.io/devices": text}}});
    let at = "metadata.annotations[minik8s.io/devices]: Invalid value";
    check(
        Kind::Node,
        &node(),
        &[
            (devices("example.com/dongle: [/dev/dongle0, v.com/x=y]"), &[]),
            (
                devices("{cpu: [/dev/a], a.com/x: [dev/a]}"),
                &[
                    &format!("{at}: cpu: must be the name of an extended resource, such as example.com/dongle"),
                    &format!("{at}: a.com/x[0]: must be a path such as /dev/dongle0, or a CDI device such as vendor.com/class=name"),
                ],
            ),
            (
                devices("[]"),
                &[&format!("{at}: must map extended resources to lists of devices, such as {{example.com/dongle: [/dev/dongle0]}}")],
            ),
        ],
    );
}
