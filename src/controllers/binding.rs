//! Binding: gives a pod that fits to this node, or says on the pod why it has to wait. Pure.
//!
//! The counterpart of kube-scheduler with one node: `spec.nodeName` and the condition PodScheduled are what it writes, and, as the kubelet's device
//! manager, which devices the containers get: durable with the binding, and so before anything of the pod starts.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::admission;
use crate::admission::devices::{self, Refusal};
use crate::admission::security::{self, Rejection};
use crate::api::devices::{Assigned, Numbers, note};
use crate::api::{Key, Kind, Object};
use crate::controllers::{EventDraft, Plan, id_ranges, pods, pressure};
use crate::host::HostFacts;

/// What became of one pod that was not bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The pod with its binding, or with the condition that says why not. `None`: as it stands already.
    pub pod: Option<Pod>,
    /// The events that tell of it.
    pub events: Vec<EventDraft>,
    /// Whether it is bound now.
    pub bound: bool,
}

/// What of the host a binding goes by.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// What it is.
    pub facts: &'a HostFacts,
    /// What the device nodes at [`devices::paths`] are.
    pub devices: &'a Numbers,
}

/// Tries to bind `pod` beside the pods `others` that hold this node's resources and ports. What would fit but asks for rights that `host` cannot give
/// is bound and Failed, as by the kubelet; without a host nobody asks. One with `hostUsers: false` is given ids that none of `others` has.
pub fn bind(pod: &Pod, others: &[Arc<Object>], node: &Node, host: Option<Host>, now: Timestamp) -> Outcome {
    let spec = pod.spec.clone().unwrap_or_default();
    let unsuitable = match pods::is_static(pod) {
        true => kept_from_static(&spec, node),
        false => Some(admission::eligible(&spec, node)).filter(|v| !v.should_run).map(|v| v.reasons).unwrap_or_default(),
    };
    let reasons = match unsuitable.is_empty() {
        false => unsuitable,
        true => admission::fits(pod, others, node).err().unwrap_or_default(),
    };
    if !reasons.is_empty() {
        return postpone(pod, &admission::unavailable(&reasons), now);
    }
    // Pressure first, as by the kubelet (pkg/kubelet/kubelet.go); what the host cannot enforce before anything is handed out.
    let pressed = admission::pressure(pod, node, pressure::critical(pod)).map(|message| Rejection { reason: "Evicted", message });
    let (facts, unknown) = (host.map(|host| host.facts), Numbers::new());
    let numbers = host.map_or(&unknown, |host| host.devices);
    let assigned = match pressed.or_else(|| facts.and_then(|facts| security::rejection(pod, facts))) {
        Some(rejection) => Err(Refusal::Rejected(rejection)),
        None => devices::assign(pod, others, node, numbers),
    };
    let assigned = match assigned {
        Err(Refusal::Rejected(rejection)) => return reject(accept(pod, &Assigned::new(), node, now), rejection),
        Err(Refusal::Short(why)) => return postpone(pod, &admission::unavailable(&[why]), now),
        Ok(assigned) => assigned,
    };
    match id_ranges::give(pod, others, node) {
        Ok(pod) => tell(accept(&pod, &assigned, node, now), facts.and_then(|facts| security::passed_over(&pod, facts))),
        Err(why) => postpone(pod, &admission::unavailable(&[why.to_owned()]), now),
    }
}

/// A static pod asks for no taint, but stays away from a cordoned node, as its controller has it: one that waited for room must not take a drained
/// pod's.
fn kept_from_static(spec: &PodSpec, node: &Node) -> Vec<String> {
    let mut reasons = admission::placement_reasons(spec, node);
    reasons.extend(admission::cordoned_for(spec, node).then(|| admission::UNSCHEDULABLE_REASON.to_owned()));
    reasons
}

/// Gives the pods that `plan` creates to this node where they fit, so that they are bound from the start: one commit less before they run.
/// `others` grows by them. Those that do not fit are created as they are, and wait.
pub fn place(plan: &mut Plan, others: &mut Vec<Arc<Object>>, node: &Node, host: Option<Host>, now: Timestamp) {
    for object in &mut plan.create {
        let Some(outcome) = object.as_pod().map(|pod| bind(pod, others, node, host, now)).filter(|o| o.bound) else { continue };
        if let Some(pod) = outcome.pod {
            *object = pod.into();
            others.push(Arc::new(object.clone()));
        }
        plan.events.extend(outcome.events);
    }
}

