//! One spec file: its fields, and what makes it valid (pkg/cdi/{spec,device,container-edits}.go Validate, pkg/parser).

use serde::Deserialize;

use super::version;
use crate::api::devices::{is_cdi_device, is_cdi_kind};

/// A whole file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    pub(super) cdi_version: String,
    /// `vendor.com/class`.
    pub(super) kind: String,
    #[serde(default)]
    pub(super) annotations: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub(super) devices: Vec<Device>,
    #[serde(default)]
    pub(super) container_edits: Edits,
}

/// One device of a file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    pub(super) name: String,
    #[serde(default)]
    pub(super) annotations: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub(super) container_edits: Edits,
}

/// What is done to a container's OCI spec.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Edits {
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Device nodes.
    pub device_nodes: Vec<DeviceNode>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Programs of the host's that the OCI runtime runs.
    pub hooks: Vec<Hook>,
    /// Groups of the process; 0 is passed over.
    #[serde(rename = "additionalGids", alias = "additionalGIDs")]
    pub additional_gids: Vec<u32>,
    pub(super) intel_rdt: Option<serde_json::Value>,
    pub(super) net_devices: Option<serde_json::Value>,
}

/// A device node in the container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeviceNode {
    /// In the container.
    pub path: String,
    /// On the host; `None`: the same.
    pub host_path: Option<String>,
    /// `b`, `c`, `u` or `p`; "": as on the host.
    #[serde(rename = "type")]
    pub kind: String,
    /// 0: as on the host.
    pub major: i64,
    /// Counts with `major`.
    pub minor: i64,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// Of `rwm`; "": all.
    pub permissions: String,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// A mount in the container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mount {
    /// On the host.
    pub host_path: String,
    /// In the container.
    pub container_path: String,
    /// The file system's.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Of mount(8).
    pub options: Vec<String>,
}

/// A program of the host's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Hook {
    /// When it is run: one of [`HOOKS`].
    pub hook_name: String,
    /// From the root.
    pub path: String,
    /// With the program's name first.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<i64>,
}

const HOOKS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

impl Spec {
    /// The file, if all of it is as CDI wants it. JSON is YAML, too. Errors: the first thing wrong.
    pub(super) fn read(text: &str) -> Result<Spec, String> {
        let options = serde_saphyr::options! { strict_booleans: true, legacy_octal_numbers: true };
        let spec: Spec = serde_saphyr::from_str_with_options(text, options).map_err(|e| first_line(&e.to_string()))?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), String> {
        version::check(self)?;
        let kind = self.kind.split_once('/').filter(|(vendor, class)| is_cdi_kind(vendor) && is_cdi_kind(class));
        if kind.is_none() {
            return Err(format!("invalid kind {:?}: must be vendor.com/class", self.kind));
        }
        self.container_edits.check()?;
        if self.devices.is_empty() {
            return Err("invalid spec, no devices".to_owned());
        }
        for (i, device) in self.devices.iter().enumerate() {
            let of_device = |why| format!("invalid device {:?}: {why}", device.name);
            if !is_cdi_device(&device.name) {
                return Err(of_device("invalid name".to_owned()));
            }
            if self.devices[..i].iter().any(|other| other.name == device.name) {
                return Err(format!("invalid spec, multiple device {:?}", device.name));
            }
            if device.container_edits == Edits::default() {
                return Err(of_device("empty device edits".to_owned()));
            }
            device.container_edits.check().map_err(of_device)?;
        }
        Ok(())
    }
}

impl Edits {
    /// Adds what another has.
    pub fn append(&mut self, other: &Edits) {
        self.env.extend(other.env.iter().cloned());
        self.device_nodes.extend(other.device_nodes.iter().cloned());
        self.mounts.extend(other.mounts.iter().cloned());
        self.hooks.extend(other.hooks.iter().cloned());
        self.additional_gids.extend(&other.additional_gids);
    }

