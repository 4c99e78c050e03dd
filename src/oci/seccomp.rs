//! seccomp: RuntimeDefault is containerd's default profile; unset is Unconfined, as Kubernetes' default (seccompDefault off).
//!
//! The profile is data in `seccomp_table`; here it is put together for a container's capabilities and the host's architecture.

use k8s_openapi::api::core::v1::{Container, Pod};
use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator as Operator, LinuxSyscall, LinuxSyscallBuilder,
};

use super::seccomp_profile::{self, Facts};
use super::seccomp_table::{ALWAYS, BY_ARCH, BY_CAPABILITY, PERSONALITIES};
use super::{Inputs, OciError, capabilities, security};

/// CLONE_NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWCGROUP.
const NEW_NAMESPACES: u64 = 0x7E02_0000;
const ENOSYS: u32 = 38;
const AF_VSOCK: u64 = 40;

/// linux.seccomp of the container; `None` = unconfined.
pub(super) fn seccomp(inputs: &Inputs) -> Result<Option<LinuxSeccomp>, OciError> {
    let field = "securityContext.seccompProfile";
    let own = inputs.container.security_context.as_ref().and_then(|c| c.seccomp_profile.as_ref());
    let pods = || inputs.spec().and_then(|s| s.security_context.as_ref()).and_then(|c| c.seccomp_profile.as_ref());
    match own.or_else(pods).map(|p| p.type_.as_str()) {
        None | Some("Unconfined") => Ok(None),
        // As CRI: a privileged container is not confined.
        Some("RuntimeDefault" | "Localhost") if security::privileged(inputs.container) => Ok(None),
        Some("RuntimeDefault" | "Localhost") if !inputs.host.seccomp => {
            Err(OciError::refused(field, "seccomp is not supported by this host's kernel or runtime"))
        }
        Some("RuntimeDefault") => default_profile(inputs).map(Some),
        Some("Localhost") => localhost(inputs).map(Some),
        Some(other) => Err(OciError::invalid(format!("{field}.type"), other, "no such seccomp profile")),
    }
}

/// The file that the container's Localhost profile is in, relative to the directory of profiles; `None` = it has none such.
pub fn localhost_profile<'a>(pod: &'a Pod, container: &'a Container) -> Option<&'a str> {
    let own = container.security_context.as_ref().and_then(|c| c.seccomp_profile.as_ref());
    let pods = || pod.spec.as_ref()?.security_context.as_ref()?.seccomp_profile.as_ref();
    let profile = own.or_else(pods).filter(|p| p.type_ == "Localhost" && !security::privileged(container))?;
    profile.localhost_profile.as_deref()
}

fn localhost(inputs: &Inputs) -> Result<LinuxSeccomp, OciError> {
    let failed =
        |why: String| OciError::SeccompProfile(localhost_profile(inputs.pod, inputs.container).unwrap_or_default().to_owned(), why);
    let text = inputs.seccomp_profile.as_deref().ok_or_else(|| failed("it was not read".to_owned()))?;
    let held = capabilities::held(inputs)?;
    seccomp_profile::decode(text, &Facts { arch: &inputs.host.arch, kernel: &inputs.host.kernel, held: &held }).map_err(failed)
}

fn default_profile(inputs: &Inputs) -> Result<LinuxSeccomp, OciError> {
    let held = capabilities::held(inputs)?;
    let arch = inputs.host.arch.as_str();
    let mut calls = vec![allow(ALWAYS)];
    calls.extend(PERSONALITIES.map(|value| allow_if("personality", argument(0, value, None, Operator::ScmpCmpEq))));
    calls.push(allow_if("socket", argument(0, AF_VSOCK, None, Operator::ScmpCmpNe)));
    calls.extend(BY_ARCH.iter().filter(|(name, _)| *name == arch).map(|(_, names)| allow(names)));
    calls.extend(BY_CAPABILITY.iter().filter(|(c, _)| held.contains(c)).map(|(_, names)| allow(names)));
    if !held.contains(&Capability::SysAdmin) {
        // Flags are the first argument of clone(2), but the second on s390.
        let flags = usize::from(arch == "s390x");
        calls.push(allow_if("clone", argument(flags, NEW_NAMESPACES, Some(0), Operator::ScmpCmpMaskedEq)));
        // ENOSYS makes glibc fall back to clone(2), whose flags can be looked at.
        calls.push(call(&["clone3"], Action::ScmpActErrno, Some(ENOSYS), None));
    }
    let profile =
        LinuxSeccompBuilder::default().default_action(Action::ScmpActErrno).architectures(architectures(arch)).syscalls(calls).build();
    Ok(profile.expect("every field of seccomp has a default"))
}

