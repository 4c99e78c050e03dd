//! CNI network configurations: what a `.conflist`, `.conf` or `.json` file says, and which file is used.
//!
//! Rules: files in lexical order, the first valid one is the network (libcni `libcni/conf.go`, kubelet's and containerd's
//! loaders); files passed over are named once each load. Of several versions (`cniVersions`) the newest that is known here is
//! spoken. Parsing is pure; [`load`] reads the directories.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::NetworkError;

/// The CNI versions whose results we read (SPEC.md's history), the oldest first.
const VERSIONS: &[&str] = &["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A network: plugins called one after the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ConfList {
    /// The file it came from, for messages.
    pub path: PathBuf,
    /// The network's name.
    pub name: String,
    /// The version plugins are spoken to in.
    pub version: String,
    /// Each plugin's own configuration, in ADD order; every one has a `type` without `/`.
    pub plugins: Vec<Map<String, Value>>,
    /// CHECK must not be called.
    pub disable_check: bool,
    /// GC must not be called: somebody else has attachments in this network, too.
    pub disable_gc: bool,
}

impl ConfList {
    /// Reads a `.conflist`. Errors: [`NetworkError::Config`] with libcni's reason.
    pub(super) fn parse_list(path: &Path, text: &[u8]) -> Result<ConfList, NetworkError> {
        let value = object(path, text)?;
        ConfList::from_value(path, &value)
    }

    /// Reads a `.conf` or `.json`: one plugin, made a list of one.
    pub(super) fn parse_single(path: &Path, text: &[u8]) -> Result<ConfList, NetworkError> {
        let plugin = object(path, text)?;
        if plugin.get("type").and_then(Value::as_str).unwrap_or_default().is_empty() {
            return Err(unusable(path, "no 'type'; perhaps this is a .conflist?"));
        }
        let mut list = Map::new();
        for key in ["name", "cniVersion"] {
            if let Some(value) = plugin.get(key) {
                list.insert(key.into(), value.clone());
            }
        }
        list.insert("plugins".into(), Value::Array(vec![Value::Object(plugin)]));
        ConfList::from_value(path, &list)
    }

    /// Checks a list's shape.
    pub(super) fn from_value(path: &Path, list: &Map<String, Value>) -> Result<ConfList, NetworkError> {
        let name = match list.get("name") {
            Some(Value::String(name)) if valid_name(name) => name.clone(),
            Some(other) => return Err(unusable(path, format!("invalid 'name' {other}"))),
            None => return Err(unusable(path, "no 'name'")),
        };
        let version = version(path, list)?;
        let (disable_check, disable_gc) = (switch(path, list, "disableCheck")?, switch(path, list, "disableGC")?);
        let plugins = match list.get("plugins") {
            Some(Value::Array(plugins)) if !plugins.is_empty() => plugins,
            _ => return Err(unusable(path, "no plugins in list")),
        };
        let plugins = plugins.iter().map(|p| plugin_of(path, p)).collect::<Result<Vec<_>, _>>()?;
        Ok(ConfList { path: path.to_owned(), name, version, plugins, disable_check, disable_gc })
    }

    /// Whether the list's version is this one or a later one.
    pub(super) fn is_at_least(&self, version: &str) -> bool {
        let age = |wanted: &str| VERSIONS.iter().position(|v| *v == wanted);
        age(&self.version) >= age(version)
    }

    /// The list as JSON, as it is kept with a pod's result.
    pub(super) fn to_value(&self) -> Map<String, Value> {
        let plugins = self.plugins.iter().cloned().map(Value::Object).collect();
        let fields = [
            ("name", Value::String(self.name.clone())),
            ("cniVersion", Value::String(self.version.clone())),
            ("plugins", Value::Array(plugins)),
            ("disableCheck", Value::Bool(self.disable_check)),
            ("disableGC", Value::Bool(self.disable_gc)),
        ];
        fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }
}

