//! Which units of a node's devices a pod's containers get. Pure.
//!
//! After pkg/kubelet/cm/devicemanager/manager.go (Allocate, devicesToAllocate): containers in the order they start; what an init container has had,
//! the containers after it get again; a sidecar keeps its own. Ours: units are handed out in the order in which the node declares them.
//! Where a resource is declared with an amount but without devices, it is counted only (`fit`).

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use super::security::Rejection;
use crate::api::Object;
use crate::api::devices::{self, Assigned, Unit};
use crate::api::quantity::{Amounts, limits_of};
use crate::api::validation::is_extended_resource;
use crate::pod::attempt::{Role, containers, format_pod};

/// The units for each of the pod's containers, none of which a pod among `others` (bound here, not ended) has; the pod itself there does not count.
///
/// # Errors
/// The kubelet's rejection: fewer are free than the node said, or who has which is not known.
pub fn assign(pod: &Pod, others: &[Arc<Object>], node: &Node) -> Result<Assigned, Rejection> {
    let wanted: Vec<_> = containers(pod).map(|(role, container)| (role, container, limits_of(container))).collect();
    let mut assigned = Assigned::new();
    if !wanted.iter().any(|(_, _, limits)| limits.keys().any(|name| is_extended_resource(name))) {
        return Ok(assigned);
    }
    for (resource, units) in devices::of_node(node) {
        let count = |limits: &Amounts| limits.get(&resource).map_or(0, |n| usize::try_from(*n).unwrap_or(0));
        let wanted: Vec<_> = wanted.iter().map(|(role, c, limits)| (role, c, count(limits))).filter(|(_, _, n)| *n > 0).collect();
        if wanted.is_empty() {
            continue;
        }
        let mut pool = Pool { free: free(&resource, &units, pod, others)?, reusable: Vec::new() };
        for (role, container, count) in wanted {
            let given = pool.take(&resource, count, *role != Role::Init)?;
            assigned.entry(container.name.clone()).or_default().insert(resource.clone(), given);
        }
    }
    Ok(assigned)
}

/// What of a resource can be given to one pod.
struct Pool {
    /// Nobody's, in order.
    free: Vec<Unit>,
    /// An init container's, which has ended by then.
    reusable: Vec<Unit>,
}

impl Pool {
    /// `stays`: the container lives beside those after it.
    fn take(&mut self, resource: &str, count: usize, stays: bool) -> Result<Vec<Unit>, Rejection> {
        let again = count.min(self.reusable.len());
        let new = count - again;
        if new > self.free.len() {
            let available = self.free.len();
            return Err(failed(&format!(
                "requested number of devices unavailable for {resource}. Requested: {new}, Available: {available}"
            )));
        }
        let mut given: Vec<Unit> = self.reusable.drain(..again).collect();
        given.extend(self.free.drain(..new));
        if !stays {
            self.reusable.splice(0..0, given.iter().cloned());
        }
        Ok(given)
    }
}

/// The units that no other pod has.
fn free(resource: &str, units: &[Unit], pod: &Pod, others: &[Arc<Object>]) -> Result<Vec<Unit>, Rejection> {
    let mut taken = BTreeSet::new();
    for other in others.iter().filter_map(|o| o.as_pod()).filter(|p| p.metadata.uid != pod.metadata.uid) {
        let assigned = devices::of_pod(other).map_err(|why| failed(&format!("pod {}: {why}", format_pod(other))))?;
        let units = assigned.values().filter_map(|by_resource| by_resource.get(resource)).flatten();
        taken.extend(units.map(Unit::identity));
    }
    let declared: BTreeSet<_> = units.iter().map(Unit::identity).collect();
    // Held in a grouping that is declared no more: no unit with a part of it is free.
    let regrouped: BTreeSet<&String> = taken.difference(&declared).flat_map(|(sources, _)| sources).collect();
    let free = |unit: &&Unit| {
        let identity = unit.identity();
        !taken.contains(&identity) && identity.0.iter().all(|source| !regrouped.contains(source))
    };
    Ok(units.iter().filter(free).cloned().collect())
}

