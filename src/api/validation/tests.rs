//! The rules, table by table: what is wrong with a manifest → exactly these faults, in Kubernetes' words. Manifests are defaulted first, as always.

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

#[test]
fn names_labels_and_annotations() {
    let bad_name = format!("metadata.name: Invalid value: \"A_b\": {SUBDOMAIN}");
    let dotted = format!("metadata.namespace: Invalid value: \"a.b\": must not contain dots");
    let bad_namespace = format!("metadata.namespace: Invalid value: \"-\": {LABEL}");
    let long = "x".repeat(254);
    let too_long = format!("metadata.name: Invalid value: \"{long}\": must be no more than 253 characters");
    check(Kind::StaticPod, &pod(), &[
        (json!({"metadata": {"name": null}}), &["metadata.name: Required value: name or generateName is required"]),
        (json!({"metadata": {"name": null, "generateName": "p-"}}), &[]),
        (json!({"metadata": {"name": "A_b"}}), &[&bad_name]),
        (json!({"metadata": {"name": long}}), &[&too_long]),
        (json!({"metadata": {"namespace": "a.b"}}), &[&dotted]),
        (json!({"metadata": {"namespace": "-"}}), &[&bad_namespace]),
        (json!({"metadata": {"labels": {"a/b/c": "x"}}}), &["metadata.labels: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]),
        (json!({"metadata": {"labels": {"a": "x y"}}}), &["metadata.labels: Invalid value: \"x y\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]),
        (json!({"metadata": {"labels": {"/a": ""}}}), &["metadata.labels: Invalid value: \"/a\": prefix part must be non-empty"]),
        (json!({"metadata": {"annotations": {"a": "x".repeat(262_144)}}}), &["metadata.annotations: Too long: may not be more than 262144 bytes"]),
    ]);
    check(Kind::Node, &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}), &[
        (json!({"metadata": {"namespace": "x"}}), &["metadata.namespace: Forbidden: not allowed on this type"]),
        (json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}}), &["spec.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}"]),
        (json!({"spec": {"taints": [{"key": "a"}, {"key": "b", "effect": "Evict"}]}}), &["spec.taints[0].effect: Required value", "spec.taints[1].effect: Unsupported value: \"Evict\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""]),
    ]);
}

#[test]
fn a_pods_own_fields() {
    let range = "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive";
    check_spec(&[
        (json!({"containers": null}), &["spec.containers: Required value"]),
        (json!({"containers": [{}]}), &["spec.containers[0].name: Required value", "spec.containers[0].image: Required value"]),
        (json!({"restartPolicy": "Sometimes"}), &["spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""]),
        (json!({"activeDeadlineSeconds": 0}), &[range]),
        (json!({"dnsPolicy": "None"}), &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
        (json!({"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2", "x", "::1"]}}), &["spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"x\",\"::1\"]: must not have more than 3 nameservers", "spec.dnsConfig.nameservers[2]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]),
        (json!({"dnsConfig": {"searches": [".", "_sip._tcp.a."]}}), &[]),
        (json!({"hostname": "a.b"}), &["spec.hostname: Invalid value: \"a.b\": must not contain dots"]),
        (json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 81}]}]}), &["spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"]),
        (json!({"hostAliases": [{"ip": "1.2.3", "hostnames": ["a"]}]}), &["spec.hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]),
        (json!({"os": {"name": "plan9"}}), &["spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""]),
        (json!({"hostUsers": false, "hostPID": true}), &["spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false"]),
        (json!({"ephemeralContainers": [{"name": "e"}]}), &["spec.ephemeralContainers: Forbidden: cannot be set on create"]),
        (json!({"containers": [{"name": "c", "image": " i"}]}), &["spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace"]),
        (json!({"securityContext": {"runAsUser": -1, "fsGroupChangePolicy": "Never"}}), &["spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 4294967295, inclusive", "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"Never\": supported values: \"Always\", \"OnRootMismatch\""]),
        (json!({"shareProcessNamespace": true, "hostPID": true}), &["spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"]),
        (json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}, {"name": "A", "value": ""}]}}), &[
            "spec.securityContext.sysctls[0].name: Invalid value: \"net.ipv4.ip_forward\": may not be specified when 'hostNetwork' is true",
            "spec.securityContext.sysctls[1].name: Invalid value: \"A\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
        ]),
    ]);
}

