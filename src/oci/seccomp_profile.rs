//! Localhost seccomp profiles: OCI's JSON, and what Docker adds to it (archMap, includes, excludes), for one container on one host.
//!
//! Guarantees: a rule that Docker's profile ties to a capability, an architecture or a kernel counts only there; a field that is not known is an
//! error. Ours: containerd reads the same file as plain OCI and drops these conditions, which turns the rules into unconditional ones; we go by them
//! as Docker and CRI-O do (moby profiles/seccomp/seccomp_linux.go).

use std::path::PathBuf;

use oci_spec::runtime::{
    Arch, Capabilities, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompBuilder, LinuxSeccompFilterFlag,
    LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;

use super::{capabilities, mounts};

/// What a profile's conditions are asked of.
pub(super) struct Facts<'a> {
    /// Go's name of the host's architecture.
    pub(super) arch: &'a str,
    /// Kernel release.
    pub(super) kernel: &'a str,
    /// The container's capabilities.
    pub(super) held: &'a Capabilities,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: Action,
    default_errno_ret: Option<u32>,
    /// The number's name (containers/common); the number is what counts.
    #[serde(rename = "defaultErrno")]
    _default_errno: Option<String>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<ArchMap>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchMap {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: Action,
    errno_ret: Option<u32>,
    #[serde(rename = "errno")]
    _errno: Option<String>,
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// The profile in `text` as it counts for a container. Errors: what is wrong with the text.
pub(super) fn decode(text: &str, facts: &Facts) -> Result<LinuxSeccomp, String> {
    let profile: Profile = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let own = profile.architectures.filter(|a| !a.is_empty());
    let mapped = profile.arch_map.filter(|m| !m.is_empty());
    if own.is_some() && mapped.is_some() {
        return Err("both architectures and archMap are set; use one".to_owned());
    }
    let architectures = own.or_else(|| mapped.map(|map| of_host(map, facts.arch)));
    let mut calls = Vec::new();
    for rule in profile.syscalls.into_iter().flatten() {
        calls.extend(rule.on(facts)?);
    }
    let built = LinuxSeccompBuilder::default().default_action(profile.default_action).build();
    let mut seccomp = built.expect("every field of seccomp has a default");
    seccomp
        .set_default_errno_ret(profile.default_errno_ret)
        .set_architectures(architectures)
        .set_flags(profile.flags)
        .set_listener_path(profile.listener_path)
        .set_listener_metadata(profile.listener_metadata)
        .set_syscalls(Some(calls).filter(|c| !c.is_empty()));
    Ok(seccomp)
}

/// The first entry for the host's architecture, with its sub-architectures; empty = the native one.
fn of_host(map: Vec<ArchMap>, arch: &str) -> Vec<Arch> {
    let found = map.into_iter().find(|entry| go_arch(entry.architecture) == Some(arch));
    found.map(|e| [e.architecture].into_iter().chain(e.sub_architectures.unwrap_or_default()).collect()).unwrap_or_default()
}

fn go_arch(arch: Arch) -> Option<&'static str> {
    Some(match arch {
        Arch::ScmpArchX86_64 => "amd64",
        Arch::ScmpArchX86 => "386",
        Arch::ScmpArchArm => "arm",
        Arch::ScmpArchAarch64 => "arm64",
        Arch::ScmpArchPpc64le => "ppc64le",
        Arch::ScmpArchS390x => "s390x",
        Arch::ScmpArchRiscv64 => "riscv64",
        _ => return None,
    })
}

impl Rule {
    /// The rule as OCI has it, where its conditions hold. Errors: its names contradict each other, or a condition cannot be read.
    fn on(self, facts: &Facts) -> Result<Option<LinuxSyscall>, String> {
        let names = match (self.name.filter(|n| !n.is_empty()), self.names.filter(|n| !n.is_empty())) {
            (Some(_), Some(_)) => return Err("both name and names are set for a system call; use one".to_owned()),
            (Some(name), None) => vec![name],
            (None, Some(names)) => names,
            (None, None) => return Err("a rule names no system call".to_owned()),
        };
        let excluded = self.excludes.as_ref().map_or(Ok(false), |e| e.any(facts))?;
        if excluded || !self.includes.as_ref().map_or(Ok(true), |i| i.all(facts))? {
            return Ok(None);
        }
        let mut call = LinuxSyscallBuilder::default().names(names).action(self.action).build().expect("names and action are set");
        call.set_errno_ret(self.errno_ret).set_args(self.args.filter(|a| !a.is_empty()));
        Ok(Some(call))
    }
}

impl Condition {
    fn held(&self, facts: &Facts) -> Result<Vec<bool>, String> {
        let held = |name: &String| match capabilities::parse(name) {
            Ok(capability) => Ok(facts.held.contains(&capability)),
            Err(error) => Err(error.to_string()),
        };
        self.caps.iter().flatten().map(held).collect()
    }

    /// Whether this is one of its architectures; `None` where it names none.
    fn here(&self, facts: &Facts) -> Option<bool> {
        // Docker calls it x86.
        let named = |name: &String| name == facts.arch || (name == "x86" && facts.arch == "386");
        self.arches.as_ref().filter(|a| !a.is_empty()).map(|a| a.iter().any(named))
    }

    fn new_enough(&self, facts: &Facts) -> Result<Option<bool>, String> {
        let Some(wanted) = self.min_kernel.as_deref().filter(|k| !k.is_empty()) else { return Ok(None) };
        let numbers = wanted.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let numbers = numbers.ok_or_else(|| format!("minKernel {wanted:?} is no version like 4.8"))?;
        Ok(Some(mounts::kernel_at_least(facts.kernel, numbers)))
    }

    fn any(&self, facts: &Facts) -> Result<bool, String> {
        Ok(self.held(facts)?.contains(&true) || self.here(facts) == Some(true) || self.new_enough(facts)? == Some(true))
    }

    fn all(&self, facts: &Facts) -> Result<bool, String> {
        Ok(!self.held(facts)?.contains(&false) && self.here(facts) != Some(false) && self.new_enough(facts)? != Some(false))
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Capability;
    use serde_json::{Value, json};

    use super::*;

    fn names(profile: &Value, held: &[Capability]) -> Result<Vec<String>, String> {
        let held = held.iter().copied().collect();
        let decoded = decode(&profile.to_string(), &Facts { arch: "amd64", kernel: "6.1.0-18", held: &held })?;
        Ok(decoded.syscalls().iter().flatten().flat_map(|c| c.names().clone()).collect())
    }

    fn with(rules: Value) -> Value {
        json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})
    }

    #[test]
    fn oci_profiles_are_taken_as_they_are() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1,
            "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}]}"#;
        let decoded = decode(text, &Facts { arch: "amd64", kernel: "6.1", held: &Capabilities::new() }).unwrap();
        let again: Value = serde_json::to_value(&decoded).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn dockers_conditions_are_gone_by() {
        let rule = |name: &str, more: Value| {
            let mut rule = json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": null, "comment": ""});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            rule
        };
        let profile = with(json!([
            rule("always", json!({"includes": {}, "excludes": {}})),
            rule("admin", json!({"includes": {"caps": ["CAP_SYS_ADMIN"]}})),
            rule("not-admin", json!({"excludes": {"caps": ["CAP_SYS_ADMIN"]}})),
            rule("both", json!({"includes": {"caps": ["CAP_SYS_ADMIN", "CAP_SYS_TIME"]}})),
            rule("here", json!({"includes": {"arches": ["amd64", "x32"]}})),
            rule("elsewhere", json!({"includes": {"arches": ["arm64"]}})),
            rule("not-here", json!({"excludes": {"arches": ["amd64"]}})),
            rule("new", json!({"includes": {"minKernel": "4.8"}})),
            rule("newer", json!({"includes": {"minKernel": "6.2"}})),
            {"name": "old", "action": "SCMP_ACT_ALLOW"},
        ]));
        assert_eq!(names(&profile, &[]).unwrap(), ["always", "not-admin", "here", "new", "old"]);
        assert_eq!(names(&profile, &[Capability::SysAdmin]).unwrap(), ["always", "admin", "here", "new", "old"]);
    }

    #[test]
    fn arch_map_gives_the_hosts_architectures() {
        let map = json!([{"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}]);
        let text = json!({"defaultAction": "SCMP_ACT_ALLOW", "archMap": map}).to_string();
        let on = |arch: &str| {
            let decoded = decode(&text, &Facts { arch, kernel: "6.1", held: &Capabilities::new() }).unwrap();
            decoded.architectures().clone().unwrap()
        };
        assert_eq!(on("amd64"), [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]);
        assert_eq!(on("arm64"), [Arch::ScmpArchAarch64, Arch::ScmpArchArm]);
        assert_eq!(on("riscv64"), []);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let allow = |more: Value| {
            let mut rule = json!({"action": "SCMP_ACT_ALLOW"});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            with(json!([rule]))
        };
        for (profile, said) in [
            (json!({}), "missing field `defaultAction`"),
            (json!({"defaultAction": "SCMP_ACT_PERHAPS"}), "unknown variant `SCMP_ACT_PERHAPS`"),
            (json!({"defaultAction": "SCMP_ACT_ERRNO", "sycalls": []}), "unknown field `sycalls`"),
            (allow(json!({"name": "a", "names": ["b"]})), "both name and names"),
            (allow(json!({})), "names no system call"),
            (allow(json!({"name": "a", "includes": {"caps": ["CAP_FLY"]}})), "unknown capability \"CAP_FLY\""),
            (allow(json!({"name": "a", "includes": {"minKernel": "new"}})), "minKernel \"new\""),
            (
                json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]}),
                "both architectures and archMap",
            ),
        ] {
            let error = names(&profile, &[]).unwrap_err();
            assert!(error.contains(said), "{error} lacks {said}");
        }
        assert!(decode("{", &Facts { arch: "amd64", kernel: "6.1", held: &Capabilities::new() }).is_err());
    }
}
