//! The downward API in environment variables: `fieldRef` and `resourceFieldRef`.
//!
//! Rules: kubelet_pods.go podFieldSelectorRuntimeValue and containerResourceRuntimeValue, pkg/fieldpath, pkg/api/v1/resource/helpers.go.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Inputs, OciError, resources};
use crate::api::quantity;

/// Whether the environment names the pod's address, so that the container cannot be made before the network is attached.
pub fn needs_pod_ip(container: &Container) -> bool {
    let paths = container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()?.field_ref.as_ref());
    paths.into_iter().any(|f| matches!(f.field_path.as_str(), "status.podIP" | "status.podIPs"))
}

/// The value of a `fieldRef` path.
pub(super) fn field(inputs: &Inputs, path: &str) -> Result<String, OciError> {
    let meta = &inputs.pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(unsupported(path)),
        };
        return Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    let spec = inputs.spec();
    let pod_ips = if inputs.pod_ips.is_empty() && host_network(inputs) { inputs.host_ips } else { inputs.pod_ips };
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "spec.nodeName" => spec.and_then(|s| s.node_name.clone()).or_else(|| inputs.node.metadata.name.clone()).unwrap_or_default(),
        // Kubernetes' admission fills in "default".
        "spec.serviceAccountName" => spec.and_then(|s| s.service_account_name.clone()).unwrap_or_else(|| "default".to_owned()),
        "status.hostIP" => inputs.host_ips.first().map(IpAddr::to_string).unwrap_or_default(),
        "status.hostIPs" => joined(inputs.host_ips),
        "status.podIP" => pod_ips.first().map(IpAddr::to_string).unwrap_or_default(),
        "status.podIPs" => joined(pod_ips),
        _ => return Err(unsupported(path)),
    })
}

fn host_network(inputs: &Inputs) -> bool {
    inputs.spec().and_then(|s| s.host_network).unwrap_or(false)
}

fn joined(ips: &[IpAddr]) -> String {
    ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}

fn unsupported(path: &str) -> OciError {
    OciError::invalid("env.valueFrom.fieldRef.fieldPath", path, "unsupported fieldPath")
}

/// `metadata.labels['key']` as ("metadata.labels", "key") (pkg/fieldpath SplitMaybeSubscriptedPath).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?)).filter(|(map, _)| !map.is_empty())
}

/// The value of a `resourceFieldRef`: cpu in cores, the rest in bytes, divided by the divisor and rounded up.
pub(super) fn resource(inputs: &Inputs, selector: &ResourceFieldSelector) -> Result<String, OciError> {
    let container = match selector.container_name.as_deref().filter(|n| !n.is_empty()) {
        None => inputs.container,
        Some(name) => named(inputs, name).ok_or_else(|| OciError::ContainerNotFound(name.to_owned()))?,
    };
    let resource = selector.resource.as_str();
    let bad = || OciError::invalid("env.valueFrom.resourceFieldRef.resource", resource, "unsupported container resource");
    let (kind, name) = resource.split_once('.').ok_or_else(bad)?;
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    let quantity = match kind {
        "limits" if known => limit_or_allocatable(inputs, container, name),
        "requests" if known => resources::request(container, name),
        _ => return Err(bad()),
    };
    let Some(quantity) = quantity else { return Ok("0".to_owned()) };
    let divisor = selector.divisor.clone().filter(|d| quantity::milli(d) != Some(0)).unwrap_or_else(|| Quantity("1".to_owned()));
    let unit = if name == "cpu" { quantity::milli } else { quantity::whole };
    let parsed = |q: &Quantity| {
        unit(q)
            .ok_or_else(|| OciError::invalid(format!("resources.{resource}"), q.0.clone(), "quantities must match the regular expression"))
    };
    let (value, divisor) = (parsed(&quantity)?, parsed(&divisor)?.max(1));
    Ok((i128::from(value) + i128::from(divisor) - 1).div_euclid(i128::from(divisor)).to_string())
}

