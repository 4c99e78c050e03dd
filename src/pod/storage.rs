//! A pod that takes more of the node's disk than its limits allow (pkg/kubelet/eviction/eviction_manager.go localStorageEviction). Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::api::quantity;

const RESOURCE: &str = "ephemeral-storage";

/// Bytes that a pod takes on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// By container: its logs, and its writable layer.
    pub containers: BTreeMap<String, (u64, u64)>,
    /// Its volumes.
    pub volumes: u64,
}

/// Whether any container of the pod limits this, so that it has to be measured.
pub fn is_limited(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|s| quantity::pod_limits(s).contains_key(RESOURCE))
}

/// The kubelet's message if the pod, or one of its containers, takes more than it may. `apart`: writable layers lie on a disk of their own,
/// and count for the pod only.
pub fn exceeded(pod: &Pod, used: &Storage, apart: bool) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let total = used.containers.values().fold(used.volumes, |sum, (logs, layer)| sum.saturating_add(*logs).saturating_add(*layer));
    let limit = quantity::pod_limits(spec).get(RESOURCE).copied().and_then(|l| u64::try_from(l).ok());
    if limit.is_some_and(|limit| total > limit) {
        return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {}. ", shown(spec, limit?)));
    }
    let over = |container: &&Container| {
        let limit = quantity::limits_of(container).get(RESOURCE).copied().and_then(|l| u64::try_from(l).ok()).filter(|l| *l > 0);
        let (logs, layer) = used.containers.get(&container.name).copied().unwrap_or_default();
        limit.is_some_and(|limit| logs.saturating_add(if apart { 0 } else { layer }) > limit)
    };
    spec.containers.iter().find(over).map(|container| {
        format!("Container {} exceeded its local ephemeral storage limit {:?}. ", container.name, written(container).unwrap_or_default())
    })
}

/// The sum as Kubernetes shows it: a single container's limit as written, else in the largest binary unit that divides it.
fn shown(spec: &k8s_openapi::api::core::v1::PodSpec, bytes: u64) -> String {
    let limits: Vec<String> = spec.containers.iter().filter_map(written).collect();
    if let ([only], None) = (limits.as_slice(), &spec.init_containers) {
        return only.clone();
    }
    let units = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let step = (0..units.len()).rev().find(|step| bytes.is_multiple_of(1 << (10 * step))).unwrap_or(0);
    format!("{}{}", bytes >> (10 * step), units[step])
}

fn written(container: &Container) -> Option<String> {
    let limit = container.resources.as_ref()?.limits.as_ref()?.get(RESOURCE)?;
    Some(quantity::parse(&limit.0).map_or_else(|_| limit.0.clone(), |q| q.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(limits: &[Option<&str>]) -> Pod {
        let container = |(i, limit): (usize, &Option<&str>)| {
            let limits = limit.map(|l| json!({"ephemeral-storage": l})).unwrap_or_default();
            json!({"name": format!("c{i}"), "resources": {"limits": limits}})
        };
        let containers: Vec<_> = limits.iter().enumerate().map(container).collect();
        serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap()
    }

    fn used(containers: &[(u64, u64)], volumes: u64) -> Storage {
        let containers = containers.iter().enumerate().map(|(i, used)| (format!("c{i}"), *used)).collect();
        Storage { containers, volumes }
    }

    #[test]
    fn the_pod_s_sum_and_each_container_s_own_limit_count() {
        assert!(is_limited(&pod(&[None, Some("1Mi")])) && !is_limited(&pod(&[None])));
        let one = pod(&[Some("1Mi")]);
        assert_eq!(exceeded(&one, &used(&[(1000, 1000)], 1 << 19), false), None);
        let total = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ";
        assert_eq!(exceeded(&one, &used(&[(0, 1 << 19)], 1 + (1 << 19)), false).as_deref(), Some(total));
        let two = pod(&[Some("1Mi"), Some("3Mi")]);
        let first = "Container c0 exceeded its local ephemeral storage limit \"1Mi\". ";
        assert_eq!(exceeded(&two, &used(&[(1 << 19, 1 + (1 << 19)), (0, 0)], 0), false).as_deref(), Some(first));
        assert_eq!(exceeded(&two, &used(&[(1 << 19, 1 + (1 << 19)), (0, 0)], 0), true), None, "layers lie elsewhere");
        let both = "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ";
        assert_eq!(exceeded(&two, &used(&[(0, 0), (0, 0)], 1 + (4 << 20)), false).as_deref(), Some(both));
    }
}
