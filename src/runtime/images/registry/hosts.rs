//! Where a registry's images are had from: `hosts.toml` of `/etc/containerd/certs.d/<host>` → endpoints, in the order they are tried. Pure.
//!
//! Rules: containerd `core/remotes/docker/config/hosts.go`. Ours: a file that cannot be read fails the pull and says why, where containerd
//! logs it and asks the registry itself, past the mirror that was wanted.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

/// What Docker Hub's API is called.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// The keys that mean something here or in containerd.
const KNOWN: [&str; 7] = ["capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout"];

/// One server to ask.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Scheme, host and path, `https://mirror.example/v2`.
    pub(super) base: String,
    /// May say which digest a tag has.
    pub(super) resolve: bool,
    /// May be asked for content.
    pub(super) pull: bool,
    pub(super) tls: Tls,
    /// Sent with each request. They may hold secrets.
    pub(super) headers: Vec<(String, String)>,
    pub(super) dial_timeout: Option<Duration>,
    /// A mirror is told whose images it is asked for.
    pub(super) namespace: Option<String>,
}

impl fmt::Debug for Endpoint {
    /// Without the headers' values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("base", &self.base).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Whom to trust, and who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) ca: Vec<PathBuf>,
    /// Certificate and key; without a key file, the certificate's holds both.
    pub(super) client: Vec<(PathBuf, Option<PathBuf>)>,
    pub(super) skip_verify: bool,
}

#[derive(Default, Deserialize)]
struct HostTable {
    #[serde(default)]
    capabilities: Vec<String>,
    ca: Option<OneOrMany>,
    client: Option<Client>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    header: Table,
    #[serde(default)]
    override_path: bool,
    dial_timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Client {
    One(String),
    Many(Vec<OneOrMany>),
}

/// The endpoints of a `hosts.toml`, and its keys that nobody knows. `dir` is the file's. Errors: what is wrong, without values.
pub(super) fn parse(text: &str, dir: &Path, domain: &str) -> Result<(Vec<Endpoint>, Vec<String>), String> {
    let mut root: Table = text.parse().map_err(|error: toml::de::Error| syntax(text, &error))?;
    let server = match root.remove("server") {
        None => String::new(),
        Some(Value::String(server)) => server,
        Some(_) => return Err("server: it must be a string".to_owned()),
    };
    let hosts = match root.remove("host") {
        None => Table::new(),
        Some(Value::Table(hosts)) => hosts,
        Some(_) => return Err("host: it must be a table, [host.\"https://mirror.example\"]".to_owned()),
    };
    let mut unknown = Vec::new();
    let mut endpoints = Vec::new();
    for (name, table) in hosts {
        let Value::Table(table) = table else { return Err(format!("host {name:?}: it must be a table")) };
        endpoints.push(endpoint(&name, table, dir, domain, &mut unknown).map_err(|why| format!("host {name:?}: {why}"))?);
    }
    // The server itself, or the registry as it is without a file, comes last.
    endpoints.push(endpoint(&server, root, dir, domain, &mut unknown)?);
    Ok((endpoints, unknown))
}

/// The place only: a parser's message quotes the line, and a header there may be a secret.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..at).unwrap_or_default();
    let (line, column) = (before.matches('\n').count() + 1, before.chars().rev().take_while(|c| *c != '\n').count() + 1);
    format!("line {line}, column {column}: it is no TOML")
}

fn endpoint(server: &str, table: Table, dir: &Path, domain: &str, unknown: &mut Vec<String>) -> Result<Endpoint, String> {
    unknown.extend(table.keys().filter(|key| !KNOWN.contains(&key.as_str())).cloned());
    let table: HostTable = table.try_into().map_err(|error: toml::de::Error| without_values(&error))?;
    let (resolve, pull) = capabilities(&table.capabilities)?;
    let at = |path: String| dir.join(path);
    let tls = Tls {
        ca: table.ca.map(OneOrMany::list).unwrap_or_default().into_iter().map(at).collect(),
        client: table.client.map(|client| clients(client, dir)).transpose()?.unwrap_or_default(),
        skip_verify: table.skip_verify,
    };
    let headers = headers(table.header)?;
    let dial_timeout = table.dial_timeout.as_deref().map(go_duration).transpose()?;
    if server.is_empty() {
        return Ok(Endpoint { headers, dial_timeout, ..registry(domain, tls) });
    }
    let (base, host) = base(server, table.override_path)?;
    Ok(Endpoint { base, resolve, pull, tls, headers, dial_timeout, namespace: namespace(&host, domain) })
}

