//! What a pod's spec may get wrong beyond its containers.

use super::*;

#[test]
fn a_pods_own_fields() {
    let range = "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive";
    check_spec(&[
        (json!({"containers": null}), &["spec.containers: Required value"]),
        (json!({"containers": [{}]}), &["spec.containers[0].name: Required value", "spec.containers[0].image: Required value"]),
        (
            json!({"restartPolicy": "Sometimes"}),
            &["spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""],
        ),
        (json!({"activeDeadlineSeconds": 0}), &[range]),
        (json!({"dnsPolicy": "None"}), &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
        (
            json!({"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2", "x", "::1"]}}),
            &[
                "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"x\",\"::1\"]: must not have more than 3 nameservers",
                "spec.dnsConfig.nameservers[2]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (json!({"dnsConfig": {"searches": [".", "_sip._tcp.a."]}}), &[]),
        (json!({"hostname": "a.b"}), &["spec.hostname: Invalid value: \"a.b\": must not contain dots"]),
        (
            json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 81}]}]}),
            &["spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"],
        ),
        (
            json!({"hostAliases": [{"ip": "1.2.3", "hostnames": ["a"]}]}),
            &["spec.hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"],
        ),
        (json!({"os": {"name": "plan9"}}), &["spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""]),
        (json!({"hostUsers": false, "hostPID": true}), &["spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false"]),
        (json!({"ephemeralContainers": [{"name": "e"}]}), &["spec.ephemeralContainers: Forbidden: cannot be set on create"]),
        (
            json!({"containers": [{"name": "c", "image": " i"}]}),
            &["spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace"],
        ),
        (
            json!({"securityContext": {"runAsUser": -1, "fsGroupChangePolicy": "Never"}}),
            &[
                "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 4294967295, inclusive",
                "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"Never\": supported values: \"Always\", \"OnRootMismatch\"",
            ],
        ),
        (
            json!({"shareProcessNamespace": true, "hostPID": true}),
            &["spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"],
        ),
        (
            json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}, {"name": "A", "value": ""}]}}),
            &[
                "spec.securityContext.sysctls[0].name: Invalid value: \"net.ipv4.ip_forward\": may not be specified when 'hostNetwork' is true",
                "spec.securityContext.sysctls[1].name: Invalid value: \"A\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            ],
        ),
    ]);
}

#[test]
fn volumes_and_their_mounts() {
    let mount = |mount: Value| json!({"volumeMounts": [mount]});
    let at = "spec.containers[0].volumeMounts[0]";
    let messages = [
        format!("{at}.name: Not found: \"x\""),
        format!("{at}.mountPath: Required value"),
        format!("{at}.subPath: Invalid value: \"../x\": must not contain '..'"),
        format!("{at}.subPath: Invalid value: \"/x\": must be a relative path"),
        format!("{at}.subPathExpr: Invalid value: \"b\": subPathExpr and subPath are mutually exclusive"),
        format!("{at}.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"),
        format!("{at}.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"),
    ];
    check_container(&[
        (mount(json!({"name": "v", "mountPath": "/v"})), &[]),
        (mount(json!({"name": "x", "mountPath": "/v"})), &[&messages[0]]),
        (mount(json!({"name": "v"})), &[&messages[1]]),
        (
            json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]}),
            &["spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique"],
        ),
        (mount(json!({"name": "v", "mountPath": "/v", "subPath": "../x"})), &[&messages[2]]),
        (mount(json!({"name": "v", "mountPath": "/v", "subPath": "/x"})), &[&messages[3]]),
        (mount(json!({"name": "v", "mountPath": "/v", "subPath": "a..b", "subPathExpr": "b"})), &[&messages[4]]),
        (mount(json!({"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"})), &[&messages[5]]),
        (mount(json!({"name": "v", "mountPath": "/v", "recursiveReadOnly": "Enabled"})), &[&messages[6]]),
    ]);
    check_spec(&[
        (
            json!({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]}),
            &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            json!({"volumes": [{}, {"name": "a"}, {"name": "a"}]}),
            &["spec.volumes[0].name: Required value", "spec.volumes[2].name: Duplicate value: \"a\""],
        ),
        (json!({"volumes": [{"name": "v", "hostPath": {}}]}), &["spec.volumes[0].hostPath.path: Required value"]),
        (
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/a/../b", "type": "Dir"}}]}),
            &[
                "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
                "spec.volumes[0].hostPath.type: Unsupported value: \"Dir\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
            ],
        ),
        (
            json!({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "-1"}}]}),
            &["spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"],
        ),
        (
            json!({"volumes": [{"name": "v", "secret": {"defaultMode": 512, "items": [{"key": "k", "path": "..data"}]}}]}),
            &[
                "spec.volumes[0].secret.secretName: Required value",
                "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
                "spec.volumes[0].secret.items[0].path: Invalid value: \"..data\": must not start with '..'",
            ],
        ),
        (
            json!({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "a", "items": [{"key": "k", "path": "p"}]}}, {"configMap": {"name": "b", "items": [{"key": "k", "path": "p"}]}}]}}]}),
            &["spec.volumes[0].projected: Invalid value: \"b\": conflicting duplicate paths"],
        ),
        (
            json!({"volumes": [{"name": "v", "downwardAPI": {"items": [{"path": "a"}]}}]}),
            &["spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"],
        ),
    ]);
}