/// The architectures a process of this host may run as (contrib/seccomp arches); empty = the native one.
fn architectures(arch: &str) -> Vec<Arch> {
    match arch {
        "amd64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "arm64" => vec![Arch::ScmpArchArm, Arch::ScmpArchAarch64],
        "s390x" => vec![Arch::ScmpArchS390, Arch::ScmpArchS390x],
        "riscv64" => vec![Arch::ScmpArchRiscv64],
        _ => Vec::new(),
    }
}

fn allow(names: &str) -> LinuxSyscall {
    call(&names.split_ascii_whitespace().collect::<Vec<_>>(), Action::ScmpActAllow, None, None)
}

fn allow_if(name: &str, argument: LinuxSeccompArg) -> LinuxSyscall {
    call(&[name], Action::ScmpActAllow, None, Some(argument))
}

fn call(names: &[&str], action: Action, errno: Option<u32>, argument: Option<LinuxSeccompArg>) -> LinuxSyscall {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut call = LinuxSyscallBuilder::default().names(names).action(action).build().expect("names and action are set");
    call.set_errno_ret(errno).set_args(argument.map(|a| vec![a]));
    call
}

fn argument(index: usize, value: u64, second: Option<u64>, op: Operator) -> LinuxSeccompArg {
    let builder = LinuxSeccompArgBuilder::default().index(index).value(value).op(op);
    let builder = match second {
        Some(second) => builder.value_two(second),
        None => builder,
    };
    builder.build().expect("every field of an argument has a default")
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::super::{OciError, build};
    use super::*;

    fn profile(container: &str, pod: &str) -> Result<Option<LinuxSeccomp>, OciError> {
        Ok(build(&Case::new(container).pod(pod).inputs())?.linux().as_ref().and_then(|l| l.seccomp().clone()))
    }

    /// Whether the profile allows a call, whatever its arguments.
    fn allows(profile: &LinuxSeccomp, name: &str) -> bool {
        profile
            .syscalls()
            .iter()
            .flatten()
            .any(|c| c.action() == Action::ScmpActAllow && c.args().is_none() && c.names().iter().any(|n| n == name))
    }

    const DEFAULT: &str = "{securityContext: {seccompProfile: {type: RuntimeDefault}}}";

    #[test]
    fn which_profile() {
        assert_eq!(profile("{}", "{}"), Ok(None));
        assert!(profile(DEFAULT, "{}").unwrap().is_some());
        assert!(profile("{}", DEFAULT).unwrap().is_some());
        assert_eq!(profile("{securityContext: {seccompProfile: {type: Unconfined}}}", DEFAULT), Ok(None));
        assert_eq!(profile("{securityContext: {privileged: true, seccompProfile: {type: RuntimeDefault}}}", "{}"), Ok(None));
        let localhost = "{securityContext: {seccompProfile: {type: Localhost, localhostProfile: p.json}}}";
        let failed = |why: &str| Err(OciError::SeccompProfile("p.json".to_owned(), why.to_owned()));
        assert_eq!(profile(localhost, DEFAULT), failed("it was not read"));
        let of = |text: &str| {
            let mut case = Case::new("{}").pod(localhost);
            case.seccomp_profile = Some(text.to_owned());
            build(&case.inputs()).map(|spec| spec.linux().as_ref().unwrap().seccomp().clone().map(|s| s.default_action()))
        };
        assert_eq!(of(r#"{"defaultAction": "SCMP_ACT_LOG"}"#), Ok(Some(Action::ScmpActLog)));
        assert_eq!(
            of("[").unwrap_err().to_string(),
            "decoding seccomp profile failed \"p.json\": EOF while parsing a list at line 1 column 1"
        );
        let mut case = Case::new(DEFAULT);
        case.host.seccomp = false;
        assert!(build(&case.inputs()).is_err());
    }

    #[test]
    fn calls_by_capability() {
        let plain = profile(DEFAULT, "{}").unwrap().unwrap();
        for (name, allowed) in
            [("read", true), ("chroot", true), ("mount", false), ("unshare", false), ("io_uring_setup", false), ("bpf", false)]
        {
            assert_eq!(allows(&plain, name), allowed, "{name}");
        }
        assert!(plain.syscalls().iter().flatten().any(|c| c.names() == &["clone3"] && c.errno_ret() == Some(ENOSYS)));
        let admin = "{securityContext: {capabilities: {add: [SYS_ADMIN], drop: [SYS_CHROOT]}, seccompProfile: {type: RuntimeDefault}}}";
        let admin = profile(admin, "{}").unwrap().unwrap();
        for (name, allowed) in [("mount", true), ("clone", true), ("clone3", true), ("chroot", false), ("reboot", false)] {
            assert_eq!(allows(&admin, name), allowed, "{name}");
        }
    }

    #[test]
    fn no_call_is_listed_twice_in_one_entry() {
        for text in BY_CAPABILITY.iter().map(|(_, t)| *t).chain(BY_ARCH.iter().map(|(_, t)| *t)).chain([ALWAYS]) {
            let mut names: Vec<_> = text.split_ascii_whitespace().collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }
}
