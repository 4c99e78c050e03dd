//! `securityContext.sysctls`: the kubelet's safe ones are set in the pod's namespaces, others refused, should admission have let one through.

use std::collections::HashMap;

use super::{Inputs, OciError};
use crate::api::well_known::SAFE_SYSCTLS;
use crate::network::Namespace;

/// linux.sysctl; `None` where nothing is asked.
pub(super) fn sysctls(inputs: &Inputs) -> Result<Option<HashMap<String, String>>, OciError> {
    let wanted = inputs.spec().and_then(|s| s.security_context.as_ref()).and_then(|c| c.sysctls.as_ref());
    let mut out = HashMap::new();
    for sysctl in wanted.into_iter().flatten() {
        let name = sysctl.name.replace('/', ".");
        let field = || format!("spec.securityContext.sysctls[{name}]");
        if !SAFE_SYSCTLS.contains(&name.as_str()) {
            return Err(OciError::refused(field(), format!("forbidden sysctl: {name:?} not allowlisted")));
        }
        let namespace = if name.starts_with("net.") { &inputs.sandbox.network } else { &inputs.sandbox.ipc };
        if *namespace == Namespace::Host {
            return Err(OciError::refused(field(), "may not be set in the host's namespace"));
        }
        out.insert(name, sysctl.value.clone());
    }
    Ok(Some(out).filter(|o| !o.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::super::testing::Case;

    #[test]
    fn safe_ones_are_set_and_others_refused() {
        let pod = |name: &str| format!("{{securityContext: {{sysctls: [{{name: {name}, value: '1'}}]}}}}");
        let spec = Case::new("{}").pod(&pod("net.ipv4.tcp_syncookies")).build();
        assert_eq!(spec.linux().as_ref().unwrap().sysctl().as_ref().unwrap()["net.ipv4.tcp_syncookies"], "1");
        let error = build(&Case::new("{}").pod(&pod("kernel.msgmax")).inputs()).unwrap_err().to_string();
        assert_eq!(error, "spec.securityContext.sysctls[kernel.msgmax]: forbidden sysctl: \"kernel.msgmax\" not allowlisted");
        assert!(build(&Case::new("{}").pod(&pod("net.ipv4.tcp_syncookies")).host_network().inputs()).is_err());
    }
}
