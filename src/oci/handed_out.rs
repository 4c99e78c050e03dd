//! The devices that a container was given → its OCI spec: device nodes, rights in the devices cgroup, and what CDI's edits ask for. Pure.
//!
//! After containerd's WithDevices and WithCDI (internal/cri/opts, pkg/oci/spec_opts.go) and container-device-interface
//! pkg/cdi/container-edits{,_unix}.go (Apply, fillMissingInfo). Left to others: reading CDI's files and looking at the host's nodes (`host::devices`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Hook, HookBuilder, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType as Type, LinuxNamespaceType, MountBuilder, Spec,
};

use super::cdi::{self, CdiError, Edits, SpecFile};
use super::devices::rule;
use crate::api::devices::{Device, DeviceNode};
use crate::api::user_namespace::IdRange;

/// The host's device nodes by path: each with its path on the host, or why there is none.
pub type OnHost = BTreeMap<String, Result<LinuxDevice, String>>;

/// What a container was given, looked up.
#[derive(Debug)]
pub struct HandedOut<'a> {
    nodes: Vec<&'a DeviceNode>,
    edits: Edits,
}

/// Whether CDI's files are needed for these devices.
pub fn wants_cdi(devices: &[Device]) -> bool {
    devices.iter().any(|device| matches!(device, Device::Cdi(_)))
}

