//! What samples about objects share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::exposition::Family;
use crate::api::quantity::Amounts;

/// Names and values of labels.
pub type Labels = Vec<(&'static str, String)>;

/// `namespace`, the object's name as `kind`, and for pods `uid`, as kube-state-metrics labels what it tells.
pub fn object(kind: &'static str, meta: &ObjectMeta) -> Labels {
    let own = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut labels = vec![("namespace", own(&meta.namespace)), (kind, own(&meta.name))];
    if kind == "pod" {
        labels.push(("uid", own(&meta.uid)));
    }
    labels
}

/// `of` and one more.
pub fn with(of: &Labels, name: &'static str, value: &str) -> Labels {
    of.iter().cloned().chain([(name, value.to_owned())]).collect()
}

/// Amounts with the labels `resource` and `unit`, in whole units: cores, bytes, pieces.
pub fn amounts(family: &mut Family, of: &Labels, amounts: &Amounts) {
    for (name, amount) in amounts {
        // Sizes beyond 2^53 bytes lose their last digits, which nobody reads.
        let amount = *amount as f64;
        let (unit, value) = match name.as_str() {
            "cpu" => ("core", amount / 1000.0),
            "memory" | "ephemeral-storage" => ("byte", amount),
            other if other.starts_with("hugepages-") => ("byte", amount),
            _ => ("integer", amount),
        };
        let resource = name.replace(['-', '.', '/'], "_");
        family.add(with(&with(of, "resource", &resource), "unit", unit), value);
    }
}

/// The owners of an object with the labels `of`; one of no name where it has none.
pub fn owners(family: &mut Family, of: &Labels, meta: &ObjectMeta) {
    let mut add = |kind: &str, name: &str, controller: &str| {
        let about = with(&with(of, "owner_kind", kind), "owner_name", name);
        family.add(with(&about, "owner_is_controller", controller), 1.0);
    };
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    if owners.is_empty() {
        add("", "", "");
    }
    for owner in owners {
        add(&owner.kind, &owner.name, if owner.controller == Some(true) { "true" } else { "false" });
    }
}

/// Which of the three a condition's status is.
pub fn condition(family: &mut Family, of: &Labels, name: &'static str, status: &str) {
    for state in ["true", "false", "unknown"] {
        family.add(with(of, name, state), flag(status.eq_ignore_ascii_case(state)));
    }
}

/// 1 or 0.
pub fn flag(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// A point in time as seconds since 1970; nothing where there is none.
pub fn seconds(family: &mut Family, labels: &Labels, time: Option<&Time>) {
    if let Some(time) = time {
        family.add(labels.clone(), unix(time.0));
    }
}

/// Seconds since 1970.
pub fn unix(time: jiff::Timestamp) -> f64 {
    // Exact for the next 285 million years.
    time.as_second() as f64
}
