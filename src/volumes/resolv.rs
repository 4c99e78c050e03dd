//! The text of a pod's `/etc/resolv.conf`. Pure. After pkg/kubelet/network/dns/dns.go (GetPodDNS, appendDNSConfig, mergeDNSOptions,
//! formDNSConfigFitsLimits). No cluster DNS exists here, so `ClusterFirst` and `ClusterFirstWithHostNet` are `Default`.

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};

/// MaxDNSNameservers, MaxDNSSearchPaths and MaxDNSSearchListChars of pkg/apis/core/validation; DNS1123SubdomainMaxLength for one search path.
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;
const MAX_SEARCH_PATH: usize = 253;

/// What a resolv.conf says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dns {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

/// The file of this pod, on a host whose own is `host`, and in the kubelet's words what of it did not fit (event DNSConfigForming).
pub(super) fn content(pod: &Pod, host: &str) -> (String, Vec<String>) {
    let spec = pod.spec.as_ref();
    let own_only = spec.and_then(|s| s.dns_policy.as_deref()) == Some("None");
    let mut dns = if own_only { Dns::default() } else { parse(host) };
    if let Some(config) = spec.and_then(|s| s.dns_config.as_ref()) {
        dns = append(dns, config);
    }
    let (dns, omitted) = limit(dns);
    (dns.to_string(), omitted)
}

/// Whether every nameserver of this file is systemd-resolved's stub, which only the host's network reaches.
pub(super) fn is_stub(host: &str) -> bool {
    let servers = parse(host).servers;
    !servers.is_empty() && servers.iter().all(|s| s == "127.0.0.53")
}

fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        match fields.next() {
            Some("nameserver") => dns.servers.extend(fields.next().map(str::to_owned)),
            Some("search") => dns.searches = fields.map(|s| if s == "." { s } else { s.trim_end_matches('.') }.to_owned()).collect(),
            Some("options") => dns.options.extend(fields.map(str::to_owned)),
            _ => {}
        }
    }
    dns
}

fn append(mut dns: Dns, config: &PodDNSConfig) -> Dns {
    dns.servers.extend(config.nameservers.iter().flatten().cloned());
    dns.searches.extend(config.searches.iter().flatten().cloned());
    for option in config.options.iter().flatten() {
        let name = option.name.as_deref().unwrap_or_default();
        let text = match option.value.as_deref() {
            Some(value) if !value.is_empty() => format!("{name}:{value}"),
            _ => name.to_owned(),
        };
        dns.options.retain(|o| o.split(':').next() != Some(name));
        dns.options.push(text);
    }
    dns
}

fn limit(mut dns: Dns) -> (Dns, Vec<String>) {
    dns.servers = distinct(dns.servers);
    dns.searches = distinct(dns.searches);
    dns.options = distinct(dns.options);
    let wanted = (dns.servers.len(), dns.searches.len());
    dns.servers.truncate(MAX_NAMESERVERS);
    dns.searches.truncate(MAX_SEARCHES);
    // glibc 2.28 aborts at a longer one (formDNSSearchFitsLimits).
    dns.searches.retain(|search| search.len() <= MAX_SEARCH_PATH);
    while dns.searches.join(" ").len() > MAX_SEARCH_CHARS {
        dns.searches.pop();
    }
    let mut omitted = Vec::new();
    if dns.searches.len() < wanted.1 {
        let applied = dns.searches.join(" ");
        omitted
            .push(format!("Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {applied}"));
    }
    if dns.servers.len() < wanted.0 {
        let applied = dns.servers.join(" ");
        omitted.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {applied}"
        ));
    }
    (dns, omitted)
}

fn distinct(all: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

impl std::fmt::Display for Dns {
    /// In the order the CRI plugin writes: search, nameservers, options.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        for server in &self.servers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HOST: &str = "# c\nnameserver 10.0.0.1\nsearch old\nsearch example.org. corp\noptions ndots:2 rotate\n";

    fn text(policy: &str, config: serde_json::Value) -> String {
        formed(policy, config).0
    }

    fn formed(policy: &str, config: serde_json::Value) -> (String, Vec<String>) {
        let spec = json!({"containers": [], "dnsPolicy": policy, "dnsConfig": config});
        content(&serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap(), HOST)
    }

    #[test]
    fn default_is_the_host_s() {
        for policy in ["Default", "ClusterFirst", "ClusterFirstWithHostNet"] {
            assert_eq!(text(policy, json!(null)), "search example.org corp\nnameserver 10.0.0.1\noptions ndots:2 rotate\n");
        }
    }

    #[test]
    fn none_is_only_what_the_pod_says_and_options_override() {
        let config =
            json!({"nameservers": ["1.1.1.1"], "searches": ["a"], "options": [{"name": "ndots", "value": "5"}, {"name": "edns0"}]});
        assert_eq!(text("None", config.clone()), "search a\nnameserver 1.1.1.1\noptions ndots:5 edns0\n");
        let merged = "search example.org corp a\nnameserver 10.0.0.1\nnameserver 1.1.1.1\noptions rotate ndots:5 edns0\n";
        assert_eq!(text("Default", config), merged);
    }

    #[test]
    fn limits_are_kept() {
        let servers: Vec<_> = (1..9).map(|n| format!("9.9.9.{n}")).collect();
        let searches: Vec<_> = (0..40).map(|n| format!("{}{n}", "x".repeat(100))).collect();
        let (text, omitted) = formed("None", json!({"nameservers": servers, "searches": searches}));
        assert_eq!(text.matches("nameserver").count(), 3);
        let line = text.lines().next().unwrap().strip_prefix("search ").unwrap();
        assert!(line.len() <= MAX_SEARCH_CHARS);
        let searches = format!("Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {line}");
        let servers =
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 9.9.9.1 9.9.9.2 9.9.9.3";
        assert_eq!(omitted, [searches.as_str(), servers]);
        // One that no resolver takes goes alone; what fits, and what is said twice, is nothing to tell of.
        let (text, omitted) = formed("None", json!({"searches": ["a", "b".repeat(254), "c"]}));
        assert_eq!((text.as_str(), omitted.len()), ("search a c\n", 1));
        assert!(formed("Default", json!({"nameservers": ["10.0.0.1", "1.1.1.1", "2.2.2.2"], "searches": ["corp"]})).1.is_empty());
    }

    #[test]
    fn the_stub_is_known() {
        assert!(is_stub("nameserver 127.0.0.53\noptions edns0\n"));
        assert!(!is_stub(HOST) && !is_stub(""));
    }
}
