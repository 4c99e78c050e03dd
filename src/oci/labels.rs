//! Mandatory access control: AppArmor and SELinux. A profile that this host cannot enforce is refused; SELinux options of a host without SELinux are
//! passed over, as by every runtime, and admission tells of it; nothing asked for means unconfined.
//!
//! Rules: pkg/security/apparmor/validate.go, internal/cri/server/container_create_linux.go.

use super::{Inputs, OciError, security};
use crate::admission::security::APPARMOR_ANNOTATION;

/// AppArmor's profile that containerd's CRI plugin loads and calls the runtime's default.
const RUNTIME_DEFAULT: &str = "cri-containerd.apparmor.d";

/// process.apparmorProfile; `None` = unconfined.
pub(super) fn apparmor(inputs: &Inputs) -> Result<Option<String>, OciError> {
    let field = "securityContext.appArmorProfile";
    let own = inputs.container.security_context.as_ref().and_then(|c| c.app_armor_profile.as_ref());
    let pods = || inputs.spec().and_then(|s| s.security_context.as_ref()).and_then(|c| c.app_armor_profile.as_ref());
    let profile = match own.or_else(pods) {
        Some(p) => match (p.type_.as_str(), p.localhost_profile.as_deref()) {
            ("Unconfined", _) => None,
            ("RuntimeDefault", _) => Some(RUNTIME_DEFAULT.to_owned()),
            ("Localhost", Some(name)) if !name.is_empty() => Some(name.to_owned()),
            (other, _) => return Err(OciError::invalid(format!("{field}.type"), other, "no such AppArmor profile")),
        },
        None => annotated(inputs)?,
    };
    if profile.is_some() && !inputs.host.apparmor {
        return Err(OciError::refused(field, "Cannot enforce AppArmor: AppArmor is not enabled on the host"));
    }
    // As CRI: a privileged container is not confined.
    Ok(profile.filter(|_| !security::privileged(inputs.container)))
}

fn annotated(inputs: &Inputs) -> Result<Option<String>, OciError> {
    let key = format!("{APPARMOR_ANNOTATION}{}", inputs.container.name);
    let value = inputs.pod.metadata.annotations.as_ref().and_then(|a| a.get(&key));
    match value.map(String::as_str) {
        None | Some("" | "unconfined") => Ok(None),
        Some("runtime/default") => Ok(Some(RUNTIME_DEFAULT.to_owned())),
        Some(other) => match other.strip_prefix("localhost/").filter(|n| !n.is_empty()) {
            Some(name) => Ok(Some(name.to_owned())),
            None => Err(OciError::invalid(format!("metadata.annotations[{key}]"), other, "invalid AppArmor profile name")),
        },
    }
}

/// The two SELinux labels of a container.
pub(super) struct Selinux {
    /// process.selinuxLabel.
    pub(super) process: String,
    /// linux.mountLabel.
    pub(super) mount: String,
}

/// The labels that seLinuxOptions ask for; `None` where nothing is asked.
pub(super) fn selinux(inputs: &Inputs) -> Result<Option<Selinux>, OciError> {
    let own = inputs.container.security_context.as_ref().and_then(|c| c.se_linux_options.as_ref());
    let pods = || inputs.spec().and_then(|s| s.security_context.as_ref()).and_then(|c| c.se_linux_options.as_ref());
    let Some(options) = own.or_else(pods) else { return Ok(None) };
    let part = |o: &Option<String>, default: &str| o.clone().filter(|v| !v.is_empty()).unwrap_or_else(|| default.to_owned());
    if [&options.user, &options.role, &options.type_, &options.level].iter().all(|o| o.as_deref().unwrap_or_default().is_empty()) {
        return Ok(None);
    }
    if !inputs.host.selinux {
        return Ok(None);
    }
    let (user, level) = (part(&options.user, "system_u"), part(&options.level, "s0"));
    let process = format!("{user}:{}:{}:{level}", part(&options.role, "system_r"), part(&options.type_, "container_t"));
    Ok(Some(Selinux { process, mount: format!("{user}:object_r:container_file_t:{level}") }))
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::super::testing::Case;

    fn confined(container: &str, host: impl Fn(&mut crate::host::HostFacts)) -> Result<(Option<String>, Option<String>), String> {
        let mut case = Case::new(container);
        host(&mut case.host);
        let spec = build(&case.inputs()).map_err(|e| e.to_string())?;
        let process = spec.process().as_ref().unwrap();
        Ok((process.apparmor_profile().clone(), process.selinux_label().clone()))
    }

    #[test]
    fn apparmor_is_enforced_or_refused() {
        let refused = Err("securityContext.appArmorProfile: Cannot enforce AppArmor: AppArmor is not enabled on the host".to_owned());
        for (profile, off, on) in [
            ("{type: Unconfined}", Ok((None, None)), Ok((None, None))),
            ("{type: RuntimeDefault}", refused.clone(), Ok((Some("cri-containerd.apparmor.d".to_owned()), None))),
            ("{type: Localhost, localhostProfile: p}", refused, Ok((Some("p".to_owned()), None))),
        ] {
            let yaml = format!("{{securityContext: {{appArmorProfile: {profile}}}}}");
            assert_eq!(confined(&yaml, |_| {}), off);
            assert_eq!(confined(&yaml, |h| h.apparmor = true), on);
        }
        assert_eq!(confined("{}", |h| h.apparmor = true), Ok((None, None)));
        assert!(confined("{securityContext: {appArmorProfile: {type: Localhost}}}", |_| {}).is_err());
    }

    #[test]
    fn selinux_is_set_or_passed_over() {
        let yaml = "{securityContext: {seLinuxOptions: {type: spc_t}}}";
        assert_eq!(confined(yaml, |_| {}), Ok((None, None)));
        assert_eq!(confined(yaml, |h| h.selinux = true), Ok((None, Some("system_u:system_r:spc_t:s0".to_owned()))));
        assert_eq!(confined("{securityContext: {seLinuxOptions: {}}}", |_| {}), Ok((None, None)));
    }
}