/// The version to speak: the newest of `cniVersions` and `cniVersion` that is known here (libcni NetworkConfFromBytes).
fn version(path: &Path, list: &Map<String, Value>) -> Result<String, NetworkError> {
    let several = match list.get("cniVersions") {
        None => &[][..],
        Some(Value::Array(several)) if several.iter().all(Value::is_string) => several.as_slice(),
        Some(other) => return Err(unusable(path, format!("invalid 'cniVersions' {other}"))),
    };
    let one = list.get("cniVersion");
    let known = |v: &Value| VERSIONS.iter().position(|known| v.as_str() == Some(*known));
    match (several.iter().chain(one).filter_map(known).max(), one) {
        (Some(newest), _) => Ok(VERSIONS[newest].to_owned()),
        (None, None) if several.is_empty() => Ok("0.1.0".to_owned()), // what libcni takes where none is given
        (None, _) => {
            let asked: Vec<String> = several.iter().chain(one).map(Value::to_string).collect();
            Err(unusable(path, format!("unsupported cniVersion {}; supported: {}", asked.join(", "), VERSIONS.join(", "))))
        }
    }
}

/// A boolean, which may be written as a string (libcni's readBool).
fn switch(path: &Path, list: &Map<String, Value>, key: &str) -> Result<bool, NetworkError> {
    match list.get(key) {
        None => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(other) => Err(unusable(path, format!("invalid value {other} for '{key}'"))),
    }
}

