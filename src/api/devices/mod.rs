//! Which devices stand for an extended resource of a Node, and which of them a pod was given: two annotations and what is in them. Pure.
//!
//! Kubernetes has no field for either: there device plugins tell the kubelet (pkg/kubelet/cm/devicemanager), which notes in a checkpoint what
//! it handed out. Here the Node manifest tells, and the note is on the pod. A device may be named twice, such as by a link: what is which, only the host can
//! tell ([`Numbers`]).
//!
//! ```yaml
//! minik8s.io/devices: |
//!   nvidia.com/gpu:                 # a list of units; a pod that asks for 2 gets two of them
//!   - nvidia.com/gpu=0              # a device of the Container Device Interface
//!   - nvidia.com/gpu=1
//!   example.com/modem:
//!   - /dev/ttyUSB0                  # a device node, by the same path in the container
//!   - [/dev/ttyUSB1, {path: /dev/ttyUSB2, containerPath: /dev/modem, permissions: rw}]   # one unit of two
//!   devices.kubevirt.io/kvm:
//!   - {devices: [/dev/kvm], copies: 100}   # a unit that so many may have at once
//! ```

mod read;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::well_known::{ASSIGNED_DEVICES, DEVICES};

pub use read::{Wrong, is_cdi_device, is_cdi_kind, is_cdi_name, read};

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Device {
    /// A device node of the host's.
    Node(DeviceNode),
    /// `vendor.com/class=name` of the Container Device Interface.
    Cdi(String),
}

/// A device node of the host's, and what a container sees of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceNode {
    /// On the host; links are followed.
    pub path: String,
    /// In the container; `None`: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_path: Option<String>,
    /// Of `rwm`; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<String>,
}

/// What is handed out as one: 1 of the resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// All that is in it.
    pub devices: Vec<Device>,
    /// Which of several with the same devices, from 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub copy: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_zero(copy: &usize) -> bool {
    *copy == 0
}

impl Unit {
    /// What tells units of one resource apart: the devices on the host, and the copy. How a container sees them does not matter, so that a change
    /// of that hands nothing out twice.
    pub fn identity(&self) -> (Vec<String>, usize) {
        self.identity_on(&Numbers::new())
    }

    /// The same on a host: of device nodes only what they are counts, not by which path they are named. Those that are not there are what they are
    /// called.
    pub fn identity_on(&self, numbers: &Numbers) -> (Vec<String>, usize) {
        let source = |device: &Device| match device {
            Device::Node(node) => numbers.get(&node.path).unwrap_or(&node.path).clone(),
            Device::Cdi(name) => name.clone(),
        };
        let sources: BTreeSet<String> = self.devices.iter().map(source).collect();
        (sources.into_iter().collect(), self.copy)
    }

    /// The paths of its device nodes.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().filter_map(|device| match device {
            Device::Node(node) => Some(node.path.as_str()),
            Device::Cdi(_) => None,
        })
    }
}

/// Device nodes by path → what they are on the host, such as `c 10:229`: the same for all paths of one device. What is not there is not in it.
pub type Numbers = BTreeMap<String, String>;

/// Resource → its units, in the order in which they are handed out.
pub type Declared = BTreeMap<String, Vec<Unit>>;

/// Container → resource → its units.
pub type Assigned = BTreeMap<String, BTreeMap<String, Vec<Unit>>>;

/// The units of a node with these annotations. An annotation that cannot be read, which validation lets nobody write, declares none.
pub fn declared(annotations: Option<&BTreeMap<String, String>>) -> Declared {
    annotations.and_then(|a| a.get(DEVICES)).and_then(|text| read(text).ok()).unwrap_or_default()
}

/// The units that `node` declares.
pub fn of_node(node: &Node) -> Declared {
    declared(node.metadata.annotations.as_ref())
}

/// What `pod` was given; nothing if that is not noted.
///
/// # Errors
/// The note cannot be read: who holds what is not known.
pub fn of_pod(pod: &Pod) -> Result<Assigned, String> {
    let note = pod.metadata.annotations.as_ref().and_then(|a| a.get(ASSIGNED_DEVICES));
    note.map_or(Ok(Assigned::new()), |text| serde_json::from_str(text).map_err(|e| format!("annotation {ASSIGNED_DEVICES}: {e}")))
}

/// Notes on a pod what it was given; takes away what its manifest may say about that.
pub fn note(meta: &mut ObjectMeta, assigned: &Assigned) {
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(ASSIGNED_DEVICES);
    }
    if !assigned.is_empty() {
        let text = serde_json::to_string(assigned).expect("maps of texts become JSON");
        meta.annotations.get_or_insert_default().insert(ASSIGNED_DEVICES.to_owned(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_back_and_nothing_else_counts() {
        let node = DeviceNode { path: "/dev/a".into(), container_path: Some("/dev/b".into()), permissions: None };
        let units = vec![Unit { devices: vec![Device::Node(node), Device::Cdi("v.com/c=0".into())], copy: 1 }];
        let assigned = Assigned::from([("main".to_owned(), BTreeMap::from([("v.com/c".to_owned(), units)]))]);
        let mut pod = Pod::default();
        assert_eq!(of_pod(&pod), Ok(Assigned::new()));
        note(&mut pod.metadata, &assigned);
        let text = &pod.metadata.annotations.as_ref().unwrap()[ASSIGNED_DEVICES];
        assert_eq!(text, r#"{"main":{"v.com/c":[{"devices":[{"path":"/dev/a","containerPath":"/dev/b"},"v.com/c=0"],"copy":1}]}}"#);
        assert_eq!(of_pod(&pod), Ok(assigned));
        note(&mut pod.metadata, &Assigned::new());
        assert_eq!(of_pod(&pod), Ok(Assigned::new()), "what a manifest says is not the agent's note");
        pod.metadata.annotations.get_or_insert_default().insert(ASSIGNED_DEVICES.into(), "{".into());
        assert!(of_pod(&pod).unwrap_err().contains(ASSIGNED_DEVICES));
    }

    #[test]
    fn units_are_told_apart_by_what_they_are_on_the_host() {
        let units =
            &read("a.com/b: [[/dev/x, a.com/b=1], [a.com/b=1, {path: /dev/x, containerPath: /dev/y}], [/dev/x]]").unwrap()["a.com/b"];
        let sources = |i: usize| units[i].identity().0;
        assert_eq!(sources(0), ["/dev/x", "a.com/b=1"]);
        assert_eq!(sources(0), sources(1));
        assert_ne!(sources(0), sources(2));
        assert_ne!(units[0].identity(), units[1].identity(), "the second is another copy");
        let units = &read("a.com/b: [/dev/by-id/x, [/dev/y, /dev/x], /dev/gone, a.com/b=1]").unwrap()["a.com/b"];
        let numbers = ["/dev/by-id/x", "/dev/x", "/dev/y"].map(|path| (path.to_owned(), "c 1:2".to_owned())).into();
        let sources = |i: usize| units[i].identity_on(&numbers).0.join("+");
        assert_eq!([0, 1, 2, 3].map(sources), ["c 1:2", "c 1:2", "/dev/gone", "a.com/b=1"]);
        assert_eq!(units[1].paths().collect::<Vec<_>>(), ["/dev/y", "/dev/x"]);
    }
}
