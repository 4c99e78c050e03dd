//! The Container Device Interface: spec files → the edits that a device's name stands for. Pure.
//!
//! After cncf-tags/container-device-interface (SPEC.md, specs-go, pkg/cdi/{cache,spec,container-edits}.go). Of one device in several directories
//! the last directory's counts; in two files of one directory none does. A file that cannot be used hides nothing but its own devices, and is named
//! where one is missing. `intelRdt` and `netDevices` are refused by name.

mod file;
mod version;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use file::{DeviceNode, Edits, Hook, Mount};

/// A spec file as it was found.
#[derive(Clone, Debug)]
pub struct SpecFile {
    /// Where.
    pub path: PathBuf,
    /// Which of the directories it is in, from 0: later ones count more.
    pub directory: usize,
    /// What is in it, or why it cannot be read.
    pub text: Result<String, String>,
}

/// Why devices cannot be had. Display is the message of the waiting reason `CreateContainerError`, in containerd's words where it has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CdiError {
    /// No file, or two of them, or only a broken one has these.
    #[error("CDI device injection failed: unresolvable CDI devices {}{}", names.join(", "), because(why))]
    Unresolvable {
        /// The devices.
        names: Vec<String>,
        /// What is wrong with files that might have them.
        why: Vec<String>,
    },
    /// A device asks for something that this agent does not do.
    #[error("CDI device injection failed: device {device:?} of {}: {field} is not supported; take it out of the file", path.display())]
    Refused {
        /// The device.
        device: String,
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
    },
}

fn because(why: &[String]) -> String {
    if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) }
}

/// A device, and the file that has it.
struct Found<'a> {
    spec: &'a file::Spec,
    device: &'a file::Device,
    path: &'a Path,
    directory: usize,
    /// Another file of the same directory has it, too.
    rival: Option<&'a Path>,
}

/// The edits of these devices, in their order, each file's own edits once before the first of its devices.
///
/// # Errors
/// See [`CdiError`].
pub fn edits(files: &[SpecFile], names: &[&str]) -> Result<Edits, CdiError> {
    let mut wrong = Vec::new();
    let specs: Vec<(&SpecFile, file::Spec)> = files.iter().filter_map(|f| Some((f, usable(f, &mut wrong)?))).collect();
    let devices = index(&specs);
    let missing: Vec<String> =
        names.iter().filter(|n| devices.get(**n).is_none_or(|d| d.rival.is_some())).map(|n| (*n).to_owned()).collect();
    if !missing.is_empty() {
        let rivals = missing.iter().filter_map(|name| {
            let found = devices.get(name.as_str())?;
            Some(format!("conflicting device {name:?} (specs {:?}, {:?})", found.rival?, found.path))
        });
        let why = rivals.chain(wrong).collect();
        return Err(CdiError::Unresolvable { names: missing, why });
    }
    let mut all = Edits::default();
    let mut begun: Vec<&Path> = Vec::new();
    for name in names {
        let found = &devices[*name];
        if !begun.contains(&found.path) {
            begun.push(found.path);
            all.append(&found.spec.container_edits);
        }
        all.append(&found.device.container_edits);
        if let Some(field) = found.spec.container_edits.unsupported().or_else(|| found.device.container_edits.unsupported()) {
            return Err(CdiError::Refused { device: (*name).to_owned(), path: found.path.to_owned(), field });
        }
    }
    Ok(all)
}

fn usable(found: &SpecFile, wrong: &mut Vec<String>) -> Option<file::Spec> {
    let read = found.text.as_ref().map_err(Clone::clone).and_then(|text| file::Spec::read(text));
    read.map_err(|why| wrong.push(format!("failed to load CDI Spec {:?}: {why}", found.path))).ok()
}

