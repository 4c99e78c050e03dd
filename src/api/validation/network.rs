//! A pod's names and ports on the network: DNS, host aliases, host ports (validateDNSPolicy, validatePodDNSConfig, ValidateHostAliases,
//! validatePodHostNetworkDeps).

use k8s_openapi::api::core::v1::{HostAlias, PodDNSConfig, PodSpec};

use super::field::{Faults, Path, shown};
use super::format;

/// All of it.
pub(super) fn of_pod(spec: &PodSpec, path: &Path, faults: &mut Faults) {
    faults.one_of(&path.child("dnsPolicy"), spec.dns_policy.as_deref(), &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    dns_config(spec.dns_config.as_ref(), spec.dns_policy.as_deref() == Some("None"), &path.child("dnsConfig"), faults);
    host_aliases(spec.host_aliases.as_deref().unwrap_or_default(), &path.child("hostAliases"), faults);
    if spec.host_network != Some(true) {
        return;
    }
    for (i, container) in spec.containers.iter().enumerate() {
        for (j, port) in container.ports.iter().flatten().enumerate() {
            let host_port = port.host_port.unwrap_or(0);
            if host_port != 0 && host_port != port.container_port {
                let at = path.child("containers").index(i).child("ports").index(j).child("hostPort");
                faults.invalid(&at, host_port, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

/// validatePodDNSConfig.
fn dns_config(config: Option<&PodDNSConfig>, none: bool, path: &Path, faults: &mut Faults) {
    let Some(config) = config else {
        if none {
            faults.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let servers = config.nameservers.as_deref().unwrap_or_default();
    let at = path.child("nameservers");
    if none && servers.is_empty() {
        return faults.required(&at, "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    if servers.len() > 3 {
        faults.invalid(&at, shown(&servers), "must not have more than 3 nameservers");
    }
    for (i, server) in servers.iter().enumerate() {
        faults.invalid_each(&at.index(i), server, format::ip(server));
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    let at = path.child("searches");
    if searches.len() > 32 {
        faults.invalid(&at, shown(&searches), "must not have more than 32 search paths");
    }
    if searches.join(" ").len() > 2048 {
        faults.invalid(&at, shown(&searches), "must not have more than 2048 characters (including spaces) in the search list");
    }
    for (i, search) in searches.iter().enumerate().filter(|(_, s)| *s != ".") {
        let name = search.strip_suffix('.').unwrap_or(search);
        faults.invalid_each(&at.index(i), name, format::dns_search(name));
    }
    for (i, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().unwrap_or_default().is_empty() {
            faults.required(&path.child("options").index(i), "must not be empty");
        }
    }
}

fn host_aliases(aliases: &[HostAlias], path: &Path, faults: &mut Faults) {
    for (i, alias) in aliases.iter().enumerate() {
        let path = path.index(i);
        faults.invalid_each(&path.child("ip"), &alias.ip, format::ip(&alias.ip));
        for (j, name) in alias.hostnames.iter().flatten().enumerate() {
            faults.invalid_each(&path.child("hostnames").index(j), name, format::dns_subdomain(name));
        }
    }
}
