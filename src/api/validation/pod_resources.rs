//! Resources of a pod as a whole: its own requests and limits, its overhead, its claims (validatePodResources, validateOverhead,
//! validatePodResourceClaims).

use k8s_openapi::api::core::v1::{PodResourceClaim, PodSpec, ResourceRequirements};

use super::field::{Faults, Path, shown};
use super::{format, resources};
use crate::api::quantity::{self, Quantity};

/// Its requests, limits and overhead.
pub(super) fn of_pod(spec: &PodSpec, path: &Path, faults: &mut Faults) {
    if let Some(overhead) = &spec.overhead {
        let list = ResourceRequirements { limits: Some(overhead.clone()), ..ResourceRequirements::default() };
        resources::requirements(&list, resources::of_container, &[], &path.child("overhead"), faults);
    }
    let Some(whole) = &spec.resources else { return };
    let path = path.child("resources");
    if whole.claims.is_some() {
        faults.forbidden(&path.child("claims"), "claims cannot be set for Resources at pod-level");
    }
    resources::requirements(whole, resources::of_pod, &[], &path, faults);
    consistent(spec, whole, &path, faults);
}

/// validatePodResourceConsistency: the pod asks for no less than its containers, and none of them may have more than it.
fn consistent(spec: &PodSpec, whole: &ResourceRequirements, path: &Path, faults: &mut Faults) {
    let of_pod = |list: &Option<quantity::ResourceList>, name: &str| list.as_ref()?.get(name).and_then(|q| quantity::parse(&q.0).ok());
    for (name, sum) in quantity::container_requests(spec).into_iter().filter(|(name, _)| quantity::of_whole_pods(name)) {
        let own = of_pod(&whole.requests, &name).unwrap_or(Quantity::ZERO);
        if sum > own {
            let detail = format!("must be greater than or equal to aggregate container requests of {sum}");
            faults.invalid(&path.child("requests").key(&name), own.to_string(), &detail);
        }
    }
    for (i, container) in spec.containers.iter().enumerate() {
        let limits = container.resources.iter().flat_map(|r| r.limits.iter().flatten());
        for (name, limit) in limits.filter_map(|(name, text)| Some((name, quantity::parse(&text.0).ok()?))) {
            if let Some(most) = of_pod(&whole.limits, name).filter(|most| limit > *most) {
                let at = path.child("containers").index(i).key(name).child("limits");
                faults.invalid(&at, limit.to_string(), &format!("must be less than or equal to pod limits of {most}"));
            }
        }
    }
}

/// validatePodResourceClaims.
pub(super) fn claims(claims: &[PodResourceClaim], path: &Path, faults: &mut Faults) {
    for (i, claim) in claims.iter().enumerate() {
        let (at, name) = (path.index(i), claim.name.as_str());
        if name.is_empty() {
            faults.required(&at.child("name"), "");
        } else if claims[..i].iter().any(|c| c.name == name) {
            faults.duplicate(&at.child("name"), name);
        } else {
            faults.invalid_each(&at.child("name"), name, format::dns_label(name));
        }
        match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(_), Some(_)) => {
                faults.invalid(&at, shown(claim), "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified")
            }
            (None, None) => faults.invalid(&at, shown(claim), "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            _ => {}
        }
        let names = [("resourceClaimName", &claim.resource_claim_name), ("resourceClaimTemplateName", &claim.resource_claim_template_name)];
        for (field, name) in names.into_iter().filter_map(|(field, name)| Some((field, name.as_deref()?))) {
            faults.invalid_each(&at.child(field), name, format::dns_subdomain(name));
        }
    }
}
