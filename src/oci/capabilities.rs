//! The process' capabilities: containerd's default set, then add and drop (internal/cri/opts/spec_opts.go WithCapabilities).

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, LinuxCapabilitiesBuilder};

use super::{Inputs, OciError, security};

/// What a container has unless told otherwise (pkg/oci/spec.go defaultUnixCaps).
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// The capability sets: bounding, effective and permitted alike; inheritable and ambient empty (CVE-2022-24769), so that a process
/// that is not root has none.
pub(super) fn capabilities(inputs: &Inputs) -> Result<LinuxCapabilities, OciError> {
    let held = held(inputs)?;
    let sets = LinuxCapabilitiesBuilder::default()
        .bounding(held.clone())
        .effective(held.clone())
        .permitted(held)
        .inheritable(Capabilities::new())
        .ambient(Capabilities::new())
        .build();
    Ok(sets.expect("every set has a value"))
}

/// The capabilities a container may use, as in its bounding set.
pub(super) fn held(inputs: &Inputs) -> Result<Capabilities, OciError> {
    let host: Capabilities = inputs.host.capabilities.iter().filter_map(|name| parse(name).ok()).collect();
    if security::privileged(inputs.container) {
        return Ok(host);
    }
    let wanted = inputs.container.security_context.as_ref().and_then(|c| c.capabilities.as_ref());
    let (add, drop) = wanted.map_or((&[][..], &[][..]), |w| (w.add.as_deref().unwrap_or_default(), w.drop.as_deref().unwrap_or_default()));

    let mut held: Capabilities = DEFAULT.into_iter().filter(|c| host.contains(c)).collect();
    if add.iter().any(|n| is_all(n)) {
        held.clone_from(&host);
    }
    if drop.iter().any(|n| is_all(n)) {
        held.clear();
    }
    for name in add.iter().filter(|n| !is_all(n)) {
        let capability = parse(name)?;
        if !host.contains(&capability) {
            return Err(OciError::CapabilityUnavailable(name.clone()));
        }
        held.insert(capability);
    }
    for name in drop.iter().filter(|n| !is_all(n)) {
        held.remove(&parse(name)?);
    }
    Ok(held)
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL")
}

/// `NET_ADMIN`, `CAP_NET_ADMIN`, in any case.
pub(super) fn parse(name: &str) -> Result<Capability, OciError> {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).parse().map_err(|_| OciError::UnknownCapability(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::super::testing::Case;

    fn bounding(security_context: &str) -> Result<Vec<String>, String> {
        let case = Case::new(&format!("{{securityContext: {security_context}}}"));
        let spec = build(&case.inputs()).map_err(|e| e.to_string())?;
        let sets = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert_eq!(sets.bounding(), sets.effective());
        assert_eq!(sets.bounding(), sets.permitted());
        assert!(sets.ambient().as_ref().unwrap().is_empty() && sets.inheritable().as_ref().unwrap().is_empty());
        let mut names: Vec<String> = sets.bounding().iter().flatten().map(ToString::to_string).collect();
        names.sort_unstable();
        Ok(names)
    }

    #[test]
    fn default_add_drop_and_all() {
        assert_eq!(bounding("{}").unwrap().len(), 14);
        assert_eq!(bounding("{capabilities: {drop: [ALL]}}").unwrap(), Vec::<String>::new());
        assert_eq!(bounding("{capabilities: {drop: [all], add: [NET_BIND_SERVICE]}}").unwrap(), ["NET_BIND_SERVICE"]);
        assert_eq!(bounding("{capabilities: {add: [CAP_SYS_ADMIN, sys_time]}}").unwrap().len(), 16);
        assert_eq!(bounding("{capabilities: {drop: [CHOWN, CAP_KILL]}}").unwrap().len(), 12);
        // The host of the tests has 40 of 41: no SYS_RESOURCE.
        assert_eq!(bounding("{capabilities: {add: [ALL], drop: [CHOWN]}}").unwrap().len(), 39);
        assert_eq!(bounding("{capabilities: {add: [ALL], drop: [ALL]}}").unwrap().len(), 0);
        assert_eq!(bounding("{privileged: true, capabilities: {drop: [ALL]}}").unwrap().len(), 40);
    }

    #[test]
    fn unknown_or_unavailable_is_an_error() {
        assert_eq!(bounding("{capabilities: {add: [FLY]}}").unwrap_err(), "unknown capability \"FLY\"");
        assert_eq!(bounding("{capabilities: {drop: [CAP_FLY]}}").unwrap_err(), "unknown capability \"CAP_FLY\"");
        assert!(bounding("{capabilities: {add: [SYS_RESOURCE]}}").unwrap_err().contains("does not have it on this host"));
    }
}
