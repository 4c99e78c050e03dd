//! Containers: what each must have, its ports, mounts and restart rules (validateContainerCommon and what it calls).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, ContainerPort, Volume, VolumeDevice, VolumeMount};

use super::field::{Faults, Path};
use super::{env, format, probes, resources, security};

/// What of the pod its containers are checked against.
pub(super) struct Pod<'a> {
    /// The volumes that can be mounted, by name.
    pub(super) volumes: BTreeMap<&'a str, &'a Volume>,
    /// Names in resourceClaims.
    pub(super) claims: Vec<&'a str>,
    /// terminationGracePeriodSeconds.
    pub(super) grace: Option<i64>,
    /// restartPolicy.
    pub(super) restart_policy: &'a str,
    /// os.name.
    pub(super) os: Option<&'a str>,
    /// Whether the pod uses the host's user namespace.
    pub(super) host_users: bool,
}

/// The main containers (validateContainers).
pub(super) fn regular(containers: &[Container], pod: &Pod<'_>, path: &Path, faults: &mut Faults) {
    if containers.is_empty() {
        return faults.required(path, "");
    }
    let mut names = BTreeSet::new();
    for (i, container) in containers.iter().enumerate() {
        let path = path.index(i);
        common(container, pod, &path, faults);
        if !names.insert(&container.name) {
            faults.duplicate(&path.child("name"), container.name.as_str());
        }
        probes::of_container(container, pod.grace, pod.os, &path, faults);
    }
    host_port_conflicts(containers.iter().enumerate(), path, faults);
}

/// The init containers (validateInitContainers).
pub(super) fn init(containers: &[Container], regular: &[Container], pod: &Pod<'_>, path: &Path, faults: &mut Faults) {
    let mut names: BTreeSet<&str> = regular.iter().map(|c| c.name.as_str()).collect();
    for (i, container) in containers.iter().enumerate() {
        let at = path.index(i);
        common(container, pod, &at, faults);
        if !names.insert(&container.name) && !container.name.is_empty() {
            faults.duplicate(&at.child("name"), container.name.as_str());
        }
        host_port_conflicts([(i, container)].into_iter(), path, faults);
        if container.restart_policy.as_deref() == Some("Always") {
            probes::of_container(container, pod.grace, pod.os, &at, faults);
        } else {
            probes::forbidden_in_init(container, &at, faults);
        }
    }
}

fn common(container: &Container, pod: &Pod<'_>, path: &Path, faults: &mut Faults) {
    if container.name.is_empty() {
        faults.required(&path.child("name"), "");
    } else {
        faults.invalid_each(&path.child("name"), &container.name, format::dns_label(&container.name));
    }
    if container.image.as_deref().unwrap_or_default().is_empty() {
        faults.required(&path.child("image"), "");
    }
    let policy = container.termination_message_policy.as_deref();
    faults.one_of(&path.child("terminationMessagePolicy"), policy, &["File", "FallbackToLogsOnError"]);
    ports(container.ports.as_deref().unwrap_or_default(), &path.child("ports"), faults);
    env::variables(container.env.as_deref().unwrap_or_default(), &path.child("env"), faults);
    env::from_sources(container.env_from.as_deref().unwrap_or_default(), &path.child("envFrom"), faults);
    mounts(container, pod, &path.child("volumeMounts"), faults);
    devices(container, pod, &path.child("volumeDevices"), faults);
    faults.one_of(&path.child("imagePullPolicy"), container.image_pull_policy.as_deref(), &["Always", "IfNotPresent", "Never"]);
    if let Some(list) = &container.resources {
        resources::requirements(list, resources::of_container, &pod.claims, &path.child("resources"), faults);
    }
    let resize = container.resize_policy.as_deref().unwrap_or_default();
    resources::resize_policy(resize, pod.restart_policy, &path.child("resizePolicy"), faults);
    if let Some(context) = &container.security_context {
        security::container(context, pod.host_users, &path.child("securityContext"), faults);
    }
    restart_rules(container, path, faults);
}

/// A container's own restart policy and the rules by exit code that need one.
fn restart_rules(container: &Container, path: &Path, faults: &mut Faults) {
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    let at = path.child("restartPolicy");
    match container.restart_policy.as_deref() {
        None if !rules.is_empty() => faults.required(&at, "must specify restartPolicy when restart rules are used"),
        Some(policy) if !["Always", "Never", "OnFailure"].contains(&policy) => {
            faults.not_supported(&at, policy, &["Always", "Never", "OnFailure"])
        }
        _ => {}
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > 20 {
        faults.too_many(&path, rules.len(), 20);
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = path.index(i);
        faults.one_of(&path.child("action"), Some(&rule.action), &["Restart", "RestartAllContainers"]);
        let Some(codes) = &rule.exit_codes else {
            faults.required(&path.child("exitCodes"), "must be specified");
            continue;
        };
        faults.one_of(&path.child("exitCodes").child("operator"), Some(&codes.operator), &["In", "NotIn"]);
        let values = codes.values.as_deref().unwrap_or_default().len();
        if values > 255 {
            faults.too_many(&path.child("exitCodes").child("values"), values, 255);
        }
    }
}

/// validateContainerPorts.
fn ports(ports: &[ContainerPort], path: &Path, faults: &mut Faults) {
    let mut names = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let path = path.index(i);
        if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            let wrong = format::port_name(name);
            if wrong.is_empty() && !names.insert(name) {
                faults.duplicate(&path.child("name"), name);
            }
            faults.invalid_each(&path.child("name"), name, wrong);
        }
        if port.container_port == 0 {
            faults.required(&path.child("containerPort"), "");
        }
        for (name, number) in [("containerPort", port.container_port), ("hostPort", port.host_port.unwrap_or(0))] {
            let wrong = if number == 0 { Vec::new() } else { format::port_number(number) };
            wrong.iter().for_each(|m| faults.invalid(&path.child(name), number, m));
        }
        faults.one_of(&path.child("protocol"), port.protocol.as_deref(), &["SCTP", "TCP", "UDP"]);
    }
}

