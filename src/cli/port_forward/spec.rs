//! `[LOCAL:]REMOTE` and `--address`, in kubectl's words. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::core::v1::Pod;

use crate::pod::attempt;

/// One port here and one there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Here; 0: any.
    pub local: u16,
    /// There.
    pub remote: u16,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Whether it must be had: of localhost's two one is enough.
    pub needed: bool,
}

/// The ports meant; names are looked up among the ports of the pod's containers.
pub fn forwards(ports: &[String], pod: &Pod) -> Result<Vec<Forward>, String> {
    ports.iter().map(|port| forward(port, pod)).collect()
}

fn forward(text: &str, pod: &Pod) -> Result<Forward, String> {
    let (local, remote) = match text.split_once(':') {
        None => (text, text),
        Some((_, remote)) if remote.contains(':') => return Err(format!("invalid port format '{text}'")),
        Some((local, remote)) => (if local.is_empty() { "0" } else { local }, remote),
    };
    let named = || {
        Some(remote)
            .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()) || name.contains('-'))
            .map(|name| named_port(pod, name))
    };
    let remote_port = match remote.parse::<u16>() {
        Ok(0) => return Err("remote port must be > 0".to_owned()),
        Ok(port) => port,
        Err(cause) => named().unwrap_or_else(|| Err(format!("error parsing remote port '{remote}': {cause}")))?,
    };
    let local_port = match local.parse::<u16>() {
        Ok(port) => port,
        Err(_) if local == remote => remote_port,
        Err(cause) => return Err(format!("error parsing local port '{local}': {cause}")),
    };
    Ok(Forward { local: local_port, remote: remote_port })
}

fn named_port(pod: &Pod, name: &str) -> Result<u16, String> {
    let mut ports = attempt::containers(pod).flat_map(|(_, c)| c.ports.iter().flatten());
    let found = ports.find(|p| p.name.as_deref() == Some(name)).and_then(|p| u16::try_from(p.container_port).ok());
    found.ok_or_else(|| format!("Pod '{}' does not have a named port '{name}'", pod.metadata.name.as_deref().unwrap_or_default()))
}

/// The addresses meant, each once, in order.
pub fn addresses(texts: &[String]) -> Result<Vec<Address>, String> {
    let mut all: Vec<Address> = Vec::new();
    for text in texts {
        let new = match text.as_str() {
            "localhost" => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].map(|ip| Address { ip, needed: false }).to_vec(),
            other => vec![Address { ip: other.parse().map_err(|_| format!("{other} is not a valid IP"))?, needed: true }],
        };
        all.extend(new.into_iter().filter(|a| !all.iter().any(|b| b.ip == a.ip)).collect::<Vec<_>>());
    }
    all.sort_by_key(|a| a.ip);
    match all.is_empty() {
        true => Err("you must specify at least 1 address".to_owned()),
        false => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<(u16, u16), String> {
        let pod = serde_json::json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "a"}, {"name": "b", "ports": [{"name": "http-alt", "containerPort": 8080}]},
        ]}});
        forward(text, &serde_json::from_value(pod).unwrap()).map(|f| (f.local, f.remote))
    }

    #[test]
    fn kubectls_forms() {
        for (text, expected) in [
            ("5000", (5000, 5000)),
            ("8888:5000", (8888, 5000)),
            (":5000", (0, 5000)),
            ("0:5000", (0, 5000)),
            ("http-alt", (8080, 8080)),
            ("80:http-alt", (80, 8080)),
        ] {
            assert_eq!(of(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn kubectls_words_for_what_is_none() {
        assert_eq!(of("1:2:3").unwrap_err(), "invalid port format '1:2:3'");
        assert_eq!(of("80:0").unwrap_err(), "remote port must be > 0");
        assert_eq!(of("80:gone").unwrap_err(), "Pod 'p' does not have a named port 'gone'");
        assert!(of("x:80").unwrap_err().starts_with("error parsing local port 'x': "));
        for bad in ["", "80:", "80:70000", "70000", "-1", "80:_"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn localhost_is_two_of_which_one_is_enough() {
        let of = |texts: &[&str]| addresses(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        let shown = |texts: &[&str]| of(texts).unwrap().iter().map(|a| format!("{} {}", a.ip, a.needed)).collect::<Vec<_>>();
        assert_eq!(shown(&["localhost"]), ["127.0.0.1 false", "::1 false"]);
        assert_eq!(shown(&["10.0.0.1", "localhost", "10.0.0.1"]), ["10.0.0.1 true", "127.0.0.1 false", "::1 false"]);
        assert_eq!(of(&["nowhere"]).unwrap_err(), "nowhere is not a valid IP");
    }
}