/// A registry that nothing is configured for but perhaps certificates. Plain HTTP is spoken only with this very host.
pub(super) fn registry(domain: &str, tls: Tls) -> Endpoint {
    let host = if domain == DOCKER_HUB.0 { DOCKER_HUB.1 } else { domain };
    let scheme = if is_loopback(domain) && tls == Tls::default() { "http" } else { "https" };
    let base = format!("{scheme}://{host}/v2");
    Endpoint { base, resolve: true, pull: true, tls, headers: Vec::new(), dial_timeout: None, namespace: None }
}

/// Docker's older layout of the same directory: `*.crt` are authorities, `x.cert` and `x.key` one of our own certificates.
pub(super) fn certificates(dir: &Path, names: &[String]) -> Tls {
    let mut names: Vec<&String> = names.iter().collect();
    names.sort();
    let ca = names.iter().filter(|name| name.ends_with(".crt")).map(|name| dir.join(name)).collect();
    let pair = |name: &&&String| {
        let key = format!("{}.key", name.strip_suffix(".cert")?);
        Some((dir.join(name), Some(dir.join(key))))
    };
    Tls { ca, client: names.iter().filter_map(|name| pair(&name)).collect(), skip_verify: false }
}

/// The names a registry's directory may have, best first (`hostPaths`).
pub(super) fn directories(domain: &str) -> Vec<String> {
    let port = domain.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(host, port)| format!("{host}_{port}_"));
    port.into_iter().chain([domain.to_owned(), "_default".to_owned()]).collect()
}

/// Scheme, host and path, and the host alone.
fn base(server: &str, override_path: bool) -> Result<(String, String), String> {
    let url = if server.starts_with("http") { server.to_owned() } else { format!("https://{server}") };
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
        return Err("it must be an http or https URL".to_owned());
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if host.is_empty() || host.ends_with(':') || host.contains(['@', '?', '#']) || path.contains(['?', '#']) {
        return Err("it must be a URL of scheme, host and path alone".to_owned());
    }
    let path: String = path.split('/').filter(|part| !part.is_empty()).map(|part| format!("/{part}")).collect();
    let path = if override_path || path.ends_with("/v2") { path } else { format!("{path}/v2") };
    Ok((format!("{scheme}://{host}{path}"), host.to_owned()))
}

fn namespace(host: &str, domain: &str) -> Option<String> {
    let own = host == domain || (domain, host) == DOCKER_HUB;
    (!own).then(|| domain.to_owned())
}

/// Resolve and pull. None named: all.
fn capabilities(named: &[String]) -> Result<(bool, bool), String> {
    let mut found = (named.is_empty(), named.is_empty());
    for name in named {
        match name.to_lowercase().as_str() {
            "resolve" => found.0 = true,
            "pull" => found.1 = true,
            "push" => {}
            _ => return Err(format!("unknown capability {name:?}; there are pull, resolve and push")),
        }
    }
    Ok(found)
}

impl OneOrMany {
    fn list(self) -> Vec<String> {
        match self {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        }
    }
}

fn clients(client: Client, dir: &Path) -> Result<Vec<(PathBuf, Option<PathBuf>)>, String> {
    let entries = match client {
        Client::One(file) => vec![OneOrMany::One(file)],
        Client::Many(entries) => entries,
    };
    let pair = |entry: OneOrMany| match entry.list().as_slice() {
        [both] => Ok((dir.join(both), None)),
        [certificate, key] => Ok((dir.join(certificate), Some(dir.join(key)))),
        _ => Err("client: an entry is a file, or a certificate and its key".to_owned()),
    };
    entries.into_iter().map(pair).collect()
}

fn headers(table: Table) -> Result<Vec<(String, String)>, String> {
    let mut out = Vec::new();
    for (name, value) in table {
        match value {
            Value::String(text) => out.push((name, text)),
            Value::Array(values) => {
                for value in values {
                    let Value::String(text) = value else { return Err(format!("header {name:?}: its values must be strings")) };
                    out.push((name.clone(), text));
                }
            }
            _ => return Err(format!("header {name:?}: it must be a string or a list of them")),
        }
    }
    Ok(out)
}

/// `10s`, `1m30s`, `500ms`.
fn go_duration(text: &str) -> Result<Duration, String> {
    let span: Option<jiff::SignedDuration> = text.parse().ok();
    span.and_then(|span| Duration::try_from(span).ok()).ok_or_else(|| format!("dial_timeout: {text:?} is no duration such as 5s"))
}

/// The first line of serde's words names the type that was expected; values are quoted only behind it.
fn without_values(error: &toml::de::Error) -> String {
    let words = error.message();
    words.split(['"', '`']).next().unwrap_or_default().trim_end_matches([' ', ':']).to_owned()
}

pub(super) fn is_loopback(domain: &str) -> bool {
    let host = match domain.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => domain.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
