//! The text of a pod's `/etc/hosts`. Pure. After pkg/kubelet/kubelet_pods.go (managedHostsFileContent, nodeHostsFileContent).

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{HostAlias, Pod};

use crate::pod::attempt;

const MANAGED: &str = "# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
";

/// The file of this pod. `host_file` is the host's own `/etc/hosts`, which a pod in the host's network gets.
pub(super) fn content(pod: &Pod, hostname: &str, ips: &[IpAddr], host_file: &str) -> String {
    let spec = pod.spec.as_ref();
    let aliases = spec.and_then(|s| s.host_aliases.as_deref()).unwrap_or_default();
    if spec.and_then(|s| s.host_network) == Some(true) {
        return format!("# Kubernetes-managed hosts file (host network).\n{host_file}{}", alias_lines(aliases));
    }
    let names = match attempt::domain(pod) {
        Some(domain) => format!("{hostname}.{domain}\t{hostname}"),
        None => hostname.to_owned(),
    };
    let own: String = ips.iter().map(|ip| format!("{ip}\t{names}\n")).collect();
    format!("{MANAGED}{own}{}", alias_lines(aliases))
}

fn alias_lines(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let line = |a: &HostAlias| format!("{}\t{}\n", a.ip, a.hostnames.as_deref().unwrap_or_default().join("\t"));
    format!("\n# Entries added by HostAliases.\n{}", aliases.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"namespace": "ns"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_pod_s_own_addresses_and_aliases() {
        let aliases = json!([{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]);
        let pod = pod(json!({"containers": [], "subdomain": "sub", "hostAliases": aliases}));
        let text = content(&pod, "web", &["10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap()], "");
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost"));
        let end = "10.1.0.2\tweb.sub.ns.svc.cluster.local\tweb\nfd00::2\tweb.sub.ns.svc.cluster.local\tweb\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn the_host_s_network_has_the_host_s_file() {
        let text = content(&pod(json!({"containers": [], "hostNetwork": true})), "h", &[], "127.0.0.1 localhost\n");
        assert_eq!(text, "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n");
    }
}
