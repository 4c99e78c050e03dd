//! Which units of a node's devices a pod's containers get. Pure.
//!
//! After pkg/kubelet/cm/devicemanager/manager.go (Allocate, devicesToAllocate): containers in the order they start; what an init container has had,
//! the containers after it get again; a sidecar keeps its own. Ours: units are handed out in the order in which the node declares them.
//! Where a resource is declared with an amount but without devices, it is counted only (`fit`). Units that the host knows for the same device nodes
//! are one unit, whatever they are called: the first is handed out, the others never.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use super::security::Rejection;
use crate::api::Object;
use crate::api::devices::{self, Assigned, Numbers, Unit};
use crate::api::quantity::{Amounts, limits_of};
use crate::api::validation::is_extended_resource;
use crate::pod::attempt::{Role, containers, format_pod};

/// Why a pod gets no devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The kubelet's rejection: fewer are free than the node said, or who has which is not known.
    Rejected(Rejection),
    /// Fewer are there than are declared, since some are named twice: the pod has to wait for one, or for a better declaration.
    Short(String),
}

/// The paths of all device nodes that are declared or had, as far as a pod may get one.
pub fn paths(node: &Node, others: &[Arc<Object>]) -> BTreeSet<String> {
    let declared = devices::of_node(node);
    if declared.is_empty() {
        return BTreeSet::new();
    }
    let mut all = had(others.iter().filter_map(|o| o.as_pod()));
    all.extend(declared.values().flatten().flat_map(Unit::paths).map(str::to_owned));
    all
}

