//! Values of flags: each reader returns the value, or a message that says what to write instead.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;

use crate::controllers::pressure::{self, Threshold};

/// The longest path a unix socket can have on Linux, in bytes.
const MAX_SOCKET: usize = 107;

/// A path from the root.
pub fn absolute(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') { Ok(PathBuf::from(text)) } else { Err("write a path from the root, beginning with /".to_owned()) }
}

/// A path a socket can have.
pub fn socket(text: &str) -> Result<PathBuf, String> {
    if text.len() > MAX_SOCKET {
        return Err(format!("a socket's path can have {MAX_SOCKET} bytes, {text} has {}; use a shorter one", text.len()));
    }
    absolute(text)
}

/// A DNS subdomain (RFC 1123), as Kubernetes wants nodes to be named.
pub fn node_name(text: &str) -> Result<String, String> {
    let label = |part: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let inner = part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        inner && edge(part.chars().next()) && edge(part.chars().next_back())
    };
    let valid = text.len() <= 253 && text.split('.').all(label);
    if valid { Ok(text.to_owned()) } else { Err("write lower case letters, digits, '-' and '.', such as node-1.example".to_owned()) }
}

/// Letters and digits at both ends, `-`, `_` and `.` between, 63 at most.
fn is_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    text.len() <= 63 && inner && edge(text.chars().next()) && edge(text.chars().next_back())
}

/// A label's key: a name, after a domain and `/` or alone.
fn key(text: &str) -> Result<(), String> {
    let (domain, name) = text.rsplit_once('/').map_or((None, text), |(domain, name)| (Some(domain), name));
    if is_name(name) && domain.is_none_or(|domain| node_name(domain).is_ok()) {
        return Ok(());
    }
    Err(format!("{text:?} is no key: write [domain/]name, such as example.com/disk"))
}

fn value(text: &str) -> Result<(), String> {
    if text.is_empty() || is_name(text) {
        Ok(())
    } else {
        Err(format!("{text:?} is no value: write 63 letters, digits, '-', '_' and '.' at most"))
    }
}

/// `key=value`.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (k, v) = text.split_once('=').ok_or("write key=value, such as disk=ssd")?;
    key(k)?;
    value(v)?;
    Ok((k.to_owned(), v.to_owned()))
}

/// `key[=value]:Effect`.
pub fn taint(text: &str) -> Result<Taint, String> {
    let (head, effect) = text.rsplit_once(':').ok_or("write key=value:Effect or key:Effect, such as gpu=yes:NoSchedule")?;
    if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        return Err(format!("{effect:?} is no effect: write NoSchedule, PreferNoSchedule or NoExecute"));
    }
    let (k, v) = head.split_once('=').map_or((head, None), |(k, v)| (k, Some(v)));
    key(k)?;
    value(v.unwrap_or_default())?;
    Ok(Taint { key: k.to_owned(), value: v.filter(|v| !v.is_empty()).map(str::to_owned), effect: effect.to_owned(), time_added: None })
}

/// `90s`, `5m`: 1 s to 300 s, as the kubelet's crashLoopBackOff.maxContainerRestartPeriod.
pub fn restart_period(text: &str) -> Result<Duration, String> {
    seconds_within(text, 1..=300).ok_or_else(|| "write a duration from 1s to 300s, such as 60s or 5m".to_owned())
}

/// Nothing, or up to half an hour: what systemd gives a shutdown as a whole.
pub fn shutdown_period(text: &str) -> Result<Duration, String> {
    seconds_within(text, 0..=1800).ok_or_else(|| "write a duration from 0s to 1800s, such as 90s or 2m".to_owned())
}

fn seconds_within(text: &str, range: std::ops::RangeInclusive<u64>) -> Option<Duration> {
    seconds(text).filter(|seconds| range.contains(seconds)).map(Duration::from_secs)
}

/// `0s`, `90s`, `5m`, `24h`: at most a year.
pub fn duration(text: &str) -> Result<Duration, String> {
    seconds_within(text, 0..=365 * 86400).ok_or_else(|| "write a duration such as 90s, 5m or 24h".to_owned())
}