#[test]
fn containers_names_ports_and_policies() {
    let underscore = format!("spec.containers[0].name: Invalid value: \"a_b\": {LABEL}");
    check_container(&[
        (json!({"name": "a_b"}), &[&underscore]),
        (json!({"imagePullPolicy": "always"}), &["spec.containers[0].imagePullPolicy: Unsupported value: \"always\": supported values: \"Always\", \"IfNotPresent\", \"Never\""]),
        (json!({"terminationMessagePolicy": "Log"}), &["spec.containers[0].terminationMessagePolicy: Unsupported value: \"Log\": supported values: \"File\", \"FallbackToLogsOnError\""]),
        (json!({"ports": [{"containerPort": 0}]}), &["spec.containers[0].ports[0].containerPort: Required value"]),
        (json!({"ports": [{"containerPort": 65536, "protocol": "tcp"}]}), &["spec.containers[0].ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive", "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\""]),
        (json!({"ports": [{"containerPort": 1, "name": "http"}, {"containerPort": 2, "name": "http"}]}), &["spec.containers[0].ports[1].name: Duplicate value: \"http\""]),
        (json!({"ports": [{"containerPort": 1, "name": "a-name-much-too-long"}]}), &["spec.containers[0].ports[0].name: Invalid value: \"a-name-much-too-long\": must be no more than 15 characters"]),
        (json!({"ports": [{"containerPort": 1, "name": "80"}]}), &["spec.containers[0].ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)"]),
        (json!({"ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}, {"containerPort": 2, "hostPort": 9, "protocol": "UDP"}]}), &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//9\""]),
        (json!({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]}), &["spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used"]),
    ]);
    check_spec(&[
        (json!({"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]}), &["spec.containers[1].name: Duplicate value: \"c\""]),
        (json!({"initContainers": [{"name": "c", "image": "i"}]}), &["spec.initContainers[0].name: Duplicate value: \"c\""]),
        (json!({"initContainers": [{"name": "i", "image": "i", "lifecycle": {}, "readinessProbe": {"exec": {"command": ["x"]}}}]}), &[
            "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
            "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ]),
        (json!({"initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always", "readinessProbe": {"exec": {"command": ["x"]}}}]}), &[]),
    ]);
}

#[test]
fn environment_variables_have_one_source() {
    let from = |source: Value| json!({"env": [{"name": "A", "valueFrom": source}]});
    let subdomain = format!("spec.containers[0].env[0].valueFrom.secretKeyRef.name: Invalid value: \"\": {SUBDOMAIN}");
    let path = "spec.containers[0].env[0].valueFrom";
    let none = format!("{path}: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    let two = format!("{path}: Invalid value: \"\": may not have more than one field specified at a time");
    let label = format!("{path}.fieldRef.fieldPath: Invalid value: \"metadata.labls\": error converting fieldPath: field label not supported: metadata.labls");
    let whole = format!("{path}.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"");
    let resource = format!("{path}.resourceFieldRef.resource: Unsupported value: \"cpu\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"");
    let divisor = format!("{path}.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource");
    let key = format!("{path}.secretKeyRef.key: Required value");
    check_container(&[
        (json!({"env": [{"name": "", "value": "x"}, {"name": "a b=c"}]}), &["spec.containers[0].env[0].name: Required value", "spec.containers[0].env[1].name: Invalid value: \"a b=c\": a valid environment variable name must consist only of printable ASCII characters other than '='"]),
        (json!({"env": [{"name": "1-a.b"}]}), &[]),
        (json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}), &["spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"]),
        (from(json!({})), &[&none]),
        (from(json!({"fieldRef": {"fieldPath": "metadata.name"}, "resourceFieldRef": {"resource": "limits.cpu"}})), &[&two]),
        (from(json!({"fieldRef": {"fieldPath": "metadata.labls"}})), &[&label]),
        (from(json!({"fieldRef": {"fieldPath": "metadata.labels"}})), &[&whole]),
        (from(json!({"fieldRef": {"fieldPath": "metadata.annotations['x/y']"}})), &[]),
        (from(json!({"resourceFieldRef": {"resource": "cpu"}})), &[&resource]),
        (from(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1Mi"}})), &[&divisor]),
        (from(json!({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}})), &[]),
        (from(json!({"secretKeyRef": {}})), &[&subdomain, &key]),
        (json!({"envFrom": [{}, {"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}, {"secretRef": {}}]}), &[
            "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            "spec.containers[0].envFrom: Invalid value: \"\": may not have more than one field specified at a time",
            "spec.containers[0].envFrom[2].secretRef.name: Required value",
        ]),
    ]);
}

#[test]
fn requests_stay_within_limits_and_names_are_known() {
    let at = "spec.containers[0].resources";
    let resources = |limits: Value, requests: Value| json!({"resources": {"limits": limits, "requests": requests}});
    let more = format!("{at}.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1");
    let negative = format!("{at}.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0");
    let garbage = format!("{at}.requests[memory]: Invalid value: \"1GB\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    let unknown = [format!("{at}.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified"), format!("{at}.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers")];
    let pods = format!("{at}.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers");
    let half = format!("{at}.limits[nvidia.com/gpu]: Invalid value: \"500m\": must be an integer");
    let unequal = format!("{at}.requests: Invalid value: \"1\": must be equal to nvidia.com/gpu limit of 2");
    let unlimited = format!("{at}.limits: Required value: Limit must be set for non overcommitable resources");
    let huge = format!("{at}: Forbidden: HugePages require cpu or memory");
    check_container(&[
        (resources(json!({"cpu": "1"}), json!({"cpu": "2"})), &[&more]),
        (resources(json!({"cpu": "1"}), json!({"cpu": "1000m", "memory": "1Gi", "ephemeral-storage": "1G"})), &[]),
        (json!({"resources": {"limits": {"cpu": "-1"}, "requests": {"cpu": "-1"}}}), &[&negative, &negative.replace("limits", "requests")]),
        (resources(json!({}), json!({"memory": "1GB"})), &[&garbage]),
        (json!({"resources": {"limits": {"gpu": "1"}, "requests": {"gpu": "1"}}}), &[&unknown[0], &unknown[1], &unknown[0].replace("limits", "requests"), &unknown[1].replace("limits", "requests")]),
        (json!({"resources": {"limits": {"pods": "1"}, "requests": {"pods": "1"}}}), &[&pods, &pods.replace("limits", "requests")]),
        (resources(json!({"nvidia.com/gpu": "500m"}), json!({})), &[&half, &half.replace("limits", "requests")]),
        (resources(json!({"nvidia.com/gpu": "2"}), json!({"nvidia.com/gpu": "1"})), &[&unequal]),
        (resources(json!({}), json!({"nvidia.com/gpu": "1"})), &[&unlimited]),
        (resources(json!({"nvidia.com/gpu": "1"}), json!({})), &[]),
        (resources(json!({"hugepages-2Mi": "4Mi"}), json!({})), &[&huge]),
    ]);
}

#[test]
fn probes_and_hooks_have_one_handler() {
    let at = "spec.containers[0]";
    let wanted = format!("{at}.livenessProbe: Required value: must specify a handler type");
    let many = format!("{at}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type");
    let command = format!("{at}.livenessProbe.exec.command: Required value");
    let port = format!("{at}.livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive");
    let scheme = format!("{at}.livenessProbe.httpGet.scheme: Unsupported value: \"ftp\": supported values: \"HTTP\", \"HTTPS\"");
    let one = format!("{at}.livenessProbe.successThreshold: Invalid value: 2: must be 1");
    let negative = format!("{at}.livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0");
    let grace = format!("{at}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes");
    let hook = format!("{at}.lifecycle.preStop: Required value: must specify a handler type");
    let sleep = format!("{at}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)");
    check_container(&[
        (json!({"livenessProbe": {"periodSeconds": 3}}), &[&wanted]),
        (json!({"livenessProbe": {"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}}), &[&many]),
        (json!({"livenessProbe": {"exec": {}}}), &[&command]),
        (json!({"livenessProbe": {"httpGet": {"scheme": "ftp"}}}), &[&port, &scheme]),
        (json!({"livenessProbe": {"httpGet": {"port": "http"}, "successThreshold": 2}}), &[&one]),
        (json!({"livenessProbe": {"grpc": {"port": 1}, "periodSeconds": -1}}), &[&negative]),
        (json!({"readinessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2, "terminationGracePeriodSeconds": 5}}), &[&grace]),
        (json!({"lifecycle": {"preStop": {}}}), &[&hook]),
        (json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}), &[&sleep]),
    ]);
}

#[test]
fn security_contexts_do_not_contradict_themselves() {
    let at = "spec.containers[0].securityContext";
    let contradiction = format!("{at}: Invalid value: {{\"allowPrivilegeEscalation\":false,\"privileged\":true}}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    let unmasked = format!("{at}.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`");
    let localhost = format!("{at}.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost");
    let kind = format!("{at}.seccompProfile.type: Unsupported value: \"unconfined\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"");
    let armor = format!("{at}.appArmorProfile.type: Required value: type is required when appArmorProfile is set");
    check_container(&[
        (json!({"securityContext": {"allowPrivilegeEscalation": false, "privileged": true}}), &[&contradiction]),
        (json!({"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"add": ["SYS_ADMIN"]}}}), &[]),
        (json!({"securityContext": {"procMount": "Unmasked"}}), &[&unmasked]),
        (json!({"securityContext": {"seccompProfile": {"type": "Localhost"}}}), &[&localhost]),
        (json!({"securityContext": {"seccompProfile": {"type": "unconfined"}}}), &[&kind]),
        (json!({"securityContext": {"appArmorProfile": {}}}), &[&armor]),
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
        (json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]}), &["spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique"]),
        (mount(json!({"name": "v", "mountPath": "/v", "subPath": "../x"})), &[&messages[2]]),
        (mount(json!({"name": "v", "mountPath": "/v", "subPath": "/x"})), &[&messages[3]]),
        (mount(json!({"name": "v", "mountPath": "/v", "subPath": "a..b", "subPathExpr": "b"})), &[&messages[4]]),
        (mount(json!({"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"})), &[&messages[5]]),
        (mount(json!({"name": "v", "mountPath": "/v", "recursiveReadOnly": "Enabled"})), &[&messages[6]]),
    ]);
    check_spec(&[
        (json!({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]}), &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"]),
        (json!({"volumes": [{}, {"name": "a"}, {"name": "a"}]}), &["spec.volumes[0].name: Required value", "spec.volumes[2].name: Duplicate value: \"a\""]),
        (json!({"volumes": [{"name": "v", "hostPath": {}}]}), &["spec.volumes[0].hostPath.path: Required value"]),
        (json!({"volumes": [{"name": "v", "hostPath": {"path": "/a/../b", "type": "Dir"}}]}), &["spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'", "spec.volumes[0].hostPath.type: Unsupported value: \"Dir\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\""]),
        (json!({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "-1"}}]}), &["spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"]),
        (json!({"volumes": [{"name": "v", "secret": {"defaultMode": 512, "items": [{"key": "k", "path": "..data"}]}}]}), &["spec.volumes[0].secret.secretName: Required value", "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive", "spec.volumes[0].secret.items[0].path: Invalid value: \"..data\": must not start with '..'"]),
        (json!({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "a", "items": [{"key": "k", "path": "p"}]}}, {"configMap": {"name": "b", "items": [{"key": "k", "path": "p"}]}}]}}]}), &["spec.volumes[0].projected: Invalid value: \"p\": conflicting duplicate paths"]),
        (json!({"volumes": [{"name": "v", "downwardAPI": {"items": [{"path": "a"}]}}]}), &["spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"]),
    ]);
}

#[test]
fn affinity_and_tolerations() {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = |terms: Value| json!({"affinity": {"nodeAffinity": {required: {"nodeSelectorTerms": terms}}}});
    let at = format!("spec.affinity.nodeAffinity.{required}.nodeSelectorTerms");
    let expression = |operator: &str, values: Value| terms(json!([{"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}]));
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
        (json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}]}}}), &[&messages[6]]),
        (json!({"tolerations": [{"operator": "Exists"}]}), &[]),
        (json!({"tolerations": [{"effect": "NoSchedule"}]}), &["spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and all keys\""]),
        (json!({"tolerations": [{"key": "k", "operator": "Exists", "value": "v"}]}), &["spec.tolerations[0].operator: Invalid value: \"v\": value must be empty when `operator` is 'Exists'"]),
        (json!({"tolerations": [{"key": "k", "tolerationSeconds": 3}]}), &["spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set"]),
        (json!({"tolerations": [{"key": "k", "operator": "Lt", "value": "3"}]}), &["spec.tolerations[0].operator: Unsupported value: \"Lt\": supported values: \"Equal\", \"Exists\""]),
        (json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "k", "whenUnsatisfiable": "No"}]}), &["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero", "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"No\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\""]),
    ]);
    let term = json!({"spec": {"affinity": {"podAntiAffinity": {required: [{}]}}}});
    let mut manifest = pod();
    overlay(&mut manifest, &term);
    assert_eq!(faults(Kind::StaticPod, &manifest)[0], messages[7]);
}

#[test]
fn daemon_sets() {
    let strategy = |rolling: Value| json!({"spec": {"updateStrategy": {"rollingUpdate": rolling}}});
    check(Kind::DaemonSet, &daemon_set(), &[
        (json!({"spec": {"selector": {"matchLabels": {"app": "y"}}}}), &["spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`"]),
        (json!({"spec": {"selector": null}}), &["spec.selector: Required value: empty selector is invalid for daemonset"]),
        (json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}), &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""]),
        (json!({"spec": {"template": {"spec": {"activeDeadlineSeconds": 5}}}}), &["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported"]),
        (json!({"spec": {"template": {"spec": null}}}), &["spec.template.spec.containers: Required value"]),
        (json!({"spec": {"minReadySeconds": -1, "revisionHistoryLimit": -2}}), &["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0", "spec.revisionHistoryLimit: Invalid value: -2: must be greater than or equal to 0"]),
        (json!({"spec": {"updateStrategy": {"type": "Recreate"}}}), &["spec.updateStrategy: Unsupported value: {\"type\":\"Recreate\"}: supported values: \"RollingUpdate\", \"OnDelete\""]),
        (strategy(json!({"maxUnavailable": "50%"})), &[]),
        (strategy(json!({"maxUnavailable": 0, "maxSurge": "10%"})), &[]),
        (strategy(json!({"maxSurge": 1})), &["spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"]),
        (strategy(json!({"maxUnavailable": 0})), &["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]),
        (strategy(json!({"maxUnavailable": "101%"})), &["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"]),
        (strategy(json!({"maxUnavailable": "1"})), &["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"1\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"]),
        (json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "x", "mountPath": "/x"}]}]}}}}), &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"x\""]),
    ]);
}

#[test]
fn jobs() {
    let template = "spec.template.spec.restartPolicy";
    let required = format!("{template}: Required value: valid values: \"OnFailure\", \"Never\"");
    let long = "x".repeat(64);
    let label = format!("spec.template.labels: Invalid value: \"{long}\": must be no more than 63 bytes");
    let policy = |rule: Value| json!({"spec": {"podFailurePolicy": {"rules": [rule]}}});
    let success = |rule: Value| json!({"spec": {"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": [rule]}}});
    check(Kind::Job, &job(), &[
        (json!({"spec": {"template": {"spec": {"restartPolicy": null}}}}), &[&required]),
        (json!({"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}), &[&required]),
        (json!({"spec": {"parallelism": -1, "completions": -1, "backoffLimit": -1, "activeDeadlineSeconds": -1, "ttlSecondsAfterFinished": -1}}), &[
            "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            "spec.completions: Invalid value: -1: must be greater than or equal to 0",
            "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
            "spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0",
            "spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
        ]),
        (json!({"spec": {"parallelism": 0}}), &[]),
        (json!({"spec": {"completionMode": "Sorted"}}), &["spec.completionMode: Unsupported value: \"Sorted\": supported values: \"NonIndexed\", \"Indexed\""]),
        (json!({"spec": {"completionMode": "Indexed", "parallelism": 2}}), &["spec.completions: Required value: when completion mode is Indexed"]),
        (json!({"spec": {"completionMode": "Indexed", "completions": 1, "parallelism": 100_001}}), &["spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed"]),
        (json!({"metadata": {"name": "x".repeat(62)}, "spec": {"completionMode": "Indexed", "completions": 2}}), &[&format!("metadata.name: Invalid value: \"{0}\": will not able to create pod with invalid DNS label: {0}-1", "x".repeat(62))]),
        (json!({"metadata": {"name": long}}), &[&label]),
        (json!({"spec": {"backoffLimitPerIndex": 1}}), &["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"]),
        (json!({"spec": {"completionMode": "Indexed", "completions": 3, "maxFailedIndexes": 4}}), &["spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified", "spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions"]),
        (json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}), &["spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` not auto-generated"]),
        (json!({"spec": {"podReplacementPolicy": "Never"}}), &["spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\""]),
        (json!({"spec": {"managedBy": "me"}}), &["spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")"]),
        (policy(json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}})), &[]),
        (policy(json!({"action": "Stop"})), &["spec.podFailurePolicy.rules[0].action: Unsupported value: \"Stop\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"", "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"]),
        (policy(json!({"action": "FailIndex", "onPodConditions": [{"type": "DisruptionTarget"}]})), &["spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"]),
        (policy(json!({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [2, 0, 2], "containerName": "x"}})), &[
            "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 2",
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,0,2]: must be ordered",
        ]),
        (json!({"spec": {"podFailurePolicy": {"rules": []}, "template": {"spec": {"restartPolicy": "OnFailure"}}}}), &["spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified"]),
        (json!({"spec": {"successPolicy": {"rules": [{"succeededCount": 1}]}}}), &["spec.successPolicy: Invalid value: {\"rules\":[{\"succeededCount\":1}]}: requires indexed completion mode"]),
        (success(json!({"succeededIndexes": "0,2-4", "succeededCount": 4})), &[]),
        (success(json!({"succeededIndexes": "0,2-4", "succeededCount": 5})), &["spec.successPolicy.rules[0].succeededCount: Invalid value: 5: must be less than or equal to 4 (the number of indexes in the specified succeededIndexes field)"]),
        (success(json!({"succeededIndexes": "3,1"})), &["spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"3,1\": error parsing succeededIndexes: non-increasing order, previous: 3, current: 1"]),
        (success(json!({"succeededIndexes": "5"})), &["spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"5\": error parsing succeededIndexes: too large index: \"5\""]),
        (success(json!({})), &["spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified"]),
    ]);
}

