//! Requests and limits: known names, sane numbers, requests within limits (ValidateResourceRequirements and the helpers beside it).

use k8s_openapi::api::core::v1::{ContainerResizePolicy, ResourceClaim, ResourceRequirements};

use super::field::{Faults, Path};
use super::format;
use crate::api::quantity::{self, Quantity, ResourceList};

/// Resources of containers that have no prefix (`standardContainerResources` in pkg/apis/core/helper/helpers.go).
const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// The other names without a prefix that exist (`standardResources` there).
const ELSEWHERE: [&str; 16] = [
    "configmaps",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

/// What names a list may hold.
pub(super) type NameRule = fn(&str, &Path, &mut Faults);

/// Requests and limits of a container or of a pod as a whole (validateResourceRequirements). `claims`: the names in the pod's resourceClaims.
pub(super) fn requirements(resources: &ResourceRequirements, rule: NameRule, claims: &[&str], path: &Path, faults: &mut Faults) {
    let (none, limits_path, requests_path) = (ResourceList::new(), path.child("limits"), path.child("requests"));
    let (limits, requests) = (resources.limits.as_ref().unwrap_or(&none), resources.requests.as_ref().unwrap_or(&none));
    list(limits, rule, &limits_path, faults);
    list(requests, rule, &requests_path, faults);
    for (name, request) in requests {
        within(name, &request.0, limits.get(name).map(|l| l.0.as_str()), &requests_path, &limits_path, faults);
    }
    let names = || limits.keys().chain(requests.keys());
    if names().any(|n| is_huge_page(n)) && !names().any(|n| n == "cpu" || n == "memory") {
        faults.forbidden(path, "HugePages require cpu or memory");
    }
    claim_names(resources.claims.as_deref().unwrap_or_default(), claims, &path.child("claims"), faults);
}

/// Names and quantities of one list (ValidateResourceQuantityValue, validateResourceQuantityHugePageValue).
fn list(list: &ResourceList, rule: NameRule, path: &Path, faults: &mut Faults) {
    for (name, text) in list {
        let path = path.key(name);
        rule(name, &path, faults);
        let Some(quantity) = parsed(&text.0, &path, faults) else { continue };
        if is_extended(name) && !quantity.is_integer() {
            faults.invalid(&path, quantity.to_string(), "must be an integer");
        }
        if let Some(size) = name.strip_prefix("hugepages-") {
            let size = quantity::parse(size).ok().filter(|s| s.is_integer()).map(Quantity::value).filter(|s| *s > 0);
            if size.is_none_or(|size| quantity.value() % size != 0) {
                faults.invalid(&path, quantity.to_string(), &format!("{quantity} is not positive integer multiple of {name}"));
            }
        }
    }
}

/// validateResourceClaimNames: each claim, or each request of one, once; and it must be one of the pod's.
fn claim_names(claims: &[ResourceClaim], of_pod: &[&str], path: &Path, faults: &mut Faults) {
    let mut seen = std::collections::BTreeSet::new();
    for (i, claim) in claims.iter().enumerate() {
        let (path, name) = (path.index(i), claim.name.as_str());
        if name.is_empty() {
            faults.required(&path, "");
            continue;
        }
        let request = claim.request.as_deref().filter(|r| !r.is_empty());
        let key = request.map_or(name.to_owned(), |request| format!("{name}/{request}"));
        if let Some(request) = request {
            faults.invalid_each(&path.child("request"), request, format::dns_label(request));
        }
        let part = request.is_none().then(|| format!("{name}/"));
        if seen.contains(name) || part.is_some_and(|part| seen.iter().any(|key: &String| key.starts_with(&part))) {
            faults.duplicate(&path, name);
        } else if seen.contains(&key) {
            faults.duplicate(&path, key.as_str());
        }
        seen.insert(key);
        if !of_pod.contains(&name) {
            let names = if of_pod.is_empty() { " which is empty".to_owned() } else { format!(": {}", of_pod.join(", ")) };
            faults.not_found(&path, name, &format!("must be one of the names in pod.spec.resourceClaims{names}"));
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
                faults.invalid(path, quantity.to_string(), "must be greater than or equal to 0");
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
pub(super) fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && format::qualified_name(&format!("requests.{name}")).is_empty()
}

pub(super) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// validateResourceName. Returns whether the name is one of a resource.
fn resource_name(name: &str, path: &Path, faults: &mut Faults) -> bool {
    let wrong = format::qualified_name(name);
    if !wrong.is_empty() {
        faults.invalid_each(path, name, wrong);
        return false;
    }
    let quota = name.strip_prefix("requests.").unwrap_or(name);
    let known =
        name.contains('/') || OF_CONTAINERS.contains(&name) || name == "storage" || ELSEWHERE.contains(&name) || is_huge_page(quota);
    if !known {
        faults.invalid(path, name, "must be a standard resource type or fully qualified");
    }
    known
}

/// What a container may ask for (validateContainerResourceName).
pub(super) fn of_container(name: &str, path: &Path, faults: &mut Faults) {
    resource_name(name, path, faults);
    if !name.contains('/') {
        if !OF_CONTAINERS.contains(&name) && !is_huge_page(name) {
            faults.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        faults.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

/// What a pod as a whole may ask for (validatePodResourceName).
pub(super) fn of_pod(name: &str, path: &Path, faults: &mut Faults) {
    if resource_name(name, path, faults) && !quantity::of_whole_pods(name) {
        faults.not_supported(path, name, &["cpu", "hugepages-", "memory"]);
    }
}

/// A request may not exceed its limit, and must equal it where overcommit is impossible.
fn within(name: &str, request: &str, limit: Option<&str>, requests: &Path, limits: &Path, faults: &mut Faults) {
    let overcommit = is_native(name) && !is_huge_page(name);
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