/// `vendor/class=name` → the device that counts.
fn index<'a>(specs: &'a [(&'a SpecFile, file::Spec)]) -> BTreeMap<String, Found<'a>> {
    let mut devices: BTreeMap<String, Found> = BTreeMap::new();
    for (found, spec) in specs {
        for device in &spec.devices {
            let name = format!("{}={}", spec.kind, device.name);
            let new = Found { spec, device, path: &found.path, directory: found.directory, rival: None };
            match devices.get_mut(&name) {
                Some(known) if known.directory == new.directory => known.rival = Some(new.path),
                Some(known) if known.directory > new.directory => {}
                _ => drop(devices.insert(name, new)),
            }
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(directory: usize, path: &str, text: &str) -> SpecFile {
        SpecFile { path: path.into(), directory, text: Ok(text.to_owned()) }
    }

    const GPU: &str = r#"{"cdiVersion": "0.5.0", "kind": "v.com/gpu", "containerEdits": {"env": ["ALL=1"]},
        "devices": [{"name": "0", "containerEdits": {"env": ["GPU=0"]}}, {"name": "1", "containerEdits": {"env": ["GPU=1"]}}]}"#;
    const YAML: &str = "cdiVersion: 0.3.0\nkind: v.com/x\ndevices:\n- name: a\n  containerEdits:\n    env: [X=a]\n";

    fn env(files: &[SpecFile], names: &[&str]) -> Result<Vec<String>, String> {
        edits(files, names).map(|e| e.env).map_err(|e| e.to_string())
    }

    #[test]
    fn a_device_is_its_own_edits_and_its_file_s_once() {
        let files = [at(0, "/etc/cdi/gpu.json", GPU), at(0, "/etc/cdi/x.yaml", YAML)];
        assert_eq!(env(&files, &["v.com/gpu=1", "v.com/x=a", "v.com/gpu=0"]).unwrap(), ["ALL=1", "GPU=1", "X=a", "GPU=0"]);
    }

    #[test]
    fn the_last_directory_counts_and_two_files_of_one_are_a_conflict() {
        let newer = YAML.replace("X=a", "X=b");
        let files = [at(0, "/etc/cdi/x.yaml", YAML), at(1, "/run/cdi/x.yaml", &newer)];
        assert_eq!(env(&files, &["v.com/x=a"]).unwrap(), ["X=b"]);
        let files = [at(0, "/etc/cdi/x.yaml", YAML), at(0, "/etc/cdi/y.yaml", &newer)];
        assert_eq!(
            env(&files, &["v.com/x=a"]).unwrap_err(),
            "CDI device injection failed: unresolvable CDI devices v.com/x=a (conflicting device \"v.com/x=a\" (specs \"/etc/cdi/y.yaml\", \"/etc/cdi/x.yaml\"))"
        );
        let files = [files[0].clone(), files[1].clone(), at(1, "/run/cdi/x.yaml", &newer)];
        assert_eq!(env(&files, &["v.com/x=a"]).unwrap(), ["X=b"], "a later directory settles it");
    }

    #[test]
    fn what_is_missing_is_named_with_the_files_that_may_be_why() {
        let unread = SpecFile { path: "/etc/cdi/b.json".into(), directory: 0, text: Err("Permission denied".to_owned()) };
        let files = [at(0, "/etc/cdi/a.json", "{"), unread, at(0, "/etc/cdi/x.yaml", YAML)];
        assert_eq!(env(&files, &["v.com/x=a"]).unwrap(), ["X=a"], "a broken file hides its own devices only");
        let error = env(&files, &["v.com/x=a", "v.com/x=b", "w.com/y=c"]).unwrap_err();
        assert!(
            error.starts_with(
                "CDI device injection failed: unresolvable CDI devices v.com/x=b, w.com/y=c (failed to load CDI Spec \"/etc/cdi/a.json\": "
            ),
            "{error}"
        );
        assert!(error.ends_with("; failed to load CDI Spec \"/etc/cdi/b.json\": Permission denied)"), "{error}");
        assert_eq!(env(&[], &["v.com/x=b"]).unwrap_err(), "CDI device injection failed: unresolvable CDI devices v.com/x=b");
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        let rdt = YAML.replace("0.3.0", "0.7.0").replace("env: [X=a]", "intelRdt: {closID: c}");
        let error = env(&[at(0, "/etc/cdi/x.yaml", &rdt)], &["v.com/x=a"]).unwrap_err();
        assert_eq!(
            error,
            "CDI device injection failed: device \"v.com/x=a\" of /etc/cdi/x.yaml: intelRdt is not supported; take it out of the file"
        );
        let net = YAML.replace("0.3.0", "1.1.0").replace("env: [X=a]", "netDevices: [{hostInterfaceName: a, name: b}]");
        assert!(env(&[at(0, "/etc/cdi/x.yaml", &net)], &["v.com/x=a"]).unwrap_err().contains("netDevices is not supported"));
    }
}
