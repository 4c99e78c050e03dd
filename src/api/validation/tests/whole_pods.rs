//! Resources of pods as a whole, and the resource claims of containers.

use super::*;

fn whole(resources: Value, containers: Value) -> Value {
    json!({"resources": resources, "containers": containers})
}

#[test]
fn a_pod_asks_for_no_less_than_its_containers() {
    let container = |resources: Value| json!([{"name": "c", "image": "i", "resources": resources}]);
    check_spec(&[
        (whole(json!({"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}), container(json!({"requests": {"cpu": "1"}}))), &[]),
        (
            whole(json!({"requests": {"cpu": "1"}}), container(json!({"requests": {"cpu": "1500m"}}))),
            &["spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 1500m"],
        ),
        (
            whole(json!({"limits": {"memory": "1Gi"}}), container(json!({"limits": {"memory": "2Gi"}}))),
            &[
                "spec.resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit of 1Gi",
                "spec.resources.containers[0][memory].limits: Invalid value: \"2Gi\": must be less than or equal to pod limits of 1Gi",
            ],
        ),
        (
            whole(json!({"requests": {"ephemeral-storage": "1Gi"}}), container(json!({}))),
            &[
                "spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
            ],
        ),
        (
            whole(json!({"claims": [{"name": "a"}], "requests": {"cpu": "1"}}), container(json!({}))),
            &[
                "spec.resources.claims: Forbidden: claims cannot be set for Resources at pod-level",
                "spec.resources.claims[0]: Not found: \"a\": must be one of the names in pod.spec.resourceClaims which is empty",
            ],
        ),
    ]);
}

#[test]
fn overhead_and_huge_pages() {
    let limits = |limits: Value| json!({"containers": [{"name": "c", "image": "i", "resources": {"limits": limits}}]});
    let twice = |message: &str| [message.replace("LIST", "limits"), message.replace("LIST", "requests")];
    let odd = twice(
        "spec.containers[0].resources.LIST[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
    );
    let zero =
        twice("spec.containers[0].resources.LIST[hugepages-0]: Invalid value: \"1\": 1 is not positive integer multiple of hugepages-0");
    let huge =
        twice("spec.containers[0].resources.LIST[hugepages-]: Invalid value: \"1\": 1 is not positive integer multiple of hugepages-");
    let format = twice(
        "spec.containers[0].resources.LIST[hugepages-]: Invalid value: \"hugepages-\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    );
    check_spec(&[
        (json!({"overhead": {"cpu": "10m"}}), &[]),
        (
            json!({"overhead": {"hugepages-2Mi": "2Mi", "pods": "1"}}),
            &[
                "spec.overhead.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers",
                "spec.overhead: Forbidden: HugePages require cpu or memory",
            ],
        ),
        (limits(json!({"cpu": "1", "hugepages-2Mi": "4Mi"})), &[]),
        (limits(json!({"cpu": "1", "hugepages-2Mi": "3Mi"})), &[&odd[0], &odd[1]]),
        (limits(json!({"cpu": "1", "hugepages-0": "1"})), &[&zero[0], &zero[1]]),
        (limits(json!({"cpu": "1", "hugepages-": "1"})), &[&format[0], &huge[0], &format[1], &huge[1]]),
    ]);
}

#[test]
fn claims_are_the_pods_and_each_is_named_once() {
    let claims = |claims: Value| {
        json!({"resourceClaims": [{"name": "a", "resourceClaimName": "x"}, {"name": "b", "resourceClaimTemplateName": "y"}],
            "containers": [{"name": "c", "image": "i", "resources": {"claims": claims}}]})
    };
    let at = "spec.containers[0].resources.claims";
    check_spec(&[
        (claims(json!([{"name": "a"}, {"name": "b", "request": "r"}, {"name": "b", "request": "s"}])), &[]),
        (
            claims(json!([{"name": ""}, {"name": "z"}, {"name": "a"}, {"name": "a", "request": "r"}])),
            &[
                &format!("{at}[0]: Required value"),
                &format!("{at}[1]: Not found: \"z\": must be one of the names in pod.spec.resourceClaims: a, b"),
                &format!("{at}[3]: Duplicate value: \"a\""),
            ],
        ),
        (
            claims(json!([{"name": "b", "request": "r"}, {"name": "b", "request": "r"}, {"name": "b"}])),
            &[&format!("{at}[1]: Duplicate value: \"b/r\""), &format!("{at}[2]: Duplicate value: \"b\"")],
        ),
        (
            json!({"resourceClaims": [{"name": "a", "resourceClaimName": "-"}]}),
            &[&format!("spec.resourceClaims[0].resourceClaimName: Invalid value: \"-\": {SUBDOMAIN}")],
        ),
        (
            json!({"resourceClaims": [{"name": "a"}, {"name": "a", "resourceClaimName": "x", "resourceClaimTemplateName": "y"}]}),
            &[
                "spec.resourceClaims[0]: Invalid value: {\"name\":\"a\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                "spec.resourceClaims[1].name: Duplicate value: \"a\"",
                "spec.resourceClaims[1]: Invalid value: {\"name\":\"a\",\"resourceClaimName\":\"x\",\"resourceClaimTemplateName\":\"y\"}: at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ],
        ),
    ]);
}
