//! Logins at registries, and which of them an image calls for (pkg/credentialprovider: keyring.go, config.go, secrets/secrets.go).
//!
//! Guarantees: the same entries match the same images, in the same order, as in the kubelet; nothing here prints a user's name or password.
//! Left to others: reading files (runtime), trying one login after the other (runtime).

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

mod location;
#[cfg(test)]
mod tests;

/// The key of Docker Hub's logins, whatever name the image calls it by.
const DEFAULT_REGISTRY: &str = "index.docker.io";
/// Shorter values are no secret that a message could tell.
const SHORTEST_REDACTED: usize = 4;

/// A name and a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credential {
    /// The user.
    pub username: String,
    /// The password, or a registry's token in its place.
    pub password: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(<redacted>)")
    }
}

impl Credential {
    /// `text` without the password, plain or as HTTP sends it.
    pub fn redact(&self, text: String) -> String {
        let sent = STANDARD.encode(format!("{}:{}", self.username, self.password));
        let values = [sent.as_str(), self.password.as_str()];
        let values = values.into_iter().filter(|value| value.len() >= SHORTEST_REDACTED);
        values.fold(text, |text, value| text.replace(value, "<redacted>"))
    }
}

/// Why a Docker configuration cannot be used. It holds no value of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// No JSON of that form. Only the place is told: a parser's message may quote a value.
    #[error("it is no Docker configuration: line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// An `auth` that is not base64 of `user:password`.
    #[error("the entry {location:?}: unable to parse auth field, must be formatted as base64(username:password)")]
    Auth {
        /// The registry it is for.
        location: String,
    },
}

/// What a pull may log in with: places and their logins. Cheap to make for each pull.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    entries: BTreeMap<String, Vec<Credential>>,
    passed_over: Vec<&'static str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigJson {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    /// Programs that know logins: named, never run.
    creds_store: Option<serde::de::IgnoredAny>,
    cred_helpers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    auth: Option<String>,
}

impl Keyring {
    /// The logins of `config.json` and of Secrets of type kubernetes.io/dockerconfigjson.
    ///
    /// # Errors
    /// It is not such a file.
    pub fn from_config_json(bytes: &[u8]) -> Result<Keyring, KeyringError> {
        let config: ConfigJson = parse(bytes)?;
        let helpers = [("credsStore", config.creds_store.is_some()), ("credHelpers", config.cred_helpers.is_some())];
        let passed_over = helpers.into_iter().filter(|(_, there)| *there).map(|(key, _)| key).collect();
        Ok(Keyring { passed_over, ..Keyring::from_entries(config.auths.unwrap_or_default())? })
    }

    /// Keys of the file that lead to logins here is no way to.
    pub fn passed_over(&self) -> &[&'static str] {
        &self.passed_over
    }

    /// The logins of the old `.dockercfg`, which is what `auths` holds in the newer one.
    ///
    /// # Errors
    /// It is not such a file.
    pub fn from_dockercfg(bytes: &[u8]) -> Result<Keyring, KeyringError> {
        Keyring::from_entries(parse(bytes)?)
    }

    /// The logins of these Secrets; those of other types have none.
    ///
    /// # Errors
    /// The first Secret, by name, that cannot be read.
    pub fn from_secrets<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Result<Keyring, (String, KeyringError)> {
        let mut all = Keyring::default();
        for secret in secrets {
            let data = |key: &str| secret.data.as_ref().and_then(|d| d.get(key)).map(|b| b.0.as_slice()).filter(|b| !b.is_empty());
            let read = match secret.type_.as_deref() {
                Some("kubernetes.io/dockerconfigjson") => data(".dockerconfigjson").map(Keyring::from_config_json),
                Some("kubernetes.io/dockercfg") => data(".dockercfg").map(Keyring::from_dockercfg),
                _ => None,
            };
            if let Some(keyring) = read.transpose().map_err(|error| (secret.metadata.name.clone().unwrap_or_default(), error))? {
                all.add(keyring);
            }
        }
        Ok(all)
    }

    fn from_entries(entries: BTreeMap<String, Entry>) -> Result<Keyring, KeyringError> {
        let mut keyring = Keyring::default();
        for (location, entry) in entries {
            let credential = entry.credential().ok_or_else(|| KeyringError::Auth { location: location.clone() })?;
            // A location that no URL can have matches nothing, as in the kubelet.
            if let Some(key) = location::key(&location) {
                keyring.entries.entry(key).or_default().push(credential);
            }
        }
        Ok(keyring)
    }

    fn add(&mut self, other: Keyring) {
        for (location, credentials) in other.entries {
            self.entries.entry(location).or_default().extend(credentials);
        }
    }

    /// The logins to try for an image (`registry.example:5000/team/app`, without tag or digest), best first. None: it is asked for without.
    pub fn lookup(&self, image: &str) -> Vec<Credential> {
        // Reverse order puts a longer path before its own beginning.
        let matching = self.entries.iter().rev().filter(|(key, _)| location::matches(key, image));
        let found: Vec<Credential> = matching.flat_map(|(_, credentials)| credentials.iter().cloned()).collect();
        match self.entries.get(DEFAULT_REGISTRY) {
            Some(credentials) if found.is_empty() && location::is_default_registry(image) => credentials.clone(),
            _ => found,
        }
    }
}

impl Entry {
    /// `auth` counts before the pair of fields.
    fn credential(self) -> Option<Credential> {
        let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) else {
            return Some(Credential { username: self.username.unwrap_or_default(), password: self.password.unwrap_or_default() });
        };
        let auth = auth.trim();
        let decoded = if auth.ends_with('=') { STANDARD.decode(auth) } else { STANDARD_NO_PAD.decode(auth) };
        let text = String::from_utf8(decoded.ok()?).ok()?;
        let (username, password) = text.split_once(':')?;
        Some(Credential { username: username.to_owned(), password: password.trim_end_matches('\0').to_owned() })
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, KeyringError> {
    serde_json::from_slice(bytes).map_err(|error| KeyringError::Syntax { line: error.line(), column: error.column() })
}