/// checkHostPortConflicts: no (protocol, address, host port) twice.
fn host_port_conflicts<'a>(containers: impl Iterator<Item = (usize, &'a Container)>, path: &Path, faults: &mut Faults) {
    let mut used = BTreeSet::new();
    for (i, container) in containers {
        for (j, port) in container.ports.iter().flatten().enumerate() {
            let Some(number) = port.host_port.filter(|p| *p != 0) else { continue };
            let key = format!("{}/{}/{number}", port.protocol.as_deref().unwrap_or_default(), port.host_ip.as_deref().unwrap_or_default());
            if !used.insert(key.clone()) {
                faults.duplicate(&path.index(i).child("ports").index(j).child("hostPort"), key);
            }
        }
    }
}

/// ValidateVolumeMounts. Ours: the faults of subPath and mountPropagation name the mount's index, which Kubernetes leaves out.
fn mounts(container: &Container, pod: &Pod<'_>, path: &Path, faults: &mut Faults) {
    let devices: &[VolumeDevice] = container.volume_devices.as_deref().unwrap_or_default();
    let mut paths = BTreeSet::new();
    for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = path.index(i);
        if mount.name.is_empty() {
            faults.required(&path.child("name"), "");
        }
        if !pod.volumes.contains_key(mount.name.as_str()) {
            faults.not_found(&path.child("name"), mount.name.as_str(), "");
        }
        if mount.mount_path.is_empty() {
            faults.required(&path.child("mountPath"), "");
        }
        if !paths.insert(&mount.mount_path) {
            faults.invalid(&path.child("mountPath"), mount.mount_path.as_str(), "must be unique");
        }
        if devices.iter().any(|d| d.name == mount.name) {
            faults.invalid(&path.child("name"), mount.name.as_str(), "must not already exist in volumeDevices");
        }
        if devices.iter().any(|d| d.device_path == mount.mount_path) {
            faults.invalid(&path.child("mountPath"), mount.mount_path.as_str(), "must not already exist as a path in volumeDevices");
        }
        sub_path(mount, &path, faults);
        mount_mode(mount, container, &path, faults);
    }
}

fn sub_path(mount: &VolumeMount, path: &Path, faults: &mut Faults) {
    let fields =
        [("subPath", mount.sub_path.as_deref()), ("subPathExpr", mount.sub_path_expr.as_deref())].map(|(n, v)| (n, v.unwrap_or_default()));
    for (name, value) in fields.into_iter().filter(|(_, v)| !v.is_empty()) {
        faults.invalid_each(&path.child(name), value, format::descending_path(value));
    }
    if let [(_, sub_path), (name, expression)] = fields
        && !sub_path.is_empty()
        && !expression.is_empty()
    {
        faults.invalid(&path.child(name), expression, "subPathExpr and subPath are mutually exclusive");
    }
}

/// validateMountPropagation and validateMountRecursiveReadOnly.
fn mount_mode(mount: &VolumeMount, container: &Container, path: &Path, faults: &mut Faults) {
    let privileged = container.security_context.as_ref().is_some_and(|c| c.privileged == Some(true));
    let at = path.child("mountPropagation");
    match mount.mount_propagation.as_deref() {
        None | Some("None" | "HostToContainer") => {}
        Some("Bidirectional") if privileged => {}
        Some("Bidirectional") => faults.forbidden(&at, "Bidirectional mount propagation is available only to privileged containers"),
        Some(other) => faults.not_supported(&at, other, &["Bidirectional", "HostToContainer", "None"]),
    }
    let at = path.child("recursiveReadOnly");
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                faults.forbidden(&at, "may only be specified when readOnly is true");
            }
            if mount.mount_propagation.as_deref().is_some_and(|p| p != "None") {
                faults.forbidden(&at, "may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(other) => faults.not_supported(&at, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// ValidateVolumeDevices.
fn devices(container: &Container, pod: &Pod<'_>, path: &Path, faults: &mut Faults) {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (i, device) in container.volume_devices.iter().flatten().enumerate() {
        let path = path.index(i);
        let (name, device_path) = (device.name.as_str(), device.device_path.as_str());
        let (at_name, at_path) = (path.child("name"), path.child("devicePath"));
        faults.required_texts(&path, &[("name", name), ("devicePath", device_path)]);
        if !name.is_empty() && !names.insert(name) {
            faults.invalid(&at_name, name, "must be unique");
        }
        match pod.volumes.get(name) {
            None => faults.not_found(&at_name, name, ""),
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                faults.invalid(&at_name, name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
            }
            Some(_) => {}
        }
        if paths.contains(device_path) {
            faults.invalid(&at_path, device_path, "must be unique");
        }
        if format::no_backsteps(device_path).is_empty() {
            paths.insert(device_path);
        } else {
            faults.invalid(&at_path, device_path, "can not contain backsteps ('..')");
        }
        if mounts.iter().any(|m| m.name == name) {
            faults.invalid(&at_name, name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|m| m.mount_path == device_path) {
            faults.invalid(&at_path, device_path, "must not already exist as a path in volumeMounts");
        }
    }
}