#[test]
fn affinity_and_tolerations() {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = |terms: Value| json!({"affinity": {"nodeAffinity": {required: {"nodeSelectorTerms": terms}}}});
    let at = format!("spec.affinity.nodeAffinity.{required}.nodeSelectorTerms");
    let expression =
        |operator: &str, values: Value| terms(json!([{"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}]));
    let messages = [
        format!("{at}: Required value: must have at least one node selector term"),
        format!("{at}[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"),
        format!("{at}[0].matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
        format!("{at}[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'"),
        format!("{at}[0].matchExpressions[0].operator: Invalid value: \"Equals\": not a valid selector operator"),
        format!("{at}[0].matchFields[0].key: Invalid value: \"metadata.uid\": not a valid field selector key"),
        "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100".to_owned(),
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty".to_owned(),
    ];
    check_spec(&[
        (terms(json!([])), &[&messages[0]]),
        (terms(json!([{}])), &[]),
        (expression("In", json!([])), &[&messages[1]]),
        (expression("Exists", json!(["a"])), &[&messages[2]]),
        (expression("Gt", json!(["1", "2"])), &[&messages[3]]),
        (expression("Equals", json!(["1"])), &[&messages[4]]),
        (terms(json!([{"matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["a"]}]}])), &[&messages[5]]),
        (
            json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}]}}}),
            &[&messages[6]],
        ),
        (json!({"tolerations": [{"operator": "Exists"}]}), &[]),
        (
            json!({"tolerations": [{"effect": "NoSchedule"}]}),
            &[
                "spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ],
        ),
        (
            json!({"tolerations": [{"key": "k", "operator": "Exists", "value": "v"}]}),
            &["spec.tolerations[0].operator: Invalid value: \"v\": value must be empty when `operator` is 'Exists'"],
        ),
        (
            json!({"tolerations": [{"key": "k", "tolerationSeconds": 3}]}),
            &["spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set"],
        ),
        (
            json!({"tolerations": [{"key": "k", "operator": "Lt", "value": "3"}]}),
            &["spec.tolerations[0].operator: Unsupported value: \"Lt\": supported values: \"Equal\", \"Exists\""],
        ),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "k", "whenUnsatisfiable": "No"}]}),
            &[
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"No\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
            ],
        ),
    ]);
    let term = json!({"spec": {"affinity": {"podAntiAffinity": {required: [{}]}}}});
    let mut manifest = pod();
    overlay(&mut manifest, &term);
    assert_eq!(faults(Kind::StaticPod, &manifest)[0], messages[7]);
}
