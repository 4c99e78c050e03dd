//! The text of the Node's annotation → its units, or everything that is wrong with it.

use std::collections::BTreeMap;

use super::{Declared, Device, DeviceNode, Unit};
use crate::api::suggest;
use crate::api::validation::is_extended_resource;
use crate::api::yaml::resolve::Resolved;
use crate::api::yaml::{self, Node, Place, Value};

/// The most units of a node, copies included.
const MOST_UNITS: usize = 10_000;
/// The most devices of a unit.
const MOST_DEVICES: usize = 256;
const OF_UNITS: [&str; 2] = ["devices", "copies"];
const OF_NODES: [&str; 3] = ["path", "containerPath", "permissions"];

/// Something wrong in the annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where: `example.com/dongle[0].permissions`; "" for the whole.
    pub at: String,
    /// What, and what to write.
    pub message: String,
}

/// The units that an annotation declares. Errors: all that is wrong.
pub fn read(text: &str) -> Result<Declared, Vec<Wrong>> {
    let whole = |message: &str| vec![Wrong { at: String::new(), message: message.to_owned() }];
    if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        return Err(whole("holds control characters"));
    }
    let mut documents = yaml::parse(text, Place { line: 1, column: 1, offset: 0 });
    let document = match (documents.pop(), documents.is_empty()) {
        (None, _) => return Ok(Declared::new()),
        (Some(document), true) => document,
        (Some(_), false) => return Err(whole("must be one document")),
    };
    if let Some(fault) = document.faults.first() {
        return Err(whole(&format!("line {}: {}", fault.place.line, fault.message)));
    }
    let mut reader = Reader::default();
    let declared = document.root.map(|root| reader.resources(&root)).unwrap_or_default();
    if reader.wrong.is_empty() { Ok(declared) } else { Err(reader.wrong) }
}

#[derive(Default)]
struct Reader {
    wrong: Vec<Wrong>,
    units: usize,
}

impl Reader {
    fn resources(&mut self, root: &Node) -> Declared {
        let Value::Mapping(pairs) = &root.value else {
            self.say("", "must map extended resources to lists of devices, such as {example.com/dongle: [/dev/dongle0]}");
            return Declared::new();
        };
        let mut declared = Declared::new();
        for pair in pairs {
            if !is_extended_resource(&pair.key) {
                self.say(&pair.key, "must be the name of an extended resource, such as example.com/dongle");
            }
            let Value::Sequence(items) = &pair.value.value else {
                self.say(&pair.key, "must be a list of units");
                continue;
            };
            let (mut units, mut known) = (Vec::new(), BTreeMap::new());
            for (i, item) in items.iter().enumerate() {
                let (devices, copies) = self.unit(&format!("{}[{i}]", pair.key), item);
                let sources = Unit { devices: devices.clone(), copy: 0 }.identity().0;
                let next: &mut usize = known.entry(sources).or_default();
                units.extend((*next..*next + copies).map(|copy| Unit { devices: devices.clone(), copy }));
                *next += copies;
            }
            declared.insert(pair.key.clone(), units);
        }
        declared
    }

    /// A unit's devices, and how often it is there.
    fn unit(&mut self, at: &str, node: &Node) -> (Vec<Device>, usize) {
        let (devices, copies) = match &node.value {
            Value::Mapping(pairs) if node.get("path").is_none() => {
                pairs.iter().for_each(|pair| self.known(at, &pair.key, &OF_UNITS));
                let devices = node.get("devices").map(|devices| self.devices(&format!("{at}.devices"), devices));
                (devices.unwrap_or_default(), self.copies(at, node.get("copies")))
            }
            Value::Sequence(_) => (self.devices(at, node), 1),
            _ => (self.device(at, node).into_iter().collect(), 1),
        };
        if devices.is_empty() && self.wrong.is_empty() {
            self.say(
                at,
                "must have a device: a path such as /dev/dongle0, a CDI device such as vendor.com/class=name, or {devices: [...]}",
            );
        }
        self.units = self.units.saturating_add(copies);
        if self.units > MOST_UNITS {
            self.say(at, &format!("is too much: a node has at most {MOST_UNITS} units"));
            return (devices, 0);
        }
        (devices, copies)
    }

