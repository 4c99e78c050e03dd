//! What ConfigMaps, Secrets and the downward API give a pod: variables, files, or the words for what is missing.
//!
//! ```text
//! Pod ─▶ references ─▶ (Store) ─▶ Objects ─┬─▶ environment: envFrom and valueFrom  → oci
//!                                          └─▶ payloads: volume → files           → volumes
//! ```
//!
//! Pure. Guarantees: the same objects give the same variables and files; a key is looked for in the pod's own namespace only; no message and
//! no `Debug` text holds a value of a Secret. Left to others: reading the Store (agent), writing files (volumes), `$(VAR)` (oci).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use crate::api::{Key, Kind, Object};

mod downward;
mod environment;
mod keyring;
mod payloads;
mod pull_logins;
mod references;
#[cfg(test)]
mod tests;

pub use downward::{Downward, field, needs_pod_ip, resource, shown_annotations};
pub use environment::{from_sources, value_of};
pub use keyring::{Credential, Keyring, KeyringError};
pub use payloads::{Unready, has_files, payloads};
pub use pull_logins::{PullLogins, pull_logins};
pub use references::references;

/// Why a variable or a file cannot be had. Display is the kubelet's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The object is not there, and is not optional.
    #[error("{kind} {name:?} not found")]
    NotFound {
        /// `configmap`, `secret` or `persistentvolumeclaim`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A variable's key is not there, and is not optional.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// The pod's namespace.
        namespace: String,
        /// The object's name.
        name: String,
        /// The key.
        key: String,
    },
    /// A volume's item names a key that is not there.
    #[error("configmap references non-existent config key: {0}")]
    NoConfigKey(String),
    /// A volume's item names a key that is not there.
    #[error("references non-existent secret key: {0}")]
    NoSecretKey(String),
    /// A value that no environment variable can have. The value itself is not told.
    #[error("{kind} {name:?}: the value of key {key:?} cannot be an environment variable: it {why}; mount it as a volume")]
    NoText {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The key.
        key: String,
        /// What is wrong with the value.
        why: &'static str,
    },
    /// A container that `resourceFieldRef.containerName` names and the pod does not have.
    #[error("container {0} not found")]
    ContainerNotFound(String),
    /// A field of the downward API with a value that cannot be used.
    #[error("{field}: Invalid value: {value:?}: {why}")]
    Invalid {
        /// The field's path.
        field: String,
        /// What it has.
        value: String,
        /// Why not.
        why: &'static str,
    },
    /// A claim that asks for a block device.
    #[error("volume {volume} has volumeMode Block, but is specified in volumeMounts")]
    BlockClaim {
        /// The pod's volume.
        volume: String,
    },
    /// Several sources of a projected volume.
    #[error("[{0}]")]
    Several(String),
}

/// Values of fewer bytes are no secret that a message could tell.
const SHORTEST_REDACTED: usize = 4;

/// The objects a pod names, as far as they are there.
#[derive(Clone, Default)]
pub struct Objects {
    namespace: String,
    found: BTreeMap<Key, Arc<Object>>,
}

impl std::fmt::Debug for Objects {
    /// Names only: there are Secrets among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.found.keys().map(Key::to_string)).finish()
    }
}

impl Objects {
    /// What `get` has of all that `pod` names.
    pub fn gather(pod: &k8s_openapi::api::core::v1::Pod, get: impl Fn(&Key) -> Option<Arc<Object>>) -> Objects {
        let found = references(pod).into_iter().filter_map(|key| get(&key).map(|object| (key, object)));
        Objects { found: found.collect(), namespace: pod.metadata.namespace.clone().unwrap_or_default() }
    }

    /// `text` without the values of these Secrets (but for the shortest, which would make it unreadable).
    pub fn redact(&self, text: String) -> String {
        let secrets = self.found.values().filter_map(|o| o.as_secret());
        let values = secrets.flat_map(|s| s.data.iter().flatten()).filter_map(|(_, bytes)| std::str::from_utf8(&bytes.0).ok());
        let values = values.flat_map(|value| [value, value.trim()]).filter(|value| value.len() >= SHORTEST_REDACTED);
        values.fold(text, |text, value| text.replace(value, "<secret contents redacted>"))
    }

    /// The object with this key.
    pub fn find(&self, key: &Key) -> Option<Arc<Object>> {
        self.found.get(key).cloned()
    }

    fn get(&self, kind: Kind, name: &str) -> Option<&Object> {
        self.found.get(&Key::new(kind, self.namespace.as_str(), name)).map(|object| &**object)
    }

    /// The ConfigMap; `None` where it is not there and need not be.
    fn config_map(&self, name: &str, optional: Option<bool>) -> Result<Option<&ConfigMap>, ConfigError> {
        present(self.get(Kind::ConfigMap, name).and_then(Object::as_config_map), "configmap", name, optional)
    }

    /// The Secret; `None` where it is not there and need not be.
    fn secret(&self, name: &str, optional: Option<bool>) -> Result<Option<&Secret>, ConfigError> {
        present(self.get(Kind::Secret, name).and_then(Object::as_secret), "secret", name, optional)
    }
}

fn present<'a, T>(found: Option<&'a T>, kind: &'static str, name: &str, optional: Option<bool>) -> Result<Option<&'a T>, ConfigError> {
    match found {
        None if optional != Some(true) => Err(ConfigError::NotFound { kind, name: name.to_owned() }),
        found => Ok(found),
    }
}
