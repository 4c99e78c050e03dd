//! What a CNI plugin prints: a result (SPEC.md "ADD Success", all versions) or an error.

use std::net::IpAddr;

use serde_json::{Map, Value};

/// The pod's addresses in a final result: IPv4 first (containerd's `ip_pref` default), else in the plugin's order.
/// Addresses of interfaces on the host's side (no `sandbox`) are not the pod's.
/// Errors: why this is no result with an address.
pub(super) fn addresses(result: &Map<String, Value>) -> Result<Vec<IpAddr>, String> {
    let mut found = Vec::new();
    for entry in result.get("ips").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
        let text = entry.get("address").and_then(Value::as_str).unwrap_or_default();
        let address = cidr_address(text).ok_or_else(|| format!("invalid address {text:?} in the result"))?;
        if in_sandbox(result, entry) {
            found.push(address);
        }
    }
    for key in ["ip4", "ip6"] {
        if let Some(text) = result.get(key).and_then(|v| v.get("ip")).and_then(Value::as_str) {
            found.push(cidr_address(text).ok_or_else(|| format!("invalid address {text:?} in the result"))?);
        }
    }
    if found.is_empty() {
        return Err("the result has no address for the pod".into());
    }
    found.sort_by_key(IpAddr::is_ipv6);
    Ok(found)
}

fn cidr_address(text: &str) -> Option<IpAddr> {
    text.split_once('/').map_or(text, |(address, _)| address).parse().ok()
}

fn in_sandbox(result: &Map<String, Value>, entry: &Value) -> bool {
    let Some(index) = entry.get("interface").and_then(Value::as_u64) else { return true };
    let interface = usize::try_from(index).ok().and_then(|i| result.get("interfaces")?.get(i));
    interface.and_then(|i| i.get("sandbox")).and_then(Value::as_str).is_some_and(|s| !s.is_empty())
}

/// Reads a plugin's standard output as a result. Errors: in words.
pub(super) fn parse(stdout: &[u8], version: &str) -> Result<Map<String, Value>, String> {
    let parsed: Result<Map<String, Value>, _> = serde_json::from_slice(stdout);
    let mut result = parsed.map_err(|e| format!("printed no CNI result: {e}: {}", quoted(stdout)))?;
    result.entry("cniVersion").or_insert_with(|| Value::String(version.to_owned()));
    Ok(result)
}

/// A failed plugin's own words (libcni `pkg/invoke/raw_exec.go` pluginErr, `pkg/types` Error).
pub(super) fn error_message(status: &str, stdout: &[u8], stderr: &[u8]) -> String {
    if stdout.is_empty() {
        return match stderr {
            [] => format!("netplugin failed with no error message: {status}"),
            text => format!("netplugin failed: {}: {status}", quoted(text)),
        };
    }
    let text = |error: &Map<String, Value>, key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    match serde_json::from_slice::<Map<String, Value>>(stdout) {
        Err(e) => format!("netplugin failed but error parsing its diagnostic message {}: {e}", quoted(stdout)),
        Ok(error) => {
            let details = text(&error, "details");
            let code = error.get("code").and_then(Value::as_u64).map_or(String::new(), |c| format!(" (code {c})"));
            let separator = if details.is_empty() { "" } else { "; " };
            format!("{}{separator}{details}{code}", text(&error, "msg"))
        }
    }
}

/// The code of a failed plugin's error (SPEC.md "Error"), if it printed one.
pub(super) fn error_code(stdout: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Map<String, Value>>(stdout).ok()?.get("code")?.as_u64()
}

/// At most 256 characters of what was printed, escaped.
fn quoted(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let short: String = text.trim().chars().take(256).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(text: &str) -> Result<Vec<String>, String> {
        let result = parse(text.as_bytes(), "1.0.0")?;
        Ok(addresses(&result)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_version_s_addresses_are_read_v4_first() {
        assert_eq!(ips(r#"{"ips":[{"address":"fd00::2/64"},{"address":"10.1.2.3/24"}]}"#).unwrap(), ["10.1.2.3", "fd00::2"]);
        assert_eq!(ips(r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.2.3/24"},"ip6":{"ip":"fd00::2/64"}}"#).unwrap(), ["10.1.2.3", "fd00::2"]);
    }

    #[test]
    fn the_host_s_side_is_not_the_pod_s() {
        let text = r#"{"interfaces":[{"name":"br0"},{"name":"eth0","sandbox":"/run/ns/x/net"}],
            "ips":[{"interface":0,"address":"10.0.0.1/24"},{"interface":1,"address":"10.0.0.9/24"}]}"#;
        assert_eq!(ips(text).unwrap(), ["10.0.0.9"]);
    }

    #[test]
    fn garbage_is_told() {
        for (text, reason) in [
            ("", "printed no CNI result"),
            ("hello", "printed no CNI result"),
            ("[1]", "printed no CNI result"),
            ("{}", "no address for the pod"),
            (r#"{"ips":[{"address":"x"}]}"#, "invalid address \"x\""),
            (r#"{"ips":[{"address":"10.0.0.1/24","interface":7}]}"#, "no address for the pod"),
        ] {
            assert!(ips(text).unwrap_err().contains(reason), "{text}");
        }
    }

    #[test]
    fn a_failed_plugin_s_words_are_libcni_s() {
        let json = br#"{"cniVersion":"1.0.0","code":11,"msg":"try again","details":"lock held"}"#;
        assert_eq!(error_message("exit status: 1", json, b""), "try again; lock held (code 11)");
        assert_eq!((error_code(json), error_code(b"{}"), error_code(b"oops")), (Some(11), None, None));
        assert_eq!(error_message("exit status: 1", b"", b"boom\n"), "netplugin failed: \"boom\": exit status: 1");
        assert_eq!(error_message("exit status: 2", b"", b""), "netplugin failed with no error message: exit status: 2");
        assert!(error_message("", b"oops", b"").starts_with("netplugin failed but error parsing its diagnostic message \"oops\""));
    }
}