/// The kubelet's words (pkg/kubelet/cm/admission, UnexpectedAdmissionError; container_manager_linux.go).
fn failed(why: &str) -> Rejection {
    Rejection { reason: "UnexpectedAdmissionError", message: format!("Allocate failed due to {why}, which is unexpected") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(devices: &str) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n", "annotations": {"minik8s.io/devices": devices}}})).unwrap()
    }

    fn container(name: &str, limits: Value) -> Value {
        json!({"name": name, "resources": {"limits": limits}})
    }

    fn pod(uid: &str, inits: Value, containers: Value) -> Pod {
        let spec = json!({"initContainers": inits, "containers": containers});
        serde_json::from_value(json!({"metadata": {"name": uid, "namespace": "d", "uid": uid}, "spec": spec})).unwrap()
    }

    /// `main` asks for so many of a.com/x.
    fn plain(uid: &str, count: u32) -> Pod {
        pod(uid, json!([]), json!([container("main", json!({"a.com/x": count.to_string()}))]))
    }

    fn bound(mut pod: Pod, others: &[Arc<Object>], node: &Node) -> Arc<Object> {
        let assigned = assign(&pod, others, node).unwrap();
        devices::note(&mut pod.metadata, &assigned);
        Arc::new(pod.into())
    }

    /// `container: source source#copy`.
    fn shown(assigned: &Assigned) -> Vec<String> {
        let unit = |unit: &Unit| {
            let (sources, copy) = unit.identity();
            if copy == 0 { sources.join("+") } else { format!("{}#{copy}", sources.join("+")) }
        };
        let units = |by: &std::collections::BTreeMap<String, Vec<Unit>>| by.values().flatten().map(unit).collect::<Vec<_>>().join(" ");
        assigned.iter().map(|(container, by)| format!("{container}: {}", units(by))).collect()
    }

    #[test]
    fn each_unit_is_one_pod_s_until_that_has_ended() {
        let node = node("a.com/x: [/dev/a, [/dev/b, /dev/c], a.com/x=d]");
        let first = bound(plain("1", 1), &[], &node);
        let second = bound(plain("2", 2), std::slice::from_ref(&first), &node);
        assert_eq!(shown(&devices::of_pod(first.as_pod().unwrap()).unwrap()), ["main: /dev/a"]);
        assert_eq!(shown(&devices::of_pod(second.as_pod().unwrap()).unwrap()), ["main: /dev/b+/dev/c a.com/x=d"]);
        let all = [first.clone(), second.clone()];
        let refused = assign(&plain("3", 1), &all, &node).unwrap_err();
        assert_eq!(refused.reason, "UnexpectedAdmissionError");
        let regrouped = self::node("a.com/x: [/dev/c, /dev/b, /dev/e]");
        assert_eq!(shown(&assign(&plain("3", 1), &all, &regrouped).unwrap()), ["main: /dev/e"], "b and c are held, as one");
        assert_eq!(
            refused.message,
            "Allocate failed due to requested number of devices unavailable for a.com/x. Requested: 1, Available: 0, which is unexpected"
        );
        assert_eq!(shown(&assign(&plain("3", 1), &all[1..], &node).unwrap()), ["main: /dev/a"], "the first has ended");
        assert_eq!(shown(&assign(&plain("1", 1), &all, &node).unwrap()), ["main: /dev/a"], "its own is no other's");
    }

    #[test]
    fn copies_are_handed_out_as_often_as_they_are_there() {
        let node = node("a.com/x: [{devices: [/dev/kvm], copies: 2}, /dev/kvm]");
        let both = pod("1", json!([]), json!([container("a", json!({"a.com/x": "1"})), container("b", json!({"a.com/x": "1"}))]));
        let first = bound(both, &[], &node);
        assert_eq!(shown(&devices::of_pod(first.as_pod().unwrap()).unwrap()), ["a: /dev/kvm", "b: /dev/kvm#1"]);
        let second = bound(plain("2", 1), std::slice::from_ref(&first), &node);
        assert_eq!(shown(&devices::of_pod(second.as_pod().unwrap()).unwrap()), ["main: /dev/kvm#2"]);
        assert!(assign(&plain("3", 1), &[first, second], &node).is_err());
    }

    #[test]
    fn init_containers_leave_theirs_to_those_after_them_and_sidecars_keep_theirs() {
        let node = node("a.com/x: [/dev/a, /dev/b, /dev/c]");
        let side = json!({"name": "side", "restartPolicy": "Always", "resources": {"limits": {"a.com/x": "1"}}});
        let inits = json!([container("one", json!({"a.com/x": "2"})), side, container("two", json!({"a.com/x": "2"}))]);
        let mains = json!([container("main", json!({"a.com/x": "1"})), container("more", json!({"a.com/x": "1"}))]);
        let assigned = assign(&pod("1", inits, mains), &[], &node).unwrap();
        let expected = ["main: /dev/b", "more: /dev/c", "one: /dev/a /dev/b", "side: /dev/a", "two: /dev/b /dev/c"];
        assert_eq!(shown(&assigned), expected, "3, as many as the pod is counted with");
    }

    #[test]
    fn what_is_not_asked_for_or_has_no_devices_is_not_assigned() {
        let counted = pod("1", json!([]), json!([container("main", json!({"b.com/y": "1", "cpu": "1"}))]));
        assert_eq!(assign(&counted, &[], &node("a.com/x: [/dev/a]")), Ok(Assigned::new()));
        assert_eq!(assign(&plain("1", 1), &[], &Node::default()), Ok(Assigned::new()), "counted only");
        let mut unknown = plain("2", 1);
        unknown.metadata.annotations.get_or_insert_default().insert("minik8s.io/assigned-devices".into(), "{".into());
        let refused = assign(&plain("1", 1), &[Arc::new(unknown.into())], &node("a.com/x: [/dev/a]")).unwrap_err();
        assert!(
            refused.message.starts_with("Allocate failed due to pod 2_d(2): annotation minik8s.io/assigned-devices"),
            "{}",
            refused.message
        );
    }

    #[test]
    fn a_unit_in_use_is_not_handed_out_under_another_name_in_the_container() {
        let first = bound(plain("1", 1), &[], &node("a.com/x: [/dev/a]"));
        let changed = node("a.com/x: [{path: /dev/a, containerPath: /dev/z}, /dev/b]");
        assert_eq!(shown(&assign(&plain("2", 1), &[first], &changed).unwrap()), ["main: /dev/b"]);
    }
}
