//! What samples about objects share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::exposition::Family;

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