fn accept(pod: &Pod, assigned: &Assigned, node: &Node, now: Timestamp) -> Outcome {
    let mut pod = pod.clone();
    note(&mut pod.metadata, assigned);
    let name = node.metadata.name.clone().unwrap_or_default();
    pod.spec.get_or_insert_default().node_name = Some(name.clone());
    set_scheduled(&mut pod, "True", None, None, now);
    let about = format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
    let event = draft(&pod, false, "Scheduled", format!("Successfully assigned {about} to {name}"));
    Outcome { pod: Some(pod), events: vec![event], bound: true }
}

/// The kubelet's rejectPod (pkg/kubelet/kubelet.go): the pod is this node's, has ended and holds nothing; whoever made it makes another after its
/// back-off.
fn reject(accepted: Outcome, rejection: Rejection) -> Outcome {
    let Outcome { pod, mut events, .. } = accepted;
    let pod = pod.map(|mut pod| {
        events.push(EventDraft { source: "kubelet", ..draft(&pod, true, rejection.reason, rejection.message.clone()) });
        let status = pod.status.get_or_insert_default();
        status.phase = Some("Failed".to_owned());
        status.reason = Some(rejection.reason.to_owned());
        status.message = Some(format!("Pod was rejected: {}", rejection.message));
        pod
    });
    Outcome { pod, events, bound: false }
}

fn tell(mut outcome: Outcome, passed_over: Option<String>) -> Outcome {
    let told = outcome.pod.as_ref().zip(passed_over);
    let event = told.map(|(pod, message)| EventDraft { source: "kubelet", ..draft(pod, true, "SELinuxDisabled", message) });
    outcome.events.extend(event);
    outcome
}

fn postpone(pod: &Pod, message: &str, now: Timestamp) -> Outcome {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let told = conditions.iter().any(|c| c.type_ == "PodScheduled" && c.status == "False" && c.message.as_deref() == Some(message));
    if told {
        return Outcome { pod: None, events: Vec::new(), bound: false };
    }
    let mut pod = pod.clone();
    set_scheduled(&mut pod, "False", Some("Unschedulable"), Some(message), now);
    let event = draft(&pod, true, "FailedScheduling", message.to_owned());
    Outcome { pod: Some(pod), events: vec![event], bound: false }
}

fn set_scheduled(pod: &mut Pod, status: &str, reason: Option<&str>, message: Option<&str>, now: Timestamp) {
    let pod_status = pod.status.get_or_insert_default();
    pod_status.phase.get_or_insert_with(|| "Pending".to_owned());
    let conditions = pod_status.conditions.get_or_insert_default();
    let since = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == status).and_then(|c| c.last_transition_time.clone());
    conditions.retain(|c| c.type_ != "PodScheduled");
    conditions.push(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        message: message.map(str::to_owned),
        last_transition_time: since.or(Some(Time(now))),
        ..PodCondition::default()
    });
}