fn named<'a>(inputs: &Inputs<'a>, name: &str) -> Option<&'a Container> {
    let spec = inputs.spec()?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == name)
}

/// The limit, or what the node can allocate where none is set (pkg/api/v1/resource MergeContainerResourceLimits). Hugepages have no fallback.
fn limit_or_allocatable(inputs: &Inputs, container: &Container, name: &str) -> Option<Quantity> {
    let get = |map: Option<&BTreeMap<String, Quantity>>| map.and_then(|m| m.get(name)).cloned();
    let limit = get(container.resources.as_ref().and_then(|r| r.limits.as_ref())).filter(|q| quantity::milli(q) != Some(0));
    if limit.is_some() || name.starts_with("hugepages-") {
        return limit;
    }
    get(inputs.node.status.as_ref().and_then(|s| s.allocatable.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::*;

    fn value(from: &str) -> Result<String, OciError> {
        let case = Case::new(&format!("{{resources: {{limits: {{cpu: 1500m, memory: 100Mi}}}}, env: [{{name: X, valueFrom: {from}}}]}}"));
        super::super::env::own(&case.inputs()).map(|e| e[0].1.clone())
    }

    #[test]
    fn fields() {
        for (path, expected) in [
            ("metadata.name", "web"),
            ("metadata.namespace", "shop"),
            ("metadata.uid", "u-1"),
            ("metadata.labels['app']", "front"),
            ("metadata.labels['none']", ""),
            ("metadata.annotations['a/b']", "note"),
            ("spec.nodeName", "node1"),
            ("spec.serviceAccountName", "default"),
            ("status.hostIP", "192.0.2.1"),
            ("status.hostIPs", "192.0.2.1,2001:db8::1"),
            ("status.podIP", "10.88.0.5"),
            ("status.podIPs", "10.88.0.5,fd00::5"),
        ] {
            assert_eq!(value(&format!("{{fieldRef: {{fieldPath: \"{path}\"}}}}")).as_deref(), Ok(expected), "{path}");
        }
        assert!(value("{fieldRef: {fieldPath: spec.schedulerName}}").is_err());
        assert!(value("{fieldRef: {fieldPath: \"spec.nodeSelector['x']\"}}").is_err());
    }

    #[test]
    fn resources_divide_round_up_and_fall_back() {
        for (selector, expected) in [
            ("resource: limits.cpu", "2"),
            ("resource: limits.cpu, divisor: 1m", "1500"),
            ("resource: requests.cpu, divisor: 1m", "1500"),
            ("resource: limits.memory", "104857600"),
            ("resource: limits.memory, divisor: 1Mi", "100"),
            ("resource: limits.memory, divisor: 1G", "1"),
            ("resource: limits.memory, divisor: '0'", "104857600"),
            ("resource: limits.ephemeral-storage, divisor: 1Gi", "20"),
            ("resource: requests.ephemeral-storage", "0"),
            ("resource: limits.hugepages-2Mi", "0"),
        ] {
            assert_eq!(value(&format!("{{resourceFieldRef: {{{selector}}}}}")).as_deref(), Ok(expected), "{selector}");
        }
        assert_eq!(
            value("{resourceFieldRef: {containerName: other, resource: limits.cpu}}"),
            Err(OciError::ContainerNotFound("other".to_owned()))
        );
        assert!(value("{resourceFieldRef: {resource: limits.gpu}}").is_err());
    }

    #[test]
    fn pod_ip_is_needed_only_where_named() {
        let needs = |path: &str| {
            needs_pod_ip(Case::new(&format!("{{env: [{{name: X, valueFrom: {{fieldRef: {{fieldPath: {path}}}}}}}]}}")).container())
        };
        assert!(needs("status.podIP") && needs("status.podIPs"));
        assert!(!needs("status.hostIP"));
    }
}