    fn copies(&mut self, at: &str, node: Option<&Node>) -> usize {
        match node.map(Node::resolved) {
            None => 1,
            Some(Some(Resolved::Int(n))) if n > 0 => usize::try_from(n).unwrap_or(usize::MAX),
            _ => {
                self.say(&format!("{at}.copies"), "must be a whole number above 0");
                1
            }
        }
    }

    fn devices(&mut self, at: &str, node: &Node) -> Vec<Device> {
        let Value::Sequence(items) = &node.value else {
            self.say(at, "must be a list of devices");
            return Vec::new();
        };
        if items.len() > MOST_DEVICES {
            self.say(at, &format!("is too much: a unit has at most {MOST_DEVICES} devices"));
            return Vec::new();
        }
        items.iter().enumerate().filter_map(|(i, item)| self.device(&format!("{at}[{i}]"), item)).collect()
    }

    fn device(&mut self, at: &str, node: &Node) -> Option<Device> {
        if let Value::Mapping(pairs) = &node.value {
            pairs.iter().for_each(|pair| self.known(at, &pair.key, &OF_NODES));
            let mut text = |name: &str| {
                let found = node.get(name)?;
                found.as_str().map(str::to_owned).or_else(|| {
                    self.say(&format!("{at}.{name}"), "must be a text");
                    None
                })
            };
            let (path, container_path, permissions) = (text("path"), text("containerPath"), text("permissions"));
            return self.node(at, DeviceNode { path: path.unwrap_or_default(), container_path, permissions });
        }
        match node.as_str() {
            Some(path) if path.starts_with('/') => {
                self.node(at, DeviceNode { path: path.to_owned(), container_path: None, permissions: None })
            }
            Some(name) if is_cdi_name(name) => Some(Device::Cdi(name.to_owned())),
            _ => {
                self.say(at, "must be a path such as /dev/dongle0, or a CDI device such as vendor.com/class=name");
                None
            }
        }
    }