fn draft(pod: &Pod, warning: bool, reason: &str, message: String) -> EventDraft {
    let meta = &pod.metadata;
    let about = Key::new(Kind::Pod, meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let uid = meta.uid.clone().unwrap_or_default();
    EventDraft::new("default-scheduler", about, uid, warning, reason, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn on<'a>(facts: &'a HostFacts, devices: &'a Numbers) -> Host<'a> {
        Host { facts, devices }
    }

    fn node() -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n"},
            "spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}},
        }))
        .unwrap()
    }

    fn pod(owners: serde_json::Value, cpu: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "default", "uid": "u", "ownerReferences": owners},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        }))
        .unwrap()
    }

    fn scheduled(pod: &Pod) -> (String, String) {
        let conditions = pod.status.as_ref().unwrap().conditions.as_ref().unwrap();
        let condition = conditions.iter().find(|c| c.type_ == "PodScheduled").unwrap();
        (condition.status.clone(), condition.message.clone().unwrap_or_default())
    }

    #[test]
    fn a_taint_keeps_a_pod_waiting_but_not_a_static_one() {
        let now = Timestamp::UNIX_EPOCH;
        let plain = bind(&pod(json!([]), "1"), &[], &node(), None, now);
        assert!(!plain.bound);
        assert_eq!(scheduled(&plain.pod.unwrap()).1, "0/1 nodes are available: 1 node(s) had untolerated taint {k: v}.");
        let fixed = bind(
            &pod(json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "t", "controller": true}]), "1"),
            &[],
            &node(),
            None,
            now,
        );
        assert!(fixed.bound);
        assert_eq!(fixed.pod.unwrap().spec.unwrap().node_name.as_deref(), Some("n"));
    }

    #[test]
    fn a_static_pod_that_waits_is_not_given_to_a_cordoned_node() {
        let mut node = node();
        node.spec.get_or_insert_default().unschedulable = Some(true);
        let waiting = pod(json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "t", "controller": true}]), "1");
        let outcome = bind(&waiting, &[], &node, None, Timestamp::UNIX_EPOCH);
        assert!(!outcome.bound);
        assert_eq!(scheduled(&outcome.pod.unwrap()).1, "0/1 nodes are available: 1 node(s) were unschedulable.");
    }

    #[test]
    fn created_pods_are_bound_as_far_as_there_is_room_for_all_of_them() {
        let owned = || json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "t", "controller": true}]);
        let named = |cpu: &str| {
            let mut pod = pod(owned(), cpu);
            (pod.metadata.name, pod.metadata.uid) = (Some(cpu.to_owned()), Some(cpu.to_owned()));
            Object::from(pod)
        };
        let create = ["600m", "300m", "200m"].map(named).to_vec();
        let (mut plan, mut others) = (Plan { create, ..Plan::default() }, Vec::new());
        place(&mut plan, &mut others, &node(), None, Timestamp::UNIX_EPOCH);
        let bound: Vec<bool> = plan.create.iter().map(|o| o.as_pod().unwrap().spec.as_ref().unwrap().node_name.is_some()).collect();
        assert_eq!(bound, [true, true, false]);
        assert_eq!(plan.events.iter().map(|e| e.reason.as_str()).collect::<Vec<_>>(), ["Scheduled", "Scheduled"]);
        assert_eq!(plan.create[2], named("200m"), "it waits as it was created");
        assert_eq!(others.len(), 2);
    }

    #[test]
    fn a_daemon_pod_is_rejected_under_disk_pressure_and_a_static_one_is_not() {
        let condition = json!({"type": "DiskPressure", "status": "True"});
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": [condition]}})).unwrap();
        let rejected = bind(&pod(json!([]), "1"), &[], &node, None, Timestamp::UNIX_EPOCH);
        let status = rejected.pod.unwrap().status.unwrap();
        assert_eq!((rejected.bound, status.phase.as_deref(), status.reason.as_deref()), (false, Some("Failed"), Some("Evicted")));
        assert_eq!(status.message.as_deref(), Some("Pod was rejected: The node had condition: [DiskPressure]. "));
        assert_eq!(rejected.events.last().unwrap().message, "The node had condition: [DiskPressure]. ");
        let fixed = pod(json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "t", "controller": true}]), "1");
        assert!(bind(&fixed, &[], &node, None, Timestamp::UNIX_EPOCH).bound);
    }

    #[test]
    fn a_bound_pod_has_its_devices_and_the_next_waits_for_them() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "annotations": {"minik8s.io/devices": "a.com/x: [/dev/a]"}},
            "status": {"allocatable": {"cpu": "1", "pods": "9", "a.com/x": "1"}},
        }))
        .unwrap();
        let pod = |name: &str| -> Pod {
            let container = json!({"name": "c", "resources": {"limits": {"a.com/x": "1"}}});
            serde_json::from_value(json!({"metadata": {"name": name, "uid": name}, "spec": {"containers": [container]}})).unwrap()
        };
        let now = Timestamp::UNIX_EPOCH;
        let first = bind(&pod("1"), &[], &node, None, now).pod.unwrap();
        assert_eq!(
            first.metadata.annotations.as_ref().unwrap()["minik8s.io/assigned-devices"],
            r#"{"c":{"a.com/x":[{"devices":[{"path":"/dev/a"}]}]}}"#
        );
        let first = [Arc::new(first.into())];
        let second = bind(&pod("2"), &first, &node, None, now);
        assert!(!second.bound);
        assert_eq!(scheduled(&second.pod.unwrap()).1, "0/1 nodes are available: 1 Insufficient a.com/x.");
        // Two are declared, but they are one: the pod waits, as it would for any other.
        let twice: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "annotations": {"minik8s.io/devices": "a.com/x: [/dev/a, /dev/by-id/a]"}},
            "status": {"allocatable": {"cpu": "1", "pods": "9", "a.com/x": "2"}},
        }))
        .unwrap();
        let numbers = ["/dev/a", "/dev/by-id/a"].map(|path| (path.to_owned(), "c 1:2".to_owned())).into();
        let second = bind(&pod("2"), &first, &twice, Some(on(&HostFacts::for_tests(), &numbers)), now);
        assert!(!second.bound);
        let message = "0/1 nodes are available: 1 Insufficient a.com/x (named twice: /dev/by-id/a is /dev/a).";
        assert_eq!(scheduled(&second.pod.unwrap()).1, message);
        assert!(bind(&pod("2"), &first, &twice, Some(on(&HostFacts::for_tests(), &Numbers::new())), now).bound, "as if they were two");
        let mut unknown = pod("0");
        unknown.metadata.annotations.get_or_insert_default().insert("minik8s.io/assigned-devices".into(), "?".into());
        unknown.spec.as_mut().unwrap().containers[0].resources = None;
        let outcome = bind(&pod("3"), &[Arc::new(unknown.into())], &node, None, now);
        let status = outcome.pod.unwrap().status.unwrap();
        assert_eq!(
            (outcome.bound, status.phase.as_deref(), status.reason.as_deref()),
            (false, Some("Failed"), Some("UnexpectedAdmissionError"))
        );
    }

    #[test]
    fn a_pod_that_does_not_fit_is_told_once() {
        let now = Timestamp::UNIX_EPOCH;
        let first = bind(
            &pod(json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "t", "controller": true}]), "2"),
            &[],
            &node(),
            None,
            now,
        );
        let told = first.pod.unwrap();
        assert_eq!(scheduled(&told), ("False".to_owned(), "0/1 nodes are available: 1 Insufficient cpu.".to_owned()));
        assert_eq!(first.events[0].reason, "FailedScheduling");
        assert_eq!(bind(&told, &[], &node(), None, now), Outcome { pod: None, events: Vec::new(), bound: false });
    }

    #[test]
    fn what_the_host_cannot_enforce_ends_the_pod_and_what_it_passes_over_is_told() {
        let mut wants = pod(json!([]), "100m");
        wants.spec.as_mut().unwrap().tolerations = Some(serde_json::from_value(json!([{"operator": "Exists"}])).unwrap());
        let with = |context| {
            let mut pod = wants.clone();
            pod.spec.as_mut().unwrap().security_context = Some(serde_json::from_value(context).unwrap());
            pod
        };
        let (host, now) = (HostFacts::for_tests(), Timestamp::UNIX_EPOCH);
        let asked = with(json!({"appArmorProfile": {"type": "RuntimeDefault"}}));
        let outcome = bind(&asked, &[], &node(), Some(on(&host, &Numbers::new())), now);
        assert!(!outcome.bound, "it holds nothing of the node");
        assert_eq!(
            outcome.events.iter().map(|e| (e.reason.as_str(), e.source)).collect::<Vec<_>>(),
            [("Scheduled", "default-scheduler"), ("AppArmor", "kubelet")]
        );
        let rejected = outcome.pod.unwrap();
        let status = rejected.status.unwrap();
        assert_eq!(rejected.spec.unwrap().node_name.as_deref(), Some("n"));
        assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("AppArmor")));
        assert_eq!(status.message.as_deref(), Some("Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"));
        assert!(bind(&asked, &[], &node(), Some(on(&HostFacts { apparmor: true, ..host.clone() }, &Numbers::new())), now).bound);

        let mut plan = Plan { create: vec![asked.clone().into()], ..Plan::default() };
        place(&mut plan, &mut Vec::new(), &node(), Some(on(&host, &Numbers::new())), now);
        assert_eq!((plan.create[0].as_pod(), plan.events.len()), (Some(&asked), 0), "created as it is, and rejected when it is bound");

        let passed = bind(&with(json!({"seLinuxOptions": {"level": "s0"}})), &[], &node(), Some(on(&host, &Numbers::new())), now);
        assert!(passed.bound);
        assert_eq!(passed.events[1].reason, "SELinuxDisabled");
    }
}
