//! Requests and limits: known names, sane numbers, requests within limits (ValidateResourceRequirements and the helpers beside it).

use k8s_openapi::api::core::v1::{ContainerResizePolicy, ResourceRequirements};

use super::field::{Faults, Path};
use super::format;
use crate::api::quantity::{self, Quantity, ResourceList};

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Names without a prefix that exist, though not for containers (`standardResources` in pkg/apis/core/helper).
const ELSEWHERE: [&str; 13] = [
    "storage",
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
    "requests.cpu",
    "limits.cpu",
    "requests.memory",
];

/// Requests and limits of a container. `claims`: the names in the pod's resourceClaims.
pub(super) fn requirements(resources: &ResourceRequirements, claims: &[&str], path: &Path, faults: &mut Faults) {
    let (none, limits_path, requests_path) = (ResourceList::new(), path.child("limits"), path.child("requests"));
    let (limits, requests) = (resources.limits.as_ref().unwrap_or(&none), resources.requests.as_ref().unwrap_or(&none));
    list(limits, &limits_path, faults);
    list(requests, &requests_path, faults);
    for (name, request) in requests {
        within(name, &request.0, limits.get(name).map(|l| l.0.as_str()), &requests_path, &limits_path, faults);
    }
    let names = || limits.keys().chain(requests.keys());
    if names().any(|n| n.starts_with("hugepages-")) && !names().any(|n| n == "cpu" || n == "memory") {
        faults.forbidden(path, "HugePages require cpu or memory");
    }
    let mut seen = std::collections::BTreeSet::new();
    for (i, claim) in resources.claims.iter().flatten().enumerate() {
        let path = path.child("claims").index(i);
        if claim.name.is_empty() {
            faults.required(&path, "");
        } else if !claims.contains(&claim.name.as_str()) {
            faults.not_found(&path, claim.name.as_str());
        } else if !seen.insert((&claim.name, &claim.request)) {
            faults.duplicate(&path, claim.name.as_str());
        }
    }
}

/// Names and quantities of one list (validateContainerResourceName, ValidateResourceQuantityValue).
pub(super) fn list(list: &ResourceList, path: &Path, faults: &mut Faults) {
    for (name, text) in list {
        let path = path.key(name);
        container_resource_name(name, &path, faults);
        let Some(quantity) = parsed(&text.0, &path, faults) else { continue };
        if is_extended(name) && !quantity.is_integer() {
            faults.invalid(&path, text.0.as_str(), "must be an integer");
        }
        if let Some(size) = name.strip_prefix("hugepages-").and_then(|s| quantity::parse(s).ok()).map(Quantity::value).filter(|s| *s > 0)
            && quantity.value() % size != 0
        {
            faults.invalid(&path, text.0.as_str(), &format!("{quantity} is not positive integer multiple of {name}"));
        }
    }
}

/// The quantity, unless it is none or negative; says which.
pub(super) fn parsed(text: &str, path: &Path, faults: &mut Faults) -> Option<Quantity> {
    match quantity::parse(text) {
        Err(error) => {
            faults.invalid(path, text, &error.to_string());
            None
        }
        Ok(quantity) => {
            if quantity.is_negative() {
                faults.invalid(path, text, "must be greater than or equal to 0");
            }
            Some(quantity)
        }
    }
}

/// Without a prefix, or of kubernetes.io: not what a device plugin advertises (IsNativeResource).
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// IsExtendedResourceName.
fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && format::qualified_name(&format!("requests.{name}")).is_empty()
}

fn container_resource_name(name: &str, path: &Path, faults: &mut Faults) {
    let wrong = format::qualified_name(name);
    if !wrong.is_empty() {
        return faults.invalid_each(path, name, wrong);
    }
    if !name.contains('/') {
        let standard = STANDARD.contains(&name) || name.starts_with("hugepages-");
        if !standard && !ELSEWHERE.contains(&name) {
            faults.invalid(path, name, "must be a standard resource type or fully qualified");
        }
        if !standard {
            faults.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        faults.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

/// A request may not exceed its limit, and must equal it where overcommit is impossible.
fn within(name: &str, request: &str, limit: Option<&str>, requests: &Path, limits: &Path, faults: &mut Faults) {
    let overcommit = is_native(name) && !name.starts_with("hugepages-");
    let Some(limit) = limit else {
        if !overcommit {
            faults.required(limits, "Limit must be set for non overcommitable resources");
        }
        return;
    };
    let (Ok(request), Ok(limit)) = (quantity::parse(request), quantity::parse(limit)) else { return };
    if request != limit && !overcommit {
        faults.invalid(requests, request.to_string(), &format!("must be equal to {name} limit of {limit}"));
    } else if request > limit {
        faults.invalid(requests, request.to_string(), &format!("must be less than or equal to {name} limit of {limit}"));
    }
}

/// validateResizePolicy.
pub(super) fn resize_policy(policies: &[ContainerResizePolicy], pod_restart_policy: &str, path: &Path, faults: &mut Faults) {
    let mut seen = std::collections::BTreeSet::new();
    for (i, policy) in policies.iter().enumerate() {
        if !seen.insert(&policy.resource_name) {
            faults.duplicate(&path.index(i), policy.resource_name.as_str());
        }
        faults.one_of(path, Some(&policy.resource_name), &["cpu", "memory"]);
        faults.one_of(path, Some(&policy.restart_policy), &["NotRequired", "RestartContainer"]);
        if pod_restart_policy == "Never" && policy.restart_policy != "NotRequired" {
            faults.invalid(path, policy.restart_policy.as_str(), "must be 'NotRequired' when `restartPolicy` is 'Never'");
        }
    }
}