impl<'a> HandedOut<'a> {
    /// Looks the devices up in CDI's `files`. Errors: see [`CdiError`].
    pub fn new(devices: &'a [Device], files: &[SpecFile]) -> Result<HandedOut<'a>, CdiError> {
        let (mut nodes, mut names): (Vec<&DeviceNode>, Vec<&str>) = (Vec::new(), Vec::new());
        for device in devices {
            match device {
                Device::Node(node) => nodes.push(node),
                // Two units may share a device.
                Device::Cdi(name) if names.contains(&name.as_str()) => {}
                Device::Cdi(name) => names.push(name),
            }
        }
        Ok(HandedOut { nodes, edits: cdi::edits(files, &names)? })
    }

    /// Which of the host's device nodes must be known to [`Self::apply`].
    pub fn paths(&self) -> Vec<&str> {
        let own = self.nodes.iter().map(|node| node.path.as_str());
        own.chain(self.edits.device_nodes.iter().filter(|node| !is_complete(node)).map(host_path)).collect()
    }

    /// Brings the devices into `spec`. Errors: a node that the host does not have, in words for the container's status.
    pub fn apply(&self, spec: &mut Spec, on_host: &OnHost) -> Result<(), String> {
        if has_own_users(spec) {
            self.refuse_without_host_users()?;
        }
        for node in &self.nodes {
            let mut device = found(&node.path, on_host).map_err(|why| format!("failed to add device {:?}: {why}", node.path))?;
            device.set_path(PathBuf::from(node.container_path.as_ref().unwrap_or(&node.path)));
            add_device(spec, device, node.permissions.as_deref());
        }
        let injected = |why| format!("CDI device injection failed: failed to inject devices: {why}");
        self.edits.env.iter().for_each(|variable| set_env(spec, variable));
        for node in &self.edits.device_nodes {
            let device = completed(node, on_host).map_err(injected)?;
            add_device(spec, owned(device, node, spec), Some(node.permissions.as_str()).filter(|p| !p.is_empty()));
        }
        add_mounts(spec, &self.edits.mounts);
        self.edits.hooks.iter().for_each(|hook| add_hook(spec, hook));
        self.edits.additional_gids.iter().filter(|gid| **gid != 0).for_each(|gid| add_group(spec, *gid));
        Ok(())
    }

    /// What cannot be had in a user namespace. There nobody may make a device node, so the runtime binds the host's file at the very path that
    /// the spec names (runc libcontainer/rootfs_linux.go, createDeviceNode); and a group must be one of the namespace's.
    fn refuse_without_host_users(&self) -> Result<(), String> {
        let own = self.nodes.iter().map(|node| (node.path.as_str(), node.container_path.as_ref().unwrap_or(&node.path)));
        let mut all = own.chain(self.edits.device_nodes.iter().map(|node| (host_path(node), &node.path)));
        let elsewhere = all.find(|(on_host, inside)| *on_host != inside.as_str());
        let gid = self.edits.additional_gids.iter().find(|gid| **gid >= IdRange::LENGTH);
        match (elsewhere, gid) {
            (Some((on_host, inside)), _) => Err(format!(
                "failed to add device {on_host:?}: with hostUsers: false a device has its host's path, and cannot be at {inside:?}"
            )),
            (None, Some(gid)) => Err(format!(
                "CDI device injection failed: with hostUsers: false there is no group {gid}: ids end at {}",
                IdRange::LENGTH - 1
            )),
            (None, None) => Ok(()),
        }
    }
}

/// Whether the container is in a user namespace of its pod's.
fn has_own_users(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    namespaces.into_iter().flatten().any(|namespace| namespace.typ() == LinuxNamespaceType::User)
}

fn found(path: &str, on_host: &OnHost) -> Result<LinuxDevice, String> {
    on_host.get(path).cloned().unwrap_or_else(|| Err("it was not looked at".to_owned()))
}

fn host_path(node: &cdi::DeviceNode) -> &str {
    node.host_path.as_deref().unwrap_or(&node.path)
}

/// Whether the file says all that there is to know of the node.
fn is_complete(node: &cdi::DeviceNode) -> bool {
    !node.kind.is_empty() && (node.major != 0 || node.kind == "p")
}

fn completed(node: &cdi::DeviceNode, on_host: &OnHost) -> Result<LinuxDevice, String> {
    let (mut kind, mut major, mut minor) = (kind_of(&node.kind), node.major, node.minor);
    if !is_complete(node) {
        let host = host_path(node);
        let there = found(host, on_host).map_err(|why| format!("failed to stat CDI host device {host:?}: {why}"))?;
        if kind.is_some_and(|kind| kind != there.typ()) {
            let (said, is) = (&node.kind, there.typ());
            return Err(format!("CDI device ({:?}, {host:?}), host type mismatch ({said}, {})", node.path, is.as_str()));
        }
        kind = Some(there.typ());
        if major == 0 {
            (major, minor) = (there.major(), there.minor());
        }
    }
    let device = LinuxDeviceBuilder::default().path(&node.path).typ(kind.unwrap_or(Type::C)).major(major).minor(minor);
    let mut device = device.build().expect("path, type and numbers are set");
    device.set_file_mode(node.file_mode);
    Ok(device)
}

fn kind_of(text: &str) -> Option<Type> {
    match text {
        "b" => Some(Type::B),
        "c" => Some(Type::C),
        "u" => Some(Type::U),
        "p" => Some(Type::P),
        _ => None,
    }
}

/// The file's owner, or the process' user unless that is root.
fn owned(mut device: LinuxDevice, node: &cdi::DeviceNode, spec: &Spec) -> LinuxDevice {
    let user = spec.process().as_ref().map(|process| process.user().clone()).unwrap_or_default();
    let unless_root = |id: u32| Some(id).filter(|id| *id > 0);
    device.set_uid(node.uid.or(unless_root(user.uid()))).set_gid(node.gid.or(unless_root(user.gid())));
    device
}

/// The node, and the right to use it. `permissions`: `None` for all.
fn add_device(spec: &mut Spec, device: LinuxDevice, permissions: Option<&str>) {
    let Some(linux) = spec.linux_mut() else { return };
    if matches!(device.typ(), Type::B | Type::C)
        && let Some(resources) = linux.resources_mut()
    {
        let mut rules = resources.devices().clone().unwrap_or_default();
        rules.push(rule(true, Some(device.typ()), Some(device.major()), Some(device.minor()), permissions.unwrap_or("rwm")));
        resources.set_devices(Some(rules));
    }
    let mut devices = linux.devices().clone().unwrap_or_default();
    devices.retain(|other| other.path() != device.path());
    devices.push(device);
    linux.set_devices(Some(devices));
}

/// `NAME=value`; a variable that is there already changes where it stands.
fn set_env(spec: &mut Spec, variable: &str) {
    let Some(process) = spec.process_mut() else { return };
    let mut env = process.env().clone().unwrap_or_default();
    let name = variable.split('=').next().unwrap_or_default();
    match env.iter_mut().find(|known| known.split('=').next() == Some(name)) {
        Some(known) => variable.clone_into(known),
        None => env.push(variable.to_owned()),
    }
    process.set_env(Some(env));
}

/// Each in place of what is mounted there; then all in order, what lies above first.
fn add_mounts(spec: &mut Spec, wanted: &[cdi::Mount]) {
    if wanted.is_empty() {
        return;
    }
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for mount in wanted {
        mounts.retain(|other| other.destination() != Path::new(&mount.container_path));
        let built =
            MountBuilder::default().source(&mount.host_path).destination(&mount.container_path).options(mount.options.clone()).build();
        let mut built = built.expect("every field of a mount has a default");
        built.set_typ(mount.kind.clone());
        mounts.push(built);
    }
    mounts.sort_by_key(|mount| (mount.destination().components().count(), mount.destination().clone()));
    spec.set_mounts(Some(mounts));
}

fn add_hook(spec: &mut Spec, wanted: &cdi::Hook) {
    let mut hook = HookBuilder::default().path(&wanted.path).build().expect("the path is set");
    let unless_empty = |texts: &Vec<String>| Some(texts.clone()).filter(|texts| !texts.is_empty());
    hook.set_args(unless_empty(&wanted.args)).set_env(unless_empty(&wanted.env)).set_timeout(wanted.timeout);
    let mut hooks = spec.hooks().clone().unwrap_or_default();
    let with = |known: &Option<Vec<Hook>>, hook: Hook| Some(known.iter().flatten().cloned().chain([hook]).collect());
    #[allow(deprecated, reason = "CDI's files still name it")]
    match wanted.hook_name.as_str() {
        "prestart" => hooks.set_prestart(with(hooks.prestart(), hook)),
        "createRuntime" => hooks.set_create_runtime(with(hooks.create_runtime(), hook)),
        "createContainer" => hooks.set_create_container(with(hooks.create_container(), hook)),
        "startContainer" => hooks.set_start_container(with(hooks.start_container(), hook)),
        "poststart" => hooks.set_poststart(with(hooks.poststart(), hook)),
        _ => hooks.set_poststop(with(hooks.poststop(), hook)),
    };
    spec.set_hooks(Some(hooks));
}

fn add_group(spec: &mut Spec, gid: u32) {
    let Some(process) = spec.process_mut() else { return };
    let mut user = process.user().clone();
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    if !groups.contains(&gid) {
        groups.push(gid);
        user.set_additional_gids(Some(groups));
        process.set_user(user);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::*;
    use crate::api::devices::read;

    fn host(nodes: &[(&str, Type, i64, i64)]) -> OnHost {
        let device = |(path, typ, major, minor): &(&str, Type, i64, i64)| {
            let device =
                LinuxDeviceBuilder::default().path(*path).typ(*typ).major(*major).minor(*minor).file_mode(0o660u32).uid(0u32).gid(44u32);
            ((*path).to_owned(), Ok(device.build().unwrap()))
        };
        nodes.iter().map(device).collect()
    }

    fn devices(list: &str) -> Vec<Device> {
        read(&format!("a.com/x: [{list}]")).unwrap().remove("a.com/x").unwrap().into_iter().flat_map(|unit| unit.devices).collect()
    }

    fn file(edits: &str) -> SpecFile {
        let text = format!("{{cdiVersion: 1.0.0, kind: v.com/x, devices: [{{name: a, containerEdits: {edits}}}]}}");
        SpecFile { path: "/etc/cdi/x.yaml".into(), directory: 0, text: Ok(text) }
    }

    /// `path type major:minor mode uid gid` of each node, and the rules after the default ones.
    fn seen(spec: &Spec) -> (Vec<String>, Vec<String>) {
        let linux = spec.linux().as_ref().unwrap();
        let id = |id: Option<u32>| id.map_or("-".to_owned(), |id| id.to_string());
        let node = |d: &LinuxDevice| {
            let mode = d.file_mode().map_or("-".to_owned(), |mode| format!("{mode:o}"));
            format!("{} {} {}:{} {mode} {} {}", d.path().display(), d.typ().as_str(), d.major(), d.minor(), id(d.uid()), id(d.gid()))
        };
        let rules = linux.resources().as_ref().unwrap().devices().iter().flatten().skip(12).map(|r| format!("{} {r}", r.allow())).collect();
        (linux.devices().iter().flatten().map(node).collect(), rules)
    }

    #[test]
    fn nodes_are_as_on_the_host_but_for_what_the_unit_says() {
        let on_host = host(&[("/dev/a", Type::C, 10, 1), ("/dev/b", Type::B, 8, 0)]);
        let devices = devices("/dev/a, {path: /dev/b, containerPath: /dev/disk, permissions: r}");
        let handed = HandedOut::new(&devices, &[]).unwrap();
        assert_eq!(handed.paths(), ["/dev/a", "/dev/b"]);
        let mut spec = Case::new("{}").build();
        handed.apply(&mut spec, &on_host).unwrap();
        let (nodes, rules) = seen(&spec);
        assert_eq!(nodes, ["/dev/a c 10:1 660 0 44", "/dev/disk b 8:0 660 0 44"]);
        assert_eq!(rules, ["true c 10:1 rwm", "true b 8:0 r"]);
        let gone = OnHost::from([("/dev/a".to_owned(), Err("No such file or directory (os error 2)".to_owned()))]);
        assert_eq!(handed.apply(&mut spec, &gone).unwrap_err(), "failed to add device \"/dev/a\": No such file or directory (os error 2)");
    }

    #[test]
    fn in_a_user_namespace_a_device_elsewhere_or_a_foreign_group_is_refused() {
        let apply = |devices: &str, edits: &str, case: &Case| {
            let devices = self::devices(devices);
            let on_host = host(&[("/dev/a", Type::C, 10, 1), ("/dev/g", Type::C, 195, 0)]);
            HandedOut::new(&devices, &[file(edits)]).unwrap().apply(&mut case.build(), &on_host)
        };
        let (hosts, own) = (Case::new("{}"), Case::new("{}").own_users());
        let elsewhere = "failed to add device \"/dev/a\": with hostUsers: false a device has its host's path, and cannot be at \"/dev/b\"";
        let foreign = "CDI device injection failed: with hostUsers: false there is no group 65536: ids end at 65535";
        for (devices, edits, why) in [
            ("{path: /dev/a, containerPath: /dev/b}", "{}", elsewhere),
            ("v.com/x=a", "{deviceNodes: [{path: /dev/b, hostPath: /dev/a}]}", elsewhere),
            ("v.com/x=a", "{additionalGids: [44, 65536]}", foreign),
        ] {
            assert_eq!(apply(devices, edits, &hosts), Ok(()), "{devices} {edits}");
            assert_eq!(apply(devices, edits, &own), Err(why.to_owned()));
        }
        let same = "{deviceNodes: [{path: /dev/g, hostPath: /dev/g}], additionalGids: [65535]}";
        assert_eq!(apply("{path: /dev/a, containerPath: /dev/a}, v.com/x=a", same, &own), Ok(()));
    }

    #[test]
    fn every_edit_of_cdi_is_made() {
        let edits = "{env: [PATH=/gpu, NEW=1], deviceNodes: [{path: /dev/g, hostPath: /dev/host}, {path: /dev/k, type: c, major: 1, minor: 2, fileMode: 0600, permissions: rw, uid: 7}, {path: /dev/f, type: p}],
            mounts: [{hostPath: /lib/gpu, containerPath: /proc/driver, options: [ro, bind]}, {hostPath: /x, containerPath: /dev/shm, options: [bind]}],
            hooks: [{hookName: createContainer, path: /bin/h, args: [h, a]}, {hookName: poststop, path: /bin/p, timeout: 3}], additionalGids: [0, 44, 44]}";
        let devices = devices("v.com/x=a, v.com/x=a");
        assert!(wants_cdi(&devices));
        let files = [file(edits)];
        let handed = HandedOut::new(&devices, &files).unwrap();
        assert_eq!(handed.paths(), ["/dev/host"]);
        let mut spec = Case::new("{env: [{name: PATH, value: /bin}], securityContext: {runAsUser: 5, runAsGroup: 6}}").build();
        handed.apply(&mut spec, &host(&[("/dev/host", Type::C, 195, 0)])).unwrap();
        let (nodes, rules) = seen(&spec);
        assert_eq!(nodes, ["/dev/g c 195:0 - 5 6", "/dev/k c 1:2 600 7 6", "/dev/f p 0:0 - 5 6"]);
        assert_eq!(rules, ["true c 195:0 rwm", "true c 1:2 rw"]);
        let process = spec.process().as_ref().unwrap();
        let env = process.env().as_ref().unwrap();
        assert_eq!(env.iter().filter(|e| e.starts_with("PATH=") || e.starts_with("NEW=")).collect::<Vec<_>>(), ["PATH=/gpu", "NEW=1"]);
        assert_eq!(process.user().additional_gids().as_ref().unwrap().iter().filter(|g| **g == 44).count(), 1);
        let mounts: Vec<_> = spec.mounts().iter().flatten().map(|m| m.destination().display().to_string()).collect();
        let at = |path: &str| mounts.iter().position(|m| m == path).unwrap();
        assert!(at("/proc") < at("/proc/driver") && at("/dev") < at("/dev/shm"), "{mounts:?}");
        let shm = &spec.mounts().as_ref().unwrap()[at("/dev/shm")];
        assert_eq!((shm.source().as_deref(), mounts.iter().filter(|m| *m == "/dev/shm").count()), (Some(Path::new("/x")), 1));
        let hooks = spec.hooks().as_ref().unwrap();
        assert_eq!(hooks.create_container().as_ref().unwrap()[0].args().as_ref().unwrap(), &["h", "a"]);
        assert_eq!(hooks.poststop().as_ref().unwrap()[0].timeout(), Some(3));
    }

    #[test]
    fn a_node_that_is_not_there_or_of_another_type_is_told() {
        let devices = devices("v.com/x=a");
        let apply = |edits: &str, on_host: &OnHost| {
            HandedOut::new(&devices, &[file(edits)]).unwrap().apply(&mut Case::new("{}").build(), on_host).unwrap_err()
        };
        let gone = OnHost::from([("/dev/a".to_owned(), Err("not a device node".to_owned()))]);
        let begin = "CDI device injection failed: failed to inject devices: ";
        assert_eq!(
            apply("{deviceNodes: [{path: /dev/a}]}", &gone),
            format!("{begin}failed to stat CDI host device \"/dev/a\": not a device node")
        );
        let block = host(&[("/dev/a", Type::B, 8, 0)]);
        let mismatch = "CDI device (\"/dev/a\", \"/dev/a\"), host type mismatch (c, b)";
        assert_eq!(apply("{deviceNodes: [{path: /dev/a, type: c}]}", &block), format!("{begin}{mismatch}"));
    }

    #[test]
    fn a_privileged_container_sees_its_device_by_the_name_it_asked_for() {
        let on_host = host(&[("/dev/a", Type::C, 10, 1)]);
        let devices = devices("{path: /dev/a, containerPath: /dev/b}");
        let mut spec = Case::new("{securityContext: {privileged: true}}").build();
        super::super::grant_host_devices(&mut spec, vec![on_host["/dev/a"].clone().unwrap()]);
        HandedOut::new(&devices, &[]).unwrap().apply(&mut spec, &on_host).unwrap();
        let linux = spec.linux().as_ref().unwrap();
        let paths: Vec<_> = linux.devices().iter().flatten().map(|d| d.path().display().to_string()).collect();
        assert_eq!(paths, ["/dev/a", "/dev/b"]);
    }
}