fn seconds(text: &str) -> Option<u64> {
    let (number, factor) = match text.chars().next_back()? {
        's' => (text.strip_suffix('s')?, 1),
        'm' => (text.strip_suffix('m')?, 60),
        'h' => (text.strip_suffix('h')?, 3600),
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A duration of whole seconds, minutes or hours, such as 5m.
pub fn period(text: &str) -> Result<Duration, String> {
    let unit = |(suffix, factor): (char, u64)| text.strip_suffix(suffix)?.parse::<u64>().ok()?.checked_mul(factor);
    let seconds = [('s', 1), ('m', 60), ('h', 3600)].into_iter().find_map(unit);
    seconds.map(Duration::from_secs).ok_or_else(|| "write a duration such as 30s, 5m or 1h".to_owned())
}

/// Eviction thresholds, as one value for clap.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds(pub Vec<Threshold>);

/// The kubelet's --eviction-hard.
pub fn eviction_hard(text: &str) -> Result<Thresholds, String> {
    pressure::parse(text).map(Thresholds)
}

/// `10Mi`, `500k`, bytes: 4 KiB at least.
pub fn log_size(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u64)] =
        &[("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("k", 1000), ("M", 1_000_000), ("G", 1_000_000_000), ("", 1)];
    let (number, factor) =
        UNITS.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, *factor))).unwrap_or((text, 1));
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|bytes| *bytes >= 4096);
    bytes.ok_or_else(|| "write a size of 4Ki or more, such as 10Mi".to_owned())
}

/// An identifier of containerd.
pub fn identifier(text: &str) -> Result<String, String> {
    if text.len() <= 76 && is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("write letters and digits, with '-', '_' or '.' between".to_owned())
    }
}

/// `runc`, `crun` or a path.
pub fn runtime(text: &str) -> Result<PathBuf, String> {
    if matches!(text, "runc" | "crun") || text.starts_with('/') {
        return Ok(PathBuf::from(text));
    }
    Err("write runc, crun, or the path of an OCI runtime, beginning with /".to_owned())
}

/// A plain name, or nothing.
pub fn cgroup_root(text: &str) -> Result<String, String> {
    let text = text.trim_matches('/');
    if text.is_empty() || is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("write the plain name of one cgroup, such as minik8s".to_owned())
    }
}

/// An IPv4 network that has room for pods.
pub fn cidr(text: &str) -> Result<String, String> {
    let wrong = || "write an IPv4 network, such as 10.244.7.0/24".to_owned();
    let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
    let (address, bits): (Ipv4Addr, u32) = (address.parse().map_err(|_| wrong())?, bits.parse().map_err(|_| wrong())?);
    if !(8..=29).contains(&bits) {
        return Err("write a prefix from /8 to /29, so that pods have room".to_owned());
    }
    let network = u32::from(address) & (u32::MAX << (32 - bits));
    if network != u32::from(address) {
        return Err(format!("{address} is an address in the network; write the network itself, {}/{bits}", Ipv4Addr::from(network)));
    }
    Ok(text.to_owned())
}

/// A network interface's name.
pub fn link(text: &str) -> Result<String, String> {
    let legal = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let valid = legal && (1..=15).contains(&text.len()) && text != "." && text != "..";
    if valid { Ok(text.to_owned()) } else { Err("write 15 letters, digits, '-', '_' and '.' at most".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_values() {
        assert_eq!(restart_period("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(log_size("10Mi"), Ok(10 << 20));
        assert_eq!(log_size("500k"), Ok(500_000));
        assert_eq!(cgroup_root("/minik8s/"), Ok("minik8s".to_owned()));
        assert_eq!(cidr("10.244.0.0/16"), Ok("10.244.0.0/16".to_owned()));
        assert_eq!(label("example.com/a=b"), Ok(("example.com/a".to_owned(), "b".to_owned())));
        for name in ["a", "node-1.example"] {
            assert_eq!(node_name(name).as_deref(), Ok(name));
        }
    }

    #[test]
    fn bad_values_say_what_to_write() {
        let why = |result: Result<String, String>| result.unwrap_err();
        assert_eq!(why(cidr("10.244.7.1/24")), "10.244.7.1 is an address in the network; write the network itself, 10.244.7.0/24");
        for bad in ["x", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/30", "::1/64", "10.0.0.0/7"] {
            assert!(cidr(bad).is_err(), "{bad}");
        }
        for bad in ["", "0s", "301s", "6m", "10", "s", "1h", "99999999999999999999m"] {
            assert!(restart_period(bad).is_err(), "{bad}");
        }
        for bad in ["", "1", "Mi", "-1", "1.5Mi", "18446744073709551615Gi"] {
            assert!(log_size(bad).is_err(), "{bad}");
        }
        for bad in ["a", "=b", "a b=c", "a=b c", "/a=b", "A.B/c=d", "-a=b"] {
            assert!(label(bad).is_err(), "{bad}");
        }
        for bad in ["a=b", "a:Nope", ":NoSchedule", "a b:NoSchedule", "a=b:c:NoSchedule"] {
            assert!(taint(bad).is_err(), "{bad}");
        }
        for bad in ["", "UPPER", "a..b", "-a", "a_b", &"a".repeat(254)] {
            assert!(node_name(bad).is_err(), "{bad}");
        }
        for bad in ["", "a/b", "abcdefghijklmnop", "a b"] {
            assert!(link(bad).is_err(), "{bad}");
        }
    }
}