/// The executable's name of a plugin's configuration.
pub(super) fn plugin_type(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The executables a plugin's configuration needs: its own and its IPAM plugin's.
pub(super) fn executables(plugin: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let ipam = plugin.get("ipam").and_then(|i| i.get("type")).and_then(Value::as_str).filter(|t| !t.is_empty());
    std::iter::once(plugin_type(plugin)).chain(ipam)
}

fn plugin_of(path: &Path, plugin: &Value) -> Result<Map<String, Value>, NetworkError> {
    let Value::Object(plugin) = plugin else { return Err(unusable(path, "a plugin is no object")) };
    match plugin_type(plugin) {
        "" => Err(unusable(path, "a plugin has no 'type'")),
        name if name.contains('/') => Err(unusable(path, format!("invalid plugin name: {name:?} contains a '/'"))),
        _ => Ok(plugin.clone()),
    }
}

/// libcni's rule for network names (`pkg/utils/utils.go`).
fn valid_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn object(path: &Path, text: &[u8]) -> Result<Map<String, Value>, NetworkError> {
    serde_json::from_slice(text).map_err(|e| unusable(path, format!("error parsing configuration: {e}")))
}

pub(super) fn unusable(path: &Path, message: impl Into<String>) -> NetworkError {
    NetworkError::Config { path: path.to_owned(), message: message.into() }
}

/// The network of these directories; `None` where no directory has a configuration file. Blocking.
/// Errors: there are files, and none can be used (the first one's reason: running without the network the
/// administrator meant would be worse than not running).
pub(super) fn load(dirs: &[PathBuf]) -> Result<Option<ConfList>, NetworkError> {
    let mut first_error = None;
    for path in dirs.iter().flat_map(|dir| files(dir)) {
        match read(&path) {
            Ok(list) => return Ok(Some(list)),
            Err(e) => {
                tracing::warn!(error = %e, "CNI configuration passed over");
                first_error.get_or_insert(e);
            }
        }
    }
    first_error.map_or(Ok(None), Err)
}

fn read(path: &Path) -> Result<ConfList, NetworkError> {
    let text = std::fs::read(path).map_err(|e| unusable(path, e.to_string()))?;
    match path.extension() {
        Some(ext) if ext == "conflist" => ConfList::parse_list(path, &text),
        _ => ConfList::parse_single(path, &text),
    }
}

/// A directory's configuration files in lexical order; none where it can't be read.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let wanted = |p: &PathBuf| p.extension().is_some_and(|e| e == "conflist" || e == "conf" || e == "json") && !p.is_dir();
    let mut files: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).filter(wanted).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<ConfList, String> {
        ConfList::parse_list(Path::new("/x/10.conflist"), text.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_list_is_read_and_survives_being_kept() {
        let parsed = list(r#"{"cniVersion":"0.4.0","name":"n","plugins":[{"type":"bridge","mtu":1400},{"type":"portmap"}]}"#).unwrap();
        assert_eq!((parsed.name.as_str(), parsed.version.as_str(), parsed.plugins.len()), ("n", "0.4.0", 2));
        assert_eq!(ConfList::from_value(&parsed.path, &parsed.to_value()).unwrap(), parsed);
    }

    #[test]
    fn the_ipam_plugin_is_needed_too() {
        let parsed =
            list(r#"{"name":"n","plugins":[{"type":"bridge","ipam":{"type":"host-local"}},{"type":"tuning","ipam":{}}]}"#).unwrap();
        let needed: Vec<_> = parsed.plugins.iter().flat_map(executables).collect();
        assert_eq!(needed, ["bridge", "host-local", "tuning"]);
    }

    #[test]
    fn faults_are_named() {
        let cases = [
            ("{", "error parsing configuration"),
            ("[]", "error parsing configuration"),
            (r#"{"plugins":[{"type":"a"}]}"#, "no 'name'"),
            (r#"{"name":"../x","plugins":[{"type":"a"}]}"#, "invalid 'name'"),
            (r#"{"name":"n","plugins":[]}"#, "no plugins in list"),
            (r#"{"name":"n","plugins":[1]}"#, "no object"),
            (r#"{"name":"n","plugins":[{}]}"#, "no 'type'"),
            (r#"{"name":"n","plugins":[{"type":"../../bin/sh"}]}"#, "contains a '/'"),
            (r#"{"name":"n","cniVersion":"9.0.0","plugins":[{"type":"a"}]}"#, "unsupported cniVersion \"9.0.0\""),
            (r#"{"name":"n","cniVersions":["9.0.0","8.0.0"],"plugins":[{"type":"a"}]}"#, "unsupported cniVersion \"9.0.0\", \"8.0.0\""),
            (r#"{"name":"n","cniVersions":[1],"plugins":[{"type":"a"}]}"#, "invalid 'cniVersions' [1]"),
            (r#"{"name":"n","disableCheck":1,"plugins":[{"type":"a"}]}"#, "invalid value 1 for 'disableCheck'"),
            (r#"{"name":"n","disableGC":"maybe","plugins":[{"type":"a"}]}"#, "invalid value \"maybe\" for 'disableGC'"),
        ];
        for (text, reason) in cases {
            let error = list(text).unwrap_err();
            assert!(error.starts_with("CNI configuration /x/10.conflist: ") && error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn the_newest_known_version_is_spoken_and_what_must_not_be_called_is_kept() {
        let text = |fields: &str| format!(r#"{{"name":"n",{fields}"plugins":[{{"type":"a"}}]}}"#);
        let cases = [
            ("", "0.1.0"),
            (r#""cniVersion":"0.3.1","#, "0.3.1"),
            (r#""cniVersion":"0.4.0","cniVersions":["1.1.0","0.3.1"],"#, "1.1.0"),
            (r#""cniVersions":["1.0.0","9.9.9"],"#, "1.0.0"),
            (r#""cniVersion":"9.9.9","cniVersions":["0.4.0"],"#, "0.4.0"),
        ];
        for (fields, version) in cases {
            assert_eq!(list(&text(fields)).unwrap().version, version, "{fields}");
        }
        let kept = list(&text(r#""cniVersion":"1.0.0","disableCheck":"TRUE","disableGC":true,"#)).unwrap();
        assert!(kept.disable_check && kept.disable_gc);
        assert_eq!(ConfList::from_value(&kept.path, &kept.to_value()).unwrap(), kept);
        assert!(kept.is_at_least("0.4.0") && kept.is_at_least("1.0.0") && !kept.is_at_least("1.1.0"));
    }

    #[test]
    fn a_single_plugin_becomes_a_list_of_one() {
        let path = Path::new("/x/10.conf");
        let parsed = ConfList::parse_single(path, br#"{"cniVersion":"0.3.1","name":"n","type":"macvlan"}"#).unwrap();
        assert_eq!(plugin_type(&parsed.plugins[0]), "macvlan");
        let error = ConfList::parse_single(path, br#"{"name":"n","plugins":[]}"#).unwrap_err().to_string();
        assert!(error.contains("perhaps this is a .conflist"), "{error}");
    }
}
