//! What a container may see and gain: privileged, masked and read-only paths, privilege escalation, and what is refused outright.
//!
//! Paths: pkg/securitycontext/util.go (defaultMaskedPaths, defaultReadonlyPaths). A field that cannot be honoured is refused here, even
//! where validation warned already: the spec is the last door.

use k8s_openapi::api::core::v1::Container;

use super::{Inputs, OciError};
use crate::network::Namespace;

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// securityContext.privileged.
pub(super) fn privileged(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|c| c.privileged).unwrap_or(false)
}

/// securityContext.readOnlyRootFilesystem.
pub(super) fn read_only_root(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|c| c.read_only_root_filesystem).unwrap_or(false)
}

/// noNewPrivileges: only `allowPrivilegeEscalation: false` sets it (pkg/securitycontext AddNoNewPrivileges).
pub(super) fn no_new_privileges(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|c| c.allow_privilege_escalation) == Some(false)
}

/// securityContext.procMount.
fn unmasked(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|c| c.proc_mount.as_deref()) == Some("Unmasked")
}

/// Paths hidden from the container.
pub(super) fn masked_paths(inputs: &Inputs) -> Vec<String> {
    unless_open(inputs, &MASKED)
}

/// Paths the container may read but not write.
pub(super) fn readonly_paths(inputs: &Inputs) -> Vec<String> {
    unless_open(inputs, &READ_ONLY)
}

/// None for a privileged container, nor for one with procMount Unmasked (pkg/securitycontext ConvertToRuntimeMaskedPaths).
fn unless_open(inputs: &Inputs, paths: &[&str]) -> Vec<String> {
    let open = privileged(inputs.container) || unmasked(inputs.container);
    if open { Vec::new() } else { paths.iter().map(|p| (*p).to_owned()).collect() }
}

/// Refuses what no other file of this room honours.
pub(super) fn refuse_unsupported(inputs: &Inputs) -> Result<(), OciError> {
    let spec = inputs.spec();
    if spec.and_then(|s| s.host_users) == Some(false) && inputs.sandbox.user.is_none() {
        return Err(OciError::refused("spec.hostUsers", "the pod asked for a user namespace of its own but was given none"));
    }
    let shares = spec.is_some_and(|s| s.share_process_namespace == Some(true) && s.host_pid != Some(true));
    if shares && inputs.sandbox.pid.is_none() {
        return Err(OciError::refused("spec.shareProcessNamespace", "the pod asked for a PID namespace of its own but was given none"));
    }
    if !spec.and_then(|s| s.host_network).unwrap_or(false) && inputs.sandbox.network == Namespace::Host {
        return Err(OciError::refused("spec.hostNetwork", "the pod did not ask for the host's network but was given it"));
    }
    let own = inputs.container.security_context.as_ref();
    if unmasked(inputs.container) && inputs.sandbox.user.is_none() {
        return Err(OciError::refused("securityContext.procMount", "`hostUsers` must be false to use `Unmasked`"));
    }
    if own.is_some_and(|c| c.windows_options.is_some()) {
        return Err(OciError::refused("securityContext.windowsOptions", "cannot be set for a linux pod"));
    }
    if inputs.container.volume_devices.as_ref().is_some_and(|d| !d.is_empty()) {
        return Err(OciError::refused("volumeDevices", "block volumes are not honoured yet"));
    }
    if inputs.container.resources.as_ref().is_some_and(|r| r.claims.as_ref().is_some_and(|c| !c.is_empty())) {
        return Err(OciError::refused("resources.claims", "dynamic resource allocation is not honoured"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::super::testing::Case;
    use super::*;

    #[test]
    fn privileged_sees_everything_and_others_do_not() {
        let plain = Case::new("{}").build();
        let linux = plain.linux().as_ref().unwrap();
        assert_eq!(linux.masked_paths().as_ref().unwrap(), &MASKED);
        assert_eq!(linux.readonly_paths().as_ref().unwrap(), &READ_ONLY);
        let privileged = Case::new("{securityContext: {privileged: true}}").build();
        let linux = privileged.linux().as_ref().unwrap();
        assert!(linux.masked_paths().as_ref().unwrap().is_empty() && linux.readonly_paths().as_ref().unwrap().is_empty());
    }

    #[test]
    fn escalation_and_read_only_root() {
        for (yaml, no_new, read_only) in [
            ("{}", false, false),
            ("{securityContext: {allowPrivilegeEscalation: true, readOnlyRootFilesystem: true}}", false, true),
            ("{securityContext: {allowPrivilegeEscalation: false}}", true, false),
        ] {
            let spec = Case::new(yaml).build();
            assert_eq!(spec.process().as_ref().unwrap().no_new_privileges(), Some(no_new), "{yaml}");
            assert_eq!(spec.root().as_ref().unwrap().readonly(), Some(read_only), "{yaml}");
        }
    }

    #[test]
    fn what_is_not_honoured_is_refused() {
        for (container, pod, field) in [
            ("{}", "{hostUsers: false}", "spec.hostUsers"),
            ("{}", "{shareProcessNamespace: true}", "spec.shareProcessNamespace"),
            ("{securityContext: {procMount: Unmasked}}", "{}", "securityContext.procMount"),
            ("{volumeDevices: [{name: d, devicePath: /dev/x}]}", "{}", "volumeDevices"),
            ("{resources: {claims: [{name: gpu}]}}", "{}", "resources.claims"),
        ] {
            let error = build(&Case::new(container).pod(pod).inputs()).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
        assert!(build(&Case::new("{}").pod("{hostUsers: true, shareProcessNamespace: false}").inputs()).is_ok());
    }

    #[test]
    fn unmasked_hides_nothing_in_a_user_namespace_of_its_own() {
        let spec = Case::new("{securityContext: {procMount: Unmasked}}").own_users().build();
        let linux = spec.linux().as_ref().unwrap();
        assert!(linux.masked_paths().as_ref().unwrap().is_empty() && linux.readonly_paths().as_ref().unwrap().is_empty());
        let spec = Case::new("{securityContext: {procMount: Default}}").own_users().build();
        assert_eq!(spec.linux().as_ref().unwrap().masked_paths().as_ref().unwrap(), &MASKED);
    }
}
