//! Volumes by their sources, devices, and mounts of every kind.

use super::*;

#[test]
fn devices_are_block_claims_and_stand_nowhere_else() {
    let at = "spec.containers[0].volumeDevices";
    let with = |devices: Value, mounts: Value| {
        json!({"volumes": [{"name": "p", "persistentVolumeClaim": {"claimName": "x"}}, {"name": "e"}],
            "containers": [{"name": "c", "image": "i", "volumeDevices": devices, "volumeMounts": mounts}]})
    };
    check_spec(&[
        (with(json!([{"name": "p", "devicePath": "/dev/x"}]), json!([])), &[]),
        (
            with(json!([{"name": "p", "devicePath": "/dev/x"}, {"name": "p", "devicePath": "/dev/x"}]), json!([])),
            &[
                &format!("{at}[1].name: Invalid value: \"p\": must be unique"),
                &format!("{at}[1].devicePath: Invalid value: \"/dev/x\": must be unique"),
            ],
        ),
        (
            with(json!([{}, {"name": "e", "devicePath": "/dev/../x"}]), json!([])),
            &[
                &format!("{at}[0].name: Required value"),
                &format!("{at}[0].devicePath: Required value"),
                &format!("{at}[0].name: Not found: \"\""),
                &format!(
                    "{at}[1].name: Invalid value: \"e\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
                ),
                &format!("{at}[1].devicePath: Invalid value: \"/dev/../x\": can not contain backsteps ('..')"),
            ],
        ),
        (
            with(json!([{"name": "p", "devicePath": "/x"}]), json!([{"name": "p", "mountPath": "/x"}])),
            &[
                "spec.containers[0].volumeMounts[0].name: Invalid value: \"p\": must not already exist in volumeDevices",
                "spec.containers[0].volumeMounts[0].mountPath: Invalid value: \"/x\": must not already exist as a path in volumeDevices",
                &format!("{at}[0].name: Invalid value: \"p\": must not already exist in volumeMounts"),
                &format!("{at}[0].devicePath: Invalid value: \"/x\": must not already exist as a path in volumeMounts"),
            ],
        ),
    ]);
}

#[test]
fn sources_of_volumes() {
    let one = |source: Value| json!({"volumes": [source]});
    let mode = "must be a number between 0 and 0777 (octal), both inclusive";
    check_spec(&[
        (one(json!({"name": "v", "image": {"reference": "busybox:1"}})), &[]),
        (one(json!({"name": "v", "image": {}})), &["spec.volumes[0].image.reference: Required value"]),
        (
            one(json!({"name": "v", "image": {"reference": "i", "pullPolicy": "Sometimes"}})),
            &[
                "spec.volumes[0].image.pullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ],
        ),
        (one(json!({"name": "v", "persistentVolumeClaim": {}})), &["spec.volumes[0].persistentVolumeClaim.claimName: Required value"]),
        (
            json!({"volumes": [{"name": "v", "ephemeral": {}}, {"name": "w", "persistentVolumeClaim": {"claimName": "p-v"}}]}),
            &[
                "spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: \"p-v\": must not reference a PVC that gets created for an ephemeral volume",
            ],
        ),
        (
            one(json!({"name": "v", "configMap": {"defaultMode": -1, "items": [{"mode": 512}]}})),
            &[
                "spec.volumes[0].configMap.name: Required value",
                &format!("spec.volumes[0].configMap.defaultMode: Invalid value: -1: {mode}"),
                "spec.volumes[0].configMap.items[0].key: Required value",
                "spec.volumes[0].configMap.items[0].path: Required value",
                &format!("spec.volumes[0].configMap.items[0].mode: Invalid value: 512: {mode}"),
            ],
        ),
        (
            one(json!({"name": "v", "downwardAPI": {"items": [{"path": "/a", "resourceFieldRef": {"resource": "limits.cpu"}}]}})),
            &[
                "spec.volumes[0].downwardAPI.path: Invalid value: \"/a\": must be a relative path",
                "spec.volumes[0].downwardAPI.resourceFieldRef.containerName: Required value",
            ],
        ),
        (
            one(json!({"name": "v", "projected": {"defaultMode": 4096, "sources": [
                {"secret": {}}, {"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.name"}}, {"path": "a", "fieldRef": {"fieldPath": "metadata.uid"}}]}},
                {"configMap": {"name": "c"}, "secret": {"name": "s"}}, {"serviceAccountToken": {"path": "t", "expirationSeconds": 4_294_967_297_i64}},
            ]}})),
            &[
                &format!("spec.volumes[0].projected.defaultMode: Invalid value: 4096: {mode}"),
                "spec.volumes[0].projected.sources[0].secret.name: Required value",
                "spec.volumes[0].projected: Invalid value: \"a\": conflicting duplicate paths",
                "spec.volumes[0].projected.sources[2]: Forbidden: may not specify more than 1 volume type per source",
                "spec.volumes[0].projected.sources[3].serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
            ],
        ),
        (one(json!({"name": "V_1"})), &[&format!("spec.volumes[0].name: Invalid value: \"V_1\": {LABEL}")]),
    ]);
}

#[test]
fn mounts_of_every_mode() {
    let mount = |change: Value, privileged: bool| {
        let mut mount = json!({"name": "v", "mountPath": "/v"});
        overlay(&mut mount, &change);
        json!({"volumes": [{"name": "v"}], "containers": [{"name": "c", "image": "i", "volumeMounts": [mount], "securityContext": {"privileged": privileged}}]})
    };
    let at = "spec.containers[0].volumeMounts[0]";
    check_spec(&[
        (mount(json!({"mountPropagation": "Bidirectional"}), true), &[]),
        (
            mount(json!({"mountPropagation": "Both"}), true),
            &[&format!(
                "{at}.mountPropagation: Unsupported value: \"Both\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\""
            )],
        ),
        (mount(json!({"readOnly": true, "recursiveReadOnly": "IfPossible", "mountPropagation": "None"}), false), &[]),
        (
            mount(json!({"readOnly": true, "recursiveReadOnly": "Enabled", "mountPropagation": "HostToContainer"}), false),
            &[&format!("{at}.recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified")],
        ),
        (
            mount(json!({"recursiveReadOnly": "Yes"}), false),
            &[&format!("{at}.recursiveReadOnly: Unsupported value: \"Yes\": supported values: \"Disabled\", \"Enabled\", \"IfPossible\"")],
        ),
        (
            mount(json!({"subPathExpr": "../$(POD)"}), false),
            &[&format!("{at}.subPathExpr: Invalid value: \"../$(POD)\": must not contain '..'")],
        ),
        (
            json!({"volumes": [{"name": "i", "image": {"reference": "i"}}], "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "i", "mountPath": "/i", "subPath": "etc"}]}]}),
            &[],
        ),
    ]);
}
