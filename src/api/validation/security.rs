//! Security contexts of pods and containers: ranges, known values, contradictions (ValidateSecurityContext, validatePodSpecSecurityContext).

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext, Sysctl};

use super::field::{Faults, Path, shown};
use super::format;

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
/// Linux' largest uid and gid.
const MAX_ID: i64 = 0xffff_ffff;
/// Linux' longest path, with the byte that ends it.
const PATH_MAX: usize = 4096;

/// What a pod for Linux must not say (validateLinux).
pub(super) fn linux(spec: &PodSpec, path: &Path, faults: &mut Faults) {
    const DETAIL: &str = "windows options cannot be set for a linux pod";
    if spec.security_context.as_ref().is_some_and(|c| c.windows_options.is_some()) {
        faults.forbidden(&path.child("securityContext").child("windowsOptions"), DETAIL);
    }
    for (name, containers) in [("initContainers", spec.init_containers.as_ref()), ("containers", Some(&spec.containers))] {
        for (i, container) in containers.into_iter().flatten().enumerate() {
            if container.security_context.as_ref().is_some_and(|c| c.windows_options.is_some()) {
                faults.forbidden(&path.child(name).index(i).child("securityContext").child("windowsOptions"), DETAIL);
            }
        }
    }
}

/// A container's security context. `host_users`: the pod uses the host's user namespace.
pub(super) fn container(context: &SecurityContext, host_users: bool, path: &Path, faults: &mut Faults) {
    id(context.run_as_user, &path.child("runAsUser"), faults);
    id(context.run_as_group, &path.child("runAsGroup"), faults);
    if let Some(mount) = context.proc_mount.as_deref() {
        let at = path.child("procMount");
        match mount {
            "Default" => {}
            "Unmasked" if host_users => faults.invalid(&at, mount, "`hostUsers` must be false to use `Unmasked`"),
            "Unmasked" => {}
            _ => faults.not_supported(&at, mount, &["Default", "Unmasked"]),
        }
    }
    seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile"), faults);
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            faults.invalid(path, shown(context), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        let added = context.capabilities.iter().flat_map(|c| c.add.iter().flatten());
        for _ in added.filter(|c| *c == "CAP_SYS_ADMIN") {
            faults.invalid(path, shown(context), "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    app_armor(context.app_armor_profile.as_ref(), &path.child("appArmorProfile"), faults);
}

/// A pod's security context.
pub(super) fn pod(context: &PodSecurityContext, spec: &PodSpec, path: &Path, faults: &mut Faults) {
    id(context.fs_group, &path.child("fsGroup"), faults);
    id(context.run_as_user, &path.child("runAsUser"), faults);
    id(context.run_as_group, &path.child("runAsGroup"), faults);
    for (i, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(Some(*group), &path.child("supplementalGroups").index(i), faults);
    }
    // Kubernetes reports this one under securityContext, where its internal type keeps the field.
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        faults.invalid(&path.child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled");
    }
    sysctls(context.sysctls.as_deref().unwrap_or_default(), spec, &path.child("sysctls"), faults);
    let policies: [(&str, &Option<String>, &[&str]); 3] = [
        ("fsGroupChangePolicy", &context.fs_group_change_policy, &["Always", "OnRootMismatch"]),
        ("supplementalGroupsPolicy", &context.supplemental_groups_policy, &["Merge", "Strict"]),
        ("seLinuxChangePolicy", &context.se_linux_change_policy, &["MountOption", "Recursive"]),
    ];
    for (name, policy, supported) in policies {
        if let Some(policy) = policy.as_deref().filter(|p| !supported.contains(p)) {
            faults.not_supported(&path.child(name), policy, supported);
        }
    }
    seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile"), faults);
    app_armor(context.app_armor_profile.as_ref(), &path.child("appArmorProfile"), faults);
}

fn id(id: Option<i64>, path: &Path, faults: &mut Faults) {
    if let Some(id) = id.filter(|id| !(0..=MAX_ID).contains(id)) {
        faults.invalid(path, id, &format::range(0, MAX_ID));
    }
}

/// validateSeccompProfileField.
fn seccomp(profile: Option<&SeccompProfile>, path: &Path, faults: &mut Faults) {
    let Some(profile) = profile else { return };
    match profile.type_.as_str() {
        "" => faults.required(&path.child("type"), "type is required when seccompProfile is set"),
        kind if PROFILES.contains(&kind) => {}
        kind => faults.not_supported(&path.child("type"), kind, &PROFILES),
    }
    let at = path.child("localhostProfile");
    match (profile.type_ == "Localhost", profile.localhost_profile.as_deref()) {
        (true, None) => faults.required(&at, "must be set when seccomp type is Localhost"),
        (true, Some(file)) => faults.invalid_each(&at, file, format::descending_path(file)),
        (false, Some(_)) => faults.invalid(&at, shown(profile), "can only be set when seccomp type is Localhost"),
        (false, None) => {}
    }
}

/// ValidateAppArmorProfileField.
fn app_armor(profile: Option<&AppArmorProfile>, path: &Path, faults: &mut Faults) {
    let Some(profile) = profile else { return };
    let at = path.child("localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("", _) => faults.required(&path.child("type"), "type is required when appArmorProfile is set"),
        ("Localhost", None | Some("")) => faults.required(&at, "must be set when AppArmor type is Localhost"),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                faults.invalid(&at, name, "must not be padded with whitespace");
            }
            if name.len() > PATH_MAX - 1 {
                faults.too_long(&at, PATH_MAX - 1);
            }
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("RuntimeDefault" | "Unconfined", Some(name)) => faults.invalid(&at, name, "can only be set when AppArmor type is Localhost"),
        (kind, _) => faults.not_supported(&path.child("type"), kind, &PROFILES),
    }
}

/// validateSysctls.
fn sysctls(sysctls: &[Sysctl], spec: &PodSpec, path: &Path, faults: &mut Faults) {
    let mut seen = std::collections::BTreeSet::new();
    for (i, sysctl) in sysctls.iter().enumerate() {
        let at = path.index(i).child("name");
        let name = sysctl.name.as_str();
        if name.is_empty() {
            faults.required(&at, "");
        } else if !is_sysctl(name) {
            let format = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            faults.invalid(&at, name, &format!("must have at most 253 characters and match regex {format}"));
        } else if !seen.insert(name) {
            faults.duplicate(&at, name);
        }
        let dotted = name.replace('/', ".");
        if spec.host_network == Some(true) && dotted.starts_with("net.") {
            faults.invalid(&at, name, "may not be specified when 'hostNetwork' is true");
        }
        let ipc = dotted == "kernel.sem" || ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| dotted.starts_with(p));
        if spec.host_ipc == Some(true) && ipc {
            faults.invalid(&at, name, "may not be specified when 'hostIPC' is true");
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let segment = |s: &str| {
        let bytes = s.as_bytes();
        bytes.first().is_some_and(|b| letter(*b))
            && bytes.last().is_some_and(|b| letter(*b))
            && bytes.iter().all(|b| letter(*b) || b"-_".contains(b))
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}
