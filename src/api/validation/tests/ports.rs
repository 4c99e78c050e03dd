//! Ports, names on the network, and the numbers of probes.

use super::*;

#[test]
fn ports_have_numbers_names_and_protocols() {
    let ports = |ports: Value| json!({"ports": ports});
    check_container(&[
        (
            ports(json!([{"containerPort": 1}, {"containerPort": 2, "hostPort": 70_000}])),
            &["spec.containers[0].ports[1].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            ports(json!([{"containerPort": i32::MIN, "hostPort": i32::MAX}])),
            &[
                "spec.containers[0].ports[0].containerPort: Invalid value: -2147483648: must be between 1 and 65535, inclusive",
                "spec.containers[0].ports[0].hostPort: Invalid value: 2147483647: must be between 1 and 65535, inclusive",
            ],
        ),
        (ports(json!([{"containerPort": 1, "hostPort": 8, "hostIP": "127.0.0.1"}, {"containerPort": 1, "hostPort": 8}])), &[]),
        (
            ports(
                json!([{"containerPort": 1, "hostPort": 8, "hostIP": "::1", "protocol": "UDP"}, {"containerPort": 2, "hostPort": 8, "hostIP": "::1", "protocol": "UDP"}]),
            ),
            &["spec.containers[0].ports[1].hostPort: Duplicate value: \"UDP/::1/8\""],
        ),
        (
            ports(json!([{"containerPort": 1, "name": "-a--B"}])),
            &[
                "spec.containers[0].ports[0].name: Invalid value: \"-a--B\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                "spec.containers[0].ports[0].name: Invalid value: \"-a--B\": must not contain consecutive hyphens",
                "spec.containers[0].ports[0].name: Invalid value: \"-a--B\": must not begin or end with a hyphen",
            ],
        ),
    ]);
    // Ports of two main containers meet; init containers run one after the other.
    let container = |name: &str| json!({"name": name, "image": "i", "ports": [{"containerPort": 1, "hostPort": 8}]});
    check_spec(&[
        (json!({"containers": [container("a"), container("b")]}), &["spec.containers[1].ports[0].hostPort: Duplicate value: \"TCP//8\""]),
        (json!({"containers": [container("a")], "initContainers": [container("b"), container("c")]}), &[]),
        (
            json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}, {"containerPort": 81}]}]}),
            &[],
        ),
    ]);
}

#[test]
fn dns_and_host_aliases() {
    let long = "a".repeat(64);
    let many: Vec<String> = (0..33).map(|i| format!("d{i}")).collect();
    let shown = json!(many).to_string();
    check_spec(&[
        (
            json!({"dnsPolicy": "Cluster"}),
            &[
                "spec.dnsPolicy: Unsupported value: \"Cluster\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
            ],
        ),
        (
            json!({"dnsPolicy": "None", "dnsConfig": {"searches": ["-"]}}),
            &["spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"],
        ),
        (
            json!({"dnsConfig": {"searches": many}}),
            &[&format!("spec.dnsConfig.searches: Invalid value: {shown}: must not have more than 32 search paths")],
        ),
        (
            json!({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"value": "x"}]}}),
            &["spec.dnsConfig.options[1]: Required value: must not be empty"],
        ),
        (
            json!({"hostAliases": [{"ip": "127.0.0.1", "hostnames": ["ok", "Not_Ok"]}]}),
            &[&format!("spec.hostAliases[0].hostnames[1]: Invalid value: \"Not_Ok\": {SUBDOMAIN}")],
        ),
        (json!({"hostname": long}), &[&format!("spec.hostname: Invalid value: \"{long}\": must be no more than 63 characters")]),
        (json!({"subdomain": "a.b"}), &["spec.subdomain: Invalid value: \"a.b\": must not contain dots"]),
        (json!({"nodeName": "-"}), &[&format!("spec.nodeName: Invalid value: \"-\": {SUBDOMAIN}")]),
        (json!({"runtimeClassName": ""}), &[&format!("spec.runtimeClassName: Invalid value: \"\": {SUBDOMAIN}")]),
        (
            json!({"hostUsers": false, "hostNetwork": true, "hostIPC": true}),
            &[
                "spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false",
                "spec.HostIPC: Forbidden: when `pod.Spec.HostUsers` is false",
            ],
        ),
        (
            json!({"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}, "containers": [{"name": "c", "image": "i", "securityContext": {"windowsOptions": {}}}]}),
            &[
                "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
                "spec.containers[0].securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
            ],
        ),
    ]);
}

#[test]
fn probes_of_every_kind_of_container() {
    let at = "spec.containers[0]";
    check_container(&[
        (
            json!({"startupProbe": {"exec": {"command": ["x"]}, "successThreshold": 2}}),
            &[&format!("{at}.startupProbe.successThreshold: Invalid value: 2: must be 1")],
        ),
        (
            json!({"livenessProbe": {"tcpSocket": {"port": 1}, "initialDelaySeconds": -1, "timeoutSeconds": -2, "failureThreshold": -3, "terminationGracePeriodSeconds": 0}}),
            &[
                &format!("{at}.livenessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to 0"),
                &format!("{at}.livenessProbe.timeoutSeconds: Invalid value: -2: must be greater than or equal to 0"),
                &format!("{at}.livenessProbe.failureThreshold: Invalid value: -3: must be greater than or equal to 0"),
                &format!("{at}.livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0"),
            ],
        ),
        (
            json!({"readinessProbe": {"grpc": {"port": 65_536}}, "lifecycle": {"postStart": {"httpGet": {"port": "no_such", "httpHeaders": [{"name": "a b", "value": ""}]}}}}),
            &[
                &format!(
                    "{at}.lifecycle.postStart.httpGet.port: Invalid value: \"no_such\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
                ),
                &format!(
                    "{at}.lifecycle.postStart.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
                ),
                &format!("{at}.readinessProbe.grpc.port: Invalid value: 65536: must be between 1 and 65535, inclusive"),
            ],
        ),
    ]);
    check_spec(&[(
        json!({"initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always", "livenessProbe": {"exec": {"command": ["x"]}, "successThreshold": 3}}]}),
        &["spec.initContainers[0].livenessProbe.successThreshold: Invalid value: 3: must be 1"],
    )]);
}