#[test]
fn cron_jobs() {
    let zone = |zone: &str| json!({"spec": {"timeZone": zone}});
    let long = "x".repeat(53);
    check(Kind::CronJob, &cron_job(), &[
        (json!({"metadata": {"name": "x".repeat(52)}}), &[]),
        (json!({"metadata": {"name": long}}), &[&format!("metadata.name: Invalid value: \"{long}\": must be no more than 52 characters")]),
        (json!({"spec": {"schedule": null}}), &["spec.schedule: Required value"]),
        (json!({"spec": {"schedule": "CRON_TZ=UTC * * * * *"}}), &["spec.schedule: Invalid value: \"CRON_TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"]),
        (json!({"spec": {"concurrencyPolicy": "Deny"}}), &["spec.concurrencyPolicy: Unsupported value: \"Deny\": supported values: \"Allow\", \"Forbid\", \"Replace\""]),
        (json!({"spec": {"startingDeadlineSeconds": -1, "failedJobsHistoryLimit": -1, "successfulJobsHistoryLimit": 0}}), &["spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0", "spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0"]),
        (zone("Europe/Berlin"), &[]),
        (zone("UTC"), &[]),
        (zone(""), &["spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"]),
        (zone("LOCAL"), &["spec.timeZone: Invalid value: \"LOCAL\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"]),
        (zone("Europe/Bärlin"), &["spec.timeZone: Invalid value: \"Europe/Bärlin\": unknown time zone Europe/Bärlin"]),
        (zone("../UTC"), &["spec.timeZone: Invalid value: \"../UTC\": unknown time zone ../UTC"]),
        (zone("Mars/Base"), &["spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone Mars/Base"]),
        (json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": null}}}}}}), &["spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""]),
        (json!({"spec": {"jobTemplate": {"spec": {"selector": {"matchLabels": {"a": "b"}}, "manualSelector": true}}}}), &["spec.jobTemplate.spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will be auto-generated", "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\""]),
        (json!({"spec": {"jobTemplate": {"spec": null}}}), &["spec.jobTemplate.spec.template.spec.containers: Required value"]),
    ]);
}