    /// The first field that is understood and not done.
    pub(super) fn unsupported(&self) -> Option<&'static str> {
        [("intelRdt", self.intel_rdt.is_some()), ("netDevices", self.net_devices.is_some())]
            .into_iter()
            .find(|(_, set)| *set)
            .map(|(name, _)| name)
    }

    fn check(&self) -> Result<(), String> {
        check_env(&self.env)?;
        for node in &self.device_nodes {
            let wrong = |what: &str| Err(format!("device {:?}: {what}", node.path));
            if !is_absolute(&node.path) || node.host_path.as_ref().is_some_and(|path| !is_absolute(path)) {
                return wrong("invalid path: must be one from the root");
            }
            if !["", "b", "c", "u", "p"].contains(&node.kind.as_str()) {
                return wrong(&format!("invalid type {:?}", node.kind));
            }
            if !node.permissions.bytes().all(|b| b"rwm".contains(&b)) {
                return wrong(&format!("invalid permissions {:?}", node.permissions));
            }
        }
        if let Some(mount) = self.mounts.iter().find(|m| m.host_path.is_empty() || !is_absolute(&m.container_path)) {
            return Err(format!("invalid mount of {:?} at {:?}: both must be given", mount.host_path, mount.container_path));
        }
        for hook in &self.hooks {
            if !HOOKS.contains(&hook.hook_name.as_str()) {
                return Err(format!("invalid hook name {:?}", hook.hook_name));
            }
            if !is_absolute(&hook.path) || hook.timeout.is_some_and(|seconds| seconds <= 0) {
                return Err(format!("invalid hook {:?}: its path must be one from the root, its timeout above 0", hook.hook_name));
            }
            check_env(&hook.env)?;
        }
        Ok(())
    }
}

fn check_env(env: &[String]) -> Result<(), String> {
    let good = |text: &str| text.split_once('=').is_some_and(|(name, _)| !name.is_empty());
    env.iter().find(|text| !good(text)).map_or(Ok(()), |text| Err(format!("invalid environment variable {text:?}")))
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/')
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(version: &str, edits: &str) -> Result<Spec, String> {
        Spec::read(&format!("cdiVersion: {version}\nkind: v.com/x\ndevices: [{{name: a, containerEdits: {edits}}}]"))
    }

    #[test]
    fn every_field_is_read() {
        let edits = "{env: [A=1], deviceNodes: [{path: /dev/x, hostPath: /dev/y, type: c, major: 1, minor: 3, fileMode: 0640, permissions: rw, uid: 1, gid: 2}],
            mounts: [{hostPath: /a, containerPath: /b, type: none, options: [ro, bind]}],
            hooks: [{hookName: createContainer, path: /bin/h, args: [h, x], env: [B=2], timeout: 5}], additionalGids: [44]}";
        let spec = with("0.7.0", edits).unwrap();
        let edits = &spec.devices[0].container_edits;
        let node = &edits.device_nodes[0];
        assert_eq!(
            (node.host_path.as_deref(), node.kind.as_str(), node.major, node.minor, node.file_mode),
            (Some("/dev/y"), "c", 1, 3, Some(0o640))
        );
        assert_eq!((node.permissions.as_str(), node.uid, node.gid), ("rw", Some(1), Some(2)));
        assert_eq!((edits.mounts[0].kind.as_deref(), edits.mounts[0].options.len()), (Some("none"), 2));
        assert_eq!((edits.hooks[0].args.len(), edits.hooks[0].timeout), (2, Some(5)));
        assert_eq!(edits.additional_gids, [44]);
        assert_eq!(with("0.7.0", "{additionalGIDs: [1]}").unwrap().devices[0].container_edits.additional_gids, [1]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |edits: &str| with("1.0.0", edits).unwrap_err();
        for (edits, why) in [
            ("{}", "invalid device \"a\": empty device edits"),
            ("{env: [=1]}", "invalid device \"a\": invalid environment variable \"=1\""),
            ("{deviceNodes: [{path: x}]}", "invalid device \"a\": device \"x\": invalid path: must be one from the root"),
            ("{deviceNodes: [{path: /x, type: z}]}", "invalid device \"a\": device \"/x\": invalid type \"z\""),
            ("{deviceNodes: [{path: /x, permissions: x}]}", "invalid device \"a\": device \"/x\": invalid permissions \"x\""),
            ("{mounts: [{hostPath: /x}]}", "invalid device \"a\": invalid mount of \"/x\" at \"\": both must be given"),
            ("{hooks: [{hookName: h, path: /x}]}", "invalid device \"a\": invalid hook name \"h\""),
        ] {
            assert_eq!(wrong(edits), why);
        }
        assert!(wrong("{hooks: [{hookName: poststop, path: x}]}").contains("invalid hook"));
        assert!(wrong("{envs: [A=1]}").contains("envs"), "unknown fields are errors, as for CDI's own library");
        let read = |text: &str| Spec::read(text).unwrap_err();
        assert_eq!(read("{cdiVersion: 0.3.0, kind: v.com/x}"), "invalid spec, no devices");
        assert_eq!(read("{cdiVersion: 0.3.0, kind: x}"), "invalid kind \"x\": must be vendor.com/class");
        let twice = "{cdiVersion: 0.3.0, kind: v.com/x, devices: [{name: a, containerEdits: {env: [A=1]}}, {name: a, containerEdits: {env: [A=1]}}]}";
        assert_eq!(read(twice), "invalid spec, multiple device \"a\"");
        assert!(!read("[").is_empty());
    }
}
