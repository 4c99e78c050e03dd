//! The downward API: `fieldRef` and `resourceFieldRef` in variables and in volumes.
//!
//! Rules: kubelet_pods.go podFieldSelectorRuntimeValue and containerResourceRuntimeValue, pkg/fieldpath, pkg/api/v1/resource/helpers.go.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Node, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::ConfigError;
use crate::api::quantity;

/// What the downward API tells of.
#[derive(Clone, Copy)]
pub struct Downward<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its node: what it can allocate is the limit of a container that has none.
    pub node: &'a Node,
    /// The pod's addresses; empty in volumes, and where [`needs_pod_ip`] is false.
    pub pod_ips: &'a [IpAddr],
    /// The host's addresses, the primary one first.
    pub host_ips: &'a [IpAddr],
}

/// Whether the environment names the pod's address, so that the container cannot be made before the network is attached.
pub fn needs_pod_ip(container: &Container) -> bool {
    let paths = container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()?.field_ref.as_ref());
    paths.into_iter().any(|f| matches!(f.field_path.as_str(), "status.podIP" | "status.podIPs"))
}

/// The value of a variable's `fieldRef`.
pub fn field(facts: &Downward, path: &str) -> Result<String, ConfigError> {
    if let Some((map, key)) = subscript(path) {
        return subscripted(facts, path, map, key);
    }
    let (meta, spec) = (&facts.pod.metadata, facts.pod.spec.as_ref());
    let host_network = spec.and_then(|s| s.host_network) == Some(true);
    let pod_ips = if facts.pod_ips.is_empty() && host_network { facts.host_ips } else { facts.pod_ips };
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "spec.nodeName" => spec.and_then(|s| s.node_name.clone()).or_else(|| facts.node.metadata.name.clone()).unwrap_or_default(),
        // Kubernetes' admission fills in "default".
        "spec.serviceAccountName" => spec.and_then(|s| s.service_account_name.clone()).unwrap_or_else(|| "default".to_owned()),
        "status.hostIP" => facts.host_ips.first().map(IpAddr::to_string).unwrap_or_default(),
        "status.hostIPs" => joined(facts.host_ips),
        "status.podIP" => pod_ips.first().map(IpAddr::to_string).unwrap_or_default(),
        "status.podIPs" => joined(pod_ips),
        _ => return Err(unsupported(path)),
    })
}

/// The text of a volume's `fieldRef`: what metadata has, maps as `key="value"` lines in order of key (pkg/fieldpath ExtractFieldPathAsString).
pub(super) fn volume_field(facts: &Downward, path: &str) -> Result<String, ConfigError> {
    let meta = &facts.pod.metadata;
    match path {
        "metadata.labels" => Ok(lines(meta.labels.iter().flatten())),
        "metadata.annotations" => Ok(lines(shown_annotations(facts.pod))),
        "metadata.name" | "metadata.namespace" | "metadata.uid" => field(facts, path),
        _ => match subscript(path) {
            Some((map, key)) => subscripted(facts, path, map, key),
            None => Err(unsupported(path)),
        },
    }
}

/// The pod's annotations but for the agent's own notes, which change with every restart.
pub fn shown_annotations(pod: &Pod) -> impl Iterator<Item = (&String, &String)> {
    pod.metadata.annotations.iter().flatten().filter(|(name, _)| !name.starts_with("minik8s.io/"))
}

fn subscripted(facts: &Downward, path: &str, map: &str, key: &str) -> Result<String, ConfigError> {
    let map = match map {
        "metadata.labels" => &facts.pod.metadata.labels,
        "metadata.annotations" => &facts.pod.metadata.annotations,
        _ => return Err(unsupported(path)),
    };
    Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default())
}

fn lines<'a>(map: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    map.map(|(key, value)| format!("{key}={}", go_quoted(value))).collect::<Vec<_>>().join("\n")
}

/// Go's `%q`.
fn go_quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            '\u{0}'..='\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            // As near to unicode.IsPrint as the standard library comes.
            c if c.is_control() || c.is_whitespace() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn joined(ips: &[IpAddr]) -> String {
    ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}

fn unsupported(path: &str) -> ConfigError {
    ConfigError::Invalid { field: "fieldRef.fieldPath".to_owned(), value: path.to_owned(), why: "unsupported fieldPath" }
}

/// `metadata.labels['key']` as ("metadata.labels", "key") (pkg/fieldpath SplitMaybeSubscriptedPath).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?)).filter(|(map, _)| !map.is_empty())
}

/// The value of a `resourceFieldRef`, of `own` where it names no container: cpu in cores, the rest in bytes, divided and rounded up.
pub fn resource(facts: &Downward, own: Option<&Container>, selector: &ResourceFieldSelector) -> Result<String, ConfigError> {
    let wanted = selector.container_name.as_deref().unwrap_or_default();
    let container = if wanted.is_empty() { own } else { named(facts.pod, wanted) };
    let container = container.ok_or_else(|| ConfigError::ContainerNotFound(wanted.to_owned()))?;
    let resource = selector.resource.as_str();
    let invalid = |field: &str, value: &str, why| ConfigError::Invalid { field: field.to_owned(), value: value.to_owned(), why };
    let bad = || invalid("resourceFieldRef.resource", resource, "unsupported container resource");
    let (kind, name) = resource.split_once('.').ok_or_else(bad)?;
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    let quantity = match kind {
        "limits" if known => limit_or_allocatable(facts.node, container, name),
        "requests" if known => request(container, name),
        _ => return Err(bad()),
    };
    let Some(quantity) = quantity else { return Ok("0".to_owned()) };
    let unit = |quantity: &Quantity| amount(name, quantity);
    let divisor = selector.divisor.clone().filter(|d| unit(d) != Some(0)).unwrap_or_else(|| Quantity("1".to_owned()));
    let why = "quantities must match the regular expression";
    let value = unit(&quantity).ok_or_else(|| invalid(&format!("resources.{resource}"), &quantity.0, why))?;
    let divisor = unit(&divisor).ok_or_else(|| invalid("resourceFieldRef.divisor", &divisor.0, why))?.max(1);
    Ok((i128::from(value) + i128::from(divisor) - 1).div_euclid(i128::from(divisor)).to_string())
}

/// Thousandths for cpu, whole units for the rest.
fn amount(name: &str, quantity: &Quantity) -> Option<i64> {
    if name == "cpu" { quantity::milli(quantity) } else { quantity::whole(quantity) }
}

fn named<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == name)
}

fn get(map: Option<&BTreeMap<String, Quantity>>, name: &str) -> Option<Quantity> {
    map.and_then(|m| m.get(name)).cloned()
}

fn limit(container: &Container, name: &str) -> Option<Quantity> {
    get(container.resources.as_ref().and_then(|r| r.limits.as_ref()), name)
}

/// The request; the limit where none is set (API defaulting).
fn request(container: &Container, name: &str) -> Option<Quantity> {
    get(container.resources.as_ref().and_then(|r| r.requests.as_ref()), name).or_else(|| limit(container, name))
}

/// The limit, or what the node can allocate where none is set (pkg/api/v1/resource MergeContainerResourceLimits). Hugepages have no fallback.
fn limit_or_allocatable(node: &Node, container: &Container, name: &str) -> Option<Quantity> {
    let limit = limit(container, name).filter(|q| amount("cpu", q) != Some(0));
    if limit.is_some() || name.starts_with("hugepages-") {
        return limit;
    }
    get(node.status.as_ref().and_then(|s| s.allocatable.as_ref()), name)
}