    fn node(&mut self, at: &str, node: DeviceNode) -> Option<Device> {
        let before = self.wrong.len();
        for (name, path) in [("path", Some(&node.path)), ("containerPath", node.container_path.as_ref())] {
            if path.is_some_and(|path| !path.starts_with('/') || path.split('/').any(|part| part == "..")) {
                self.say(&format!("{at}.{name}"), "must be a path from the root, without '..'");
            }
        }
        let plain = format!("/{}", node.path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/"));
        // One device, one name: or two units would be the same one.
        if self.wrong.len() == before && node.path != plain {
            self.say(&format!("{at}.path"), &format!("must be written {plain:?}"));
        }
        let all = |permissions: &String| !permissions.is_empty() && permissions.bytes().all(|b| b"rwm".contains(&b));
        if !node.permissions.as_ref().is_none_or(all) {
            self.say(&format!("{at}.permissions"), "must be one or more of r (read), w (write) and m (make nodes)");
        }
        (self.wrong.len() == before).then_some(Device::Node(node))
    }

    fn known(&mut self, at: &str, key: &str, names: &[&str]) {
        if names.contains(&key) {
            return;
        }
        let all = OF_UNITS.iter().chain(&OF_NODES).copied();
        let meant = suggest::nearest(key, all).map(|name| format!(", did you mean {name:?}?")).unwrap_or_default();
        self.say(&format!("{at}.{key}"), &format!("is not known{meant}"));
    }

    fn say(&mut self, at: &str, message: &str) {
        self.wrong.push(Wrong { at: at.to_owned(), message: message.to_owned() });
    }
}

/// Whether a text is `vendor.com/class=name` (container-device-interface pkg/parser ParseQualifiedName).
pub fn is_cdi_name(text: &str) -> bool {
    let parts = text.split_once('=').and_then(|(kind, name)| Some((kind.split_once('/')?, name)));
    parts.is_some_and(|((vendor, class), name)| is_cdi_kind(vendor) && is_cdi_kind(class) && is_cdi_device(name))
}

/// A vendor or a class: begins with a letter, ends with a letter or digit.
pub fn is_cdi_kind(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && between(text, "_-.")
}

/// A device's own name.
pub fn is_cdi_device(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && between(text, "_-.:")
}

fn between(text: &str, marks: &str) -> bool {
    text.len() <= 253
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<String> {
        read(text).unwrap_err().into_iter().map(|w| format!("{}: {}", w.at, w.message)).collect()
    }

    #[test]
    fn units_in_all_their_forms() {
        let text = "
example.com/dongle:
- /dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0
- {path: /dev/b, containerPath: /dev/c, permissions: rw}
- [/dev/d, {path: /dev/e}]
nvidia.com/gpu: [nvidia.com/gpu=0, nvidia.com/gpu=GPU-1:2]
devices.kubevirt.io/kvm: [{devices: [/dev/kvm], copies: 3}]
example.com/none: []
";
        let declared = read(text).unwrap();
        let node = |path: &str| Device::Node(DeviceNode { path: path.into(), container_path: None, permissions: None });
        let dongles = &declared["example.com/dongle"];
        let of = |units: &[Unit], i: usize| units[i].devices.clone();
        assert_eq!(of(dongles, 0), [node("/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0")]);
        let mapped = DeviceNode { path: "/dev/b".into(), container_path: Some("/dev/c".into()), permissions: Some("rw".into()) };
        assert_eq!(of(dongles, 1), [Device::Node(mapped)]);
        assert_eq!(of(dongles, 2), [node("/dev/d"), node("/dev/e")]);
        assert_eq!(of(&declared["nvidia.com/gpu"], 1), [Device::Cdi("nvidia.com/gpu=GPU-1:2".into())]);
        let copies = declared["devices.kubevirt.io/kvm"].iter().map(|unit| (unit.devices.as_slice(), unit.copy)).collect::<Vec<_>>();
        let kvm = [node("/dev/kvm")];
        assert_eq!(copies, [(&kvm[..], 0), (&kvm, 1), (&kvm, 2)]);
        assert_eq!((declared["example.com/none"].len(), read("").unwrap().len(), read(" ~ ").unwrap().len()), (0, 0, 0));
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_place() {
        let text = "
cpu: [/dev/a]
a.com/x: /dev/a
a.com/y: [dev/a, {path: dev/b, containerPath: /dev/../c, permissions: rx}, {pth: /dev/a}, {path: /dev/a, permission: r}, {devices: /dev/a, copies: 0}]
";
        assert_eq!(
            wrong(text),
            [
                "cpu: must be the name of an extended resource, such as example.com/dongle",
                "a.com/x: must be a list of units",
                "a.com/y[0]: must be a path such as /dev/dongle0, or a CDI device such as vendor.com/class=name",
                "a.com/y[1].path: must be a path from the root, without '..'",
                "a.com/y[1].containerPath: must be a path from the root, without '..'",
                "a.com/y[1].permissions: must be one or more of r (read), w (write) and m (make nodes)",
                "a.com/y[2].pth: is not known, did you mean \"path\"?",
                "a.com/y[3].permission: is not known, did you mean \"permissions\"?",
                "a.com/y[4].devices: must be a list of devices",
                "a.com/y[4].copies: must be a whole number above 0",
            ]
        );
        for (path, plain) in [("/dev//a", "/dev/a"), ("/dev/./a", "/dev/a"), ("/dev/a/", "/dev/a"), ("//dev/a/.", "/dev/a")] {
            let told = [format!("a.com/x[1].path: must be written {plain:?}")];
            assert_eq!(wrong(&format!("a.com/x: [/dev/a, {path}]")), told);
            assert_eq!(wrong(&format!("a.com/x: [/dev/a, {{path: {path}}}]")), told);
        }
        assert_eq!(wrong("a.com/x: [[]]").len(), 1);
        assert_eq!(wrong("a.com/x: [{devices: [/dev/a], copies: 10001}]"), ["a.com/x[0]: is too much: a node has at most 10000 units"]);
        assert_eq!(wrong("a.com/x: [/dev/a"), [": line 1: invalid YAML: the [ is never closed"]);
        assert_eq!(wrong("a: 1\n---\nb: 2"), [": must be one document"]);
        assert_eq!(wrong("- a")[0].split(", ").next(), Some(": must map extended resources to lists of devices"));
        assert_eq!(wrong("a\u{1}"), [": holds control characters"]);
    }

    #[test]
    fn names_of_the_container_device_interface() {
        for good in ["vendor.com/class=name", "nvidia.com/gpu=0", "a/b=c", "v.com/c.d_e-f=x:y.z"] {
            assert!(is_cdi_name(good), "{good}");
        }
        for bad in ["", "vendor.com", "vendor.com/class", "=x", "a/b=", "a/=c", "/b=c", "1/b=c", "a/b=c-", "a/b/c=d", "a/b=c d"] {
            assert!(!is_cdi_name(bad), "{bad}");
        }
    }
}
