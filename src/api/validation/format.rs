//! What names, keys, ports and addresses look like: each function returns what is wrong with a text, in Kubernetes' words; nothing = it is right.
//!
//! `staging/src/k8s.io/apimachinery/pkg/util/validation/{validation,ip}.go` and `pkg/api/validate/content/kube.go`. Lengths are in bytes.

const LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const KEY_TEXT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const KEY_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// `text (e.g. 'a',  or 'b', regex used for validation is 'format')`.
fn pattern(text: &str, format: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{text} (e.g. {}regex used for validation is '{format}')", examples.join(" or "))
}

fn max_length(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn max_bytes(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// `must be between lo and hi, inclusive`.
pub(super) fn range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// Letters, digits and `extra`, starting and ending with a letter or digit.
fn framed(text: &str, letter: fn(&u8) -> bool, extra: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(letter) && bytes.last().is_some_and(letter);
    ends && bytes.iter().all(|b| letter(b) || extra.contains(b))
}

fn lower(b: &u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn any_case(b: &u8) -> bool {
    b.is_ascii_alphanumeric()
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|part| framed(part, lower, b"-"))
}

/// A DNS label (IsDNS1123Label): names of containers, volumes, namespaces, hosts.
pub(super) fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 63 {
        wrong.push(max_length(63));
    }
    if !framed(text, lower, b"-") {
        let dotted = is_subdomain(text);
        wrong.push(if dotted { "must not contain dots".to_owned() } else { pattern(LABEL_TEXT, LABEL_FORMAT, &["my-name", "123-abc"]) });
    }
    wrong
}

/// A DNS subdomain (IsDNS1123Subdomain): names of most objects.
pub(super) fn dns_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 253 {
        wrong.push(max_length(253));
    }
    if !is_subdomain(text) {
        wrong.push(pattern(SUBDOMAIN_TEXT, &format!("{LABEL_FORMAT}(\\.{LABEL_FORMAT})*"), &["example.com"]));
    }
    wrong
}

/// A DNS search path: as a subdomain, `_` allowed (IsDNS1123SubdomainWithUnderscore).
pub(super) fn dns_search(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 253 {
        wrong.push(max_length(253));
    }
    if !text.split('.').all(|part| framed(part.strip_prefix('_').unwrap_or(part), lower, b"-_")) {
        let label = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
        let text = SUBDOMAIN_TEXT.replace("characters, '-'", "characters, '_', '-'");
        wrong.push(pattern(&text, &format!("{label}(\\.{label})*"), &["example.com"]));
    }
    wrong
}

/// A qualified name (IsQualifiedName): keys of labels, annotations, taints, resources.
pub(super) fn qualified_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let examples = ["MyName", "my.name", "123-abc"];
    let (prefix, name) = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => (None, name),
        [prefix, name] => (Some(prefix), name),
        _ => {
            let text = format!("a valid label key {}", pattern(KEY_TEXT, KEY_FORMAT, &examples));
            return vec![format!("{text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")];
        }
    };
    match prefix {
        Some("") => wrong.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => wrong.extend(dns_subdomain(prefix).into_iter().map(|m| format!("prefix part {m}"))),
        None => {}
    }
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push(format!("name part {}", max_bytes(63)));
    }
    if !framed(name, any_case, b"-_.") {
        wrong.push(format!("name part {}", pattern(KEY_TEXT, KEY_FORMAT, &examples)));
    }
    wrong
}

/// A label's value (IsValidLabelValue).
pub(super) fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 63 {
        wrong.push(max_bytes(63));
    }
    if !text.is_empty() && !framed(text, any_case, b"-_.") {
        wrong.push(pattern(LABEL_VALUE_TEXT, &format!("({KEY_FORMAT})?"), &["MyValue", "my_value", "12345"]));
    }
    wrong
}

/// A key of a ConfigMap or Secret (IsConfigMapKey).
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 253 {
        wrong.push(max_length(253));
    }
    if text.is_empty() || !text.bytes().all(|b| any_case(&b) || b"-._".contains(&b)) {
        let text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        wrong.push(pattern(text, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match text {
        "." => wrong.push("must not be '.'".to_owned()),
        ".." => wrong.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// An environment variable's name (IsRelaxedEnvVarName, the rule since v1.34).
pub(super) fn env_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.is_empty() {
        wrong.push("environment variable name must be non-empty".to_owned());
    }
    if !text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        wrong.push("a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned());
    }
    wrong
}

/// A port's number (IsValidPortNum).
pub(super) fn port_number(port: i32) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec![range(1, 65535)] }
}

/// A port's name (IsValidPortName).
pub(super) fn port_name(text: &str) -> Vec<String> {
    let rules = [
        (text.len() > 15, "must be no more than 15 characters"),
        (
            text.is_empty() || !text.bytes().all(|b| lower(&b) || b == b'-'),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (!text.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        (text.contains("--"), "must not contain consecutive hyphens"),
        (text.starts_with('-') || text.ends_with('-'), "must not begin or end with a hyphen"),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, message)| message.to_owned()).collect()
}

/// The number in `<n>%`, or what is wrong (IsValidPercent).
pub(super) fn percent(text: &str) -> Result<i64, String> {
    let digits = text.strip_suffix('%').filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
    let wrong = || pattern("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", &["1%", "93%"]);
    digits.map(|d| d.parse().unwrap_or(i64::MAX)).ok_or_else(wrong)
}

/// An HTTP header's name (IsHTTPHeaderName).
pub(super) fn http_header(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|b| any_case(&b) || b == b'-') {
        return Vec::new();
    }
    vec![pattern("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// An IP address (IsValidIP).
pub(super) fn ip(text: &str) -> Vec<String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

/// A relative path that stays below where it starts (validateLocalDescendingPath).
pub(super) fn descending_path(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.starts_with('/') {
        wrong.push("must be a relative path".to_owned());
    }
    wrong.extend(no_backsteps(text));
    wrong
}

/// A path without `..` (validatePathNoBacksteps).
pub(super) fn no_backsteps(text: &str) -> Vec<String> {
    if text.split('/').any(|part| part == "..") { vec!["must not contain '..'".to_owned()] } else { Vec::new() }
}

/// A path inside a volume that does not collide with the `..data` machinery (ValidateLocalNonReservedPath).
pub(super) fn local_path(text: &str) -> Vec<String> {
    let mut wrong = descending_path(text);
    if text.starts_with("..") && !text.starts_with("../") {
        wrong.push("must not start with '..'".to_owned());
    }
    wrong
}

/// `acme.io/foo` (IsDomainPrefixedPath): which part is wrong, and what about it.
pub(super) fn domain_prefixed_path(text: &str) -> Vec<(&str, String)> {
    match text.split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            let mut wrong: Vec<_> = dns_subdomain(host).into_iter().map(|m| (host, m)).collect();
            if !path.bytes().all(|b| any_case(&b) || b"/-._~%!$&'()*+,;=:".contains(&b)) {
                wrong.push((path, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')".to_owned()));
            }
            wrong
        }
        _ => vec![(text, "must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned())],
    }
}

/// An address and the length of its prefix (IsValidCIDR).
pub(super) fn cidr(text: &str) -> Vec<String> {
    let split = text.split_once('/').and_then(|(ip, bits)| Some((ip.parse::<std::net::IpAddr>().ok()?, bits)));
    let right = split.is_some_and(|(ip, bits)| {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        bits.bytes().all(|b| b.is_ascii_digit()) && bits.parse::<u32>().is_ok_and(|bits| bits <= most)
    });
    if right { Vec::new() } else { vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()] }
}
