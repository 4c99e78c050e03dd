//! What one container may get wrong.

use super::*;

#[test]
fn containers_names_ports_and_policies() {
    let underscore = format!("spec.containers[0].name: Invalid value: \"a_b\": {LABEL}");
    check_container(&[
        (json!({"name": "a_b"}), &[&underscore]),
        (
            json!({"imagePullPolicy": "always"}),
            &[
                "spec.containers[0].imagePullPolicy: Unsupported value: \"always\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ],
        ),
        (
            json!({"terminationMessagePolicy": "Log"}),
            &[
                "spec.containers[0].terminationMessagePolicy: Unsupported value: \"Log\": supported values: \"File\", \"FallbackToLogsOnError\"",
            ],
        ),
        (json!({"ports": [{"containerPort": 0}]}), &["spec.containers[0].ports[0].containerPort: Required value"]),
        (
            json!({"ports": [{"containerPort": 65536, "protocol": "tcp"}]}),
            &[
                "spec.containers[0].ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
                "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ],
        ),
        (
            json!({"ports": [{"containerPort": 1, "name": "http"}, {"containerPort": 2, "name": "http"}]}),
            &["spec.containers[0].ports[1].name: Duplicate value: \"http\""],
        ),
        (
            json!({"ports": [{"containerPort": 1, "name": "a-name-much-too-long"}]}),
            &["spec.containers[0].ports[0].name: Invalid value: \"a-name-much-too-long\": must be no more than 15 characters"],
        ),
        (
            json!({"ports": [{"containerPort": 1, "name": "80"}]}),
            &["spec.containers[0].ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)"],
        ),
        (
            json!({"ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}, {"containerPort": 2, "hostPort": 9, "protocol": "UDP"}]}),
            &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//9\""],
        ),
        (
            json!({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]}),
            &["spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used"],
        ),
    ]);
    check_spec(&[
        (
            json!({"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]}),
            &["spec.containers[1].name: Duplicate value: \"c\""],
        ),
        (json!({"initContainers": [{"name": "c", "image": "i"}]}), &["spec.initContainers[0].name: Duplicate value: \"c\""]),
        (
            json!({"initContainers": [{"name": "i", "image": "i", "lifecycle": {}, "readinessProbe": {"exec": {"command": ["x"]}}}]}),
            &[
                "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
                "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ],
        ),
        (
            json!({"initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always", "readinessProbe": {"exec": {"command": ["x"]}}}]}),
            &[],
        ),
    ]);
}

#[test]
fn environment_variables_have_one_source() {
    let from = |source: Value| json!({"env": [{"name": "A", "valueFrom": source}]});
    let subdomain = format!("spec.containers[0].env[0].valueFrom.secretKeyRef.name: Invalid value: \"\": {SUBDOMAIN}");
    let path = "spec.containers[0].env[0].valueFrom";
    let none = format!(
        "{path}: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
    );
    let two = format!("{path}: Invalid value: \"\": may not have more than one field specified at a time");
    let label = format!(
        "{path}.fieldRef.fieldPath: Invalid value: \"metadata.labls\": error converting fieldPath: field label not supported: metadata.labls"
    );
    let whole = format!(
        "{path}.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""
    );
    let resource = format!(
        "{path}.resourceFieldRef.resource: Unsupported value: \"cpu\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\""
    );
    let divisor = format!(
        "{path}.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource"
    );
    let key = format!("{path}.secretKeyRef.key: Required value");
    check_container(&[
        (
            json!({"env": [{"name": "", "value": "x"}, {"name": "a b=c"}]}),
            &[
                "spec.containers[0].env[0].name: Required value",
                "spec.containers[0].env[1].name: Invalid value: \"a b=c\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            ],
        ),
        (json!({"env": [{"name": "1-a.b"}]}), &[]),
        (
            json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            &["spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"],
        ),
        (from(json!({})), &[&none]),
        (from(json!({"fieldRef": {"fieldPath": "metadata.name"}, "resourceFieldRef": {"resource": "limits.cpu"}})), &[&two]),
        (from(json!({"fieldRef": {"fieldPath": "metadata.labls"}})), &[&label]),
        (from(json!({"fieldRef": {"apiVersion": "v2"}})), &[&format!("{path}.fieldRef.fieldPath: Required value")]),
        (
            from(json!({"fieldRef": {"apiVersion": "v2", "fieldPath": "metadata.name"}})),
            &[&format!(
                "{path}.fieldRef.fieldPath: Invalid value: \"metadata.name\": error converting fieldPath: unsupported pod version: v2"
            )],
        ),
        (from(json!({"fieldRef": {"fieldPath": "metadata.labels"}})), &[&whole]),
        (from(json!({"fieldRef": {"fieldPath": "metadata.annotations['x/y']"}})), &[]),
        (from(json!({"resourceFieldRef": {"resource": "cpu"}})), &[&resource]),
        (from(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1Mi"}})), &[&divisor]),
        (from(json!({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}})), &[]),
        (from(json!({"secretKeyRef": {}})), &[&subdomain, &key]),
        (
            json!({"envFrom": [{}, {"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}, {"secretRef": {}}]}),
            &[
                "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
                "spec.containers[0].envFrom: Invalid value: \"\": may not have more than one field specified at a time",
                "spec.containers[0].envFrom[2].secretRef.name: Required value",
            ],
        ),
    ]);
}

#[test]
fn requests_stay_within_limits_and_names_are_known() {
    let at = "spec.containers[0].resources";
    let resources = |limits: Value, requests: Value| json!({"resources": {"limits": limits, "requests": requests}});
    let more = format!("{at}.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1");
    let negative = format!("{at}.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0");
    let garbage = format!(
        "{at}.requests[memory]: Invalid value: \"1GB\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    );
    let unknown = [
        format!("{at}.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified"),
        format!("{at}.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers"),
    ];
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
        (
            json!({"resources": {"limits": {"gpu": "1"}, "requests": {"gpu": "1"}}}),
            &[&unknown[0], &unknown[1], &unknown[0].replace("limits", "requests"), &unknown[1].replace("limits", "requests")],
        ),
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
    let sleep =
        format!("{at}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)");
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
    let contradiction = format!(
        "{at}: Invalid value: {{\"allowPrivilegeEscalation\":false,\"privileged\":true}}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
    );
    let unmasked = format!("{at}.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`");
    let localhost = format!("{at}.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost");
    let kind = format!(
        "{at}.seccompProfile.type: Unsupported value: \"unconfined\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\""
    );
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