/// The paths of all device nodes that these pods have.
pub fn had<'a>(pods: impl Iterator<Item = &'a Pod>) -> BTreeSet<String> {
    let all = pods.filter_map(|pod| devices::of_pod(pod).ok()).flat_map(Assigned::into_values).flat_map(BTreeMap::into_values);
    all.flatten().flat_map(|unit| unit.paths().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Why `pod` may not start with what it was given: a pod among `others` that was made before it has the same by another name. The binding could not
/// know that where the device was not there yet. `numbers`: what the device nodes of all of them are.
pub fn named_twice(pod: &Pod, others: &[Arc<Object>], numbers: &Numbers) -> Option<String> {
    let age = |pod: &Pod| (pod.metadata.creation_timestamp.clone().map(|t| t.0), pod.metadata.uid.clone());
    let units = |pod: &Pod| -> Vec<(String, Unit)> {
        let all = devices::of_pod(pod).unwrap_or_default().into_values().flatten();
        all.flat_map(|(resource, units)| units.into_iter().map(move |unit| (resource.clone(), unit))).collect()
    };
    let mine = units(pod);
    for other in others.iter().filter_map(|o| o.as_pod()).filter(|other| age(other) < age(pod)) {
        for (resource, theirs) in units(other) {
            let same = |unit: &Unit| unit.identity_on(numbers) == theirs.identity_on(numbers) && unit.identity() != theirs.identity();
            if let Some((_, unit)) = mine.iter().find(|(of, unit)| *of == resource && same(unit)) {
                let (names, has) = (name(unit), format_pod(other));
                return Some(format!("device {names} is {}, which pod {has} has: {resource} names it twice", name(&theirs)));
            }
        }
    }
    None
}

fn name(unit: &Unit) -> String {
    unit.identity().0.join(" with ")
}

/// The units for each of the pod's containers, none of which a pod among `others` (bound here, not ended) has; the pod itself there does not count.
/// `numbers`: what the device nodes at [`paths`] are.
///
/// # Errors
/// Not enough are free, or who has which is not known.
pub fn assign(pod: &Pod, others: &[Arc<Object>], node: &Node, numbers: &Numbers) -> Result<Assigned, Refusal> {
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
        let Distinct { units, again } = Distinct::of(units, numbers);
        let free = free(&resource, &units, pod, others, numbers).map_err(Refusal::Rejected)?;
        let mut pool = Pool { free, reusable: Vec::new(), again };
        for (role, container, count) in wanted {
            let given = pool.take(&resource, count, *role != Role::Init)?;
            assigned.entry(container.name.clone()).or_default().insert(resource.clone(), given);
        }
    }
    Ok(assigned)
}

/// The units of a resource, each once.
struct Distinct {
    units: Vec<Unit>,
    /// Of those that are others by another name: `/dev/a is /dev/b`.
    again: Vec<String>,
}

impl Distinct {
    fn of(declared: Vec<Unit>, numbers: &Numbers) -> Distinct {
        let mut first: BTreeMap<(Vec<String>, usize), String> = BTreeMap::new();
        let mut distinct = Distinct { units: Vec::new(), again: Vec::new() };
        for unit in declared {
            let name = name(&unit);
            match first.entry(unit.identity_on(numbers)) {
                Entry::Occupied(known) => distinct.again.push(format!("{name} is {}", known.get())),
                Entry::Vacant(free) => {
                    free.insert(name);
                    distinct.units.push(unit);
                }
            }
        }
        distinct
    }
}

/// What of a resource can be given to one pod.
struct Pool {
    /// Nobody's, in order.
    free: Vec<Unit>,
    /// An init container's, which has ended by then.
    reusable: Vec<Unit>,
    /// What is counted with the node's, but is named twice.
    again: Vec<String>,
}

impl Pool {
    /// `stays`: the container lives beside those after it.
    fn take(&mut self, resource: &str, count: usize, stays: bool) -> Result<Vec<Unit>, Refusal> {
        let again = count.min(self.reusable.len());
        let new = count - again;
        if new > self.free.len() {
            let available = self.free.len();
            return Err(match self.again.is_empty() {
                true => Refusal::Rejected(failed(&format!(
                    "requested number of devices unavailable for {resource}. Requested: {new}, Available: {available}"
                ))),
                false => Refusal::Short(format!("Insufficient {resource} (named twice: {})", self.again.join(", "))),
            });
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
fn free(resource: &str, units: &[Unit], pod: &Pod, others: &[Arc<Object>], numbers: &Numbers) -> Result<Vec<Unit>, Rejection> {
    let mut taken = BTreeSet::new();
    for other in others.iter().filter_map(|o| o.as_pod()).filter(|p| p.metadata.uid != pod.metadata.uid) {
        let assigned = devices::of_pod(other).map_err(|why| failed(&format!("pod {}: {why}", format_pod(other))))?;
        let units = assigned.values().filter_map(|by_resource| by_resource.get(resource)).flatten();
        taken.extend(units.map(|unit| unit.identity_on(numbers)));
    }
    let declared: BTreeSet<_> = units.iter().map(|unit| unit.identity_on(numbers)).collect();
    // Held in a grouping that is declared no more: no unit with a part of it is free.
    let regrouped: BTreeSet<&String> = taken.difference(&declared).flat_map(|(sources, _)| sources).collect();
    let free = |unit: &&Unit| {
        let identity = unit.identity_on(numbers);
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

    /// By names alone; what is wrong is a rejection.
    fn assign(pod: &Pod, others: &[Arc<Object>], node: &Node) -> Result<Assigned, Rejection> {
        super::assign(pod, others, node, &Numbers::new()).map_err(|refusal| match refusal {
            Refusal::Rejected(rejection) => rejection,
            Refusal::Short(why) => panic!("{why}"),
        })
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

    #[test]
    fn a_device_that_is_named_twice_is_one() {
        let node = node("a.com/x: [/dev/a, /dev/by-id/a, [/dev/b, /dev/c], [/dev/c, /dev/by-id/b]]");
        let all = ["/dev/a", "/dev/b", "/dev/by-id/a", "/dev/by-id/b", "/dev/c"];
        assert_eq!(paths(&node, &[]).into_iter().collect::<Vec<_>>(), all);
        let numbers: Numbers = all.map(|path| (path.to_owned(), path.replace("/by-id", ""))).into();
        let assign = |pod: &Pod, others: &[Arc<Object>], node: &Node| super::assign(pod, others, node, &numbers);
        let short = Err(Refusal::Short(
            "Insufficient a.com/x (named twice: /dev/by-id/a is /dev/a, /dev/by-id/b with /dev/c is /dev/b with /dev/c)".to_owned(),
        ));
        assert_eq!(shown(&assign(&plain("1", 2), &[], &node).unwrap()), ["main: /dev/a /dev/b+/dev/c"]);
        assert_eq!(assign(&plain("1", 3), &[], &node), short, "not even within one pod");
        let first = bound(plain("1", 1), &[], &node);
        assert_eq!(shown(&assign(&plain("2", 1), std::slice::from_ref(&first), &node).unwrap()), ["main: /dev/b+/dev/c"]);
        assert_eq!(assign(&plain("2", 2), std::slice::from_ref(&first), &node), short);
        // What a pod has by a name that is declared no more.
        let renamed = self::node("a.com/x: [/dev/by-id/a, /dev/b]");
        assert!(paths(&renamed, std::slice::from_ref(&first)).contains("/dev/a"));
        assert_eq!(shown(&assign(&plain("2", 1), std::slice::from_ref(&first), &renamed).unwrap()), ["main: /dev/b"]);
        assert_eq!(paths(&Node::default(), std::slice::from_ref(&first)), BTreeSet::new(), "nothing is declared, so nothing is handed out");

        // One that nobody knew for the same when it was bound: the first of two pods has it, which other name it may have.
        let unknown = super::assign(&plain("2", 1), std::slice::from_ref(&first), &renamed, &Numbers::new()).unwrap();
        let mut second = plain("2", 1);
        devices::note(&mut second.metadata, &unknown);
        let both = [first.clone(), Arc::new(second.clone().into())];
        assert_eq!(had(both.iter().filter_map(|o| o.as_pod())).into_iter().collect::<Vec<_>>(), ["/dev/a", "/dev/by-id/a"]);
        let why = "device /dev/by-id/a is /dev/a, which pod 1_d(1) has: a.com/x names it twice";
        assert_eq!(named_twice(&second, &both, &numbers).as_deref(), Some(why));
        assert_eq!(named_twice(first.as_pod().unwrap(), &both, &numbers), None);
        assert_eq!(named_twice(&second, &both, &Numbers::new()), None);
    }
}