#[test]
fn configuration_and_claims() {
    check(Kind::ConfigMap, &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a.b-c_D": "x"}}), &[
        (json!({"data": {"..": "x"}}), &["data[..]: Invalid value: \"..\": must not be '..'"]),
        (json!({"data": {"a b": "x"}}), &["data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"]),
        (json!({"data": {"k": "x"}, "binaryData": {"k": "eA=="}}), &["data[k]: Invalid value: \"k\": duplicate of key present in binaryData"]),
    ]);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "x"}});
    check(Kind::Secret, &secret, &[
        (json!({"type": "kubernetes.io/tls"}), &["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
        (json!({"type": "kubernetes.io/basic-auth"}), &["data[username]: Required value", "data[password]: Required value"]),
        (json!({"type": "kubernetes.io/dockerconfigjson"}), &["data[.dockerconfigjson]: Required value"]),
        (json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{"}}), &["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": EOF while parsing an object at line 1 column 1"]),
        (json!({"stringData": {"a": "x".repeat(1_048_577)}}), &["data: Too long: may not be more than 1048576 bytes"]),
    ]);
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "p"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    check(Kind::PersistentVolumeClaim, &claim, &[
        (json!({"spec": {"accessModes": null}}), &["spec.accessModes: Required value: at least 1 access mode is required"]),
        (json!({"spec": {"accessModes": ["RWO"]}}), &["spec.accessModes: Unsupported value: \"RWO\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\""]),
        (json!({"spec": {"resources": null}}), &["spec.resources[storage]: Required value"]),
        (json!({"spec": {"resources": {"requests": {"storage": "0"}}}}), &["spec.resources[storage]: Invalid value: \"0\": must be greater than zero"]),
        (json!({"spec": {"volumeMode": "Raw"}}), &["spec.volumeMode: Unsupported value: \"Raw\": supported values: \"Block\", \"Filesystem\""]),
    ]);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let mut manifest = daemon_set();
    overlay(&mut manifest, &json!({"metadata": {"name": null}, "spec": {"selector": null, "template": {"spec": {"containers": [{"name": "c"}, {"image": "i"}]}}}}));
    assert_eq!(faults(Kind::DaemonSet, &manifest).len(), 4);
}
