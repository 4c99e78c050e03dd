//! The logins that a pod's imagePullSecrets hold (pkg/kubelet/kubelet.go getPullSecretsForPod; secrets.go MakeDockerKeyring).

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Secret};

use super::Keyring;
use crate::api::{Key, Kind, Object};

/// What there is to log in with, and what was named but is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullLogins {
    /// The logins. Errors: a Secret that is there cannot be read; its name and the reason, without a value.
    pub keyring: Result<Keyring, String>,
    /// Names of Secrets that are not there: the pull is tried without them.
    pub missing: Vec<String>,
}

/// Reads the Secrets that `pod` names, in its namespace and in its order.
pub fn pull_logins(pod: &Pod, get: impl Fn(&Key) -> Option<Arc<Object>>) -> PullLogins {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let (mut found, mut missing) = (Vec::<Arc<Object>>::new(), Vec::new());
    for reference in pod.spec.iter().flat_map(|s| s.image_pull_secrets.iter().flatten()) {
        // A name left empty is passed over, as the kubelet does.
        if reference.name.is_empty() {
            continue;
        }
        match get(&Key::new(Kind::Secret, namespace, reference.name.as_str())).filter(|o| o.as_secret().is_some()) {
            Some(object) => found.push(object),
            None => missing.push(reference.name.clone()),
        }
    }
    let secrets: Vec<&Secret> = found.iter().filter_map(|object| object.as_secret()).collect();
    let keyring = Keyring::from_secrets(secrets).map_err(|(name, error)| format!("the pull secret {name:?} cannot be used: {error}"));
    PullLogins { keyring, missing }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::{LocalObjectReference, PodSpec};

    use super::*;

    fn secret(text: &str) -> Arc<Object> {
        let data = BTreeMap::from([(".dockerconfigjson".to_owned(), ByteString(text.as_bytes().to_vec()))]);
        let mut secret = Secret { type_: Some("kubernetes.io/dockerconfigjson".into()), data: Some(data), ..Secret::default() };
        secret.metadata.name = Some("there".into());
        Arc::new(secret.into())
    }

    fn logins(names: &[&str], text: &str) -> PullLogins {
        let references = names.iter().map(|name| LocalObjectReference { name: (*name).to_owned() }).collect();
        let mut pod = Pod { spec: Some(PodSpec { image_pull_secrets: Some(references), ..PodSpec::default() }), ..Pod::default() };
        pod.metadata.namespace = Some("team".into());
        pull_logins(&pod, |key| (key.namespace == "team" && key.name == "there").then(|| secret(text)))
    }

    #[test]
    fn missing_ones_are_told_and_the_others_used() {
        let found = logins(&["absent", "", "there"], r#"{"auths":{"r.io":{"username":"u","password":"p"}}}"#);
        assert_eq!(found.missing, ["absent"]);
        assert_eq!(found.keyring.unwrap().lookup("r.io/x").len(), 1);
        assert_eq!(logins(&[], ""), PullLogins { keyring: Ok(Keyring::default()), missing: Vec::new() });
    }

    #[test]
    fn a_bad_one_is_named_without_its_value() {
        let error = logins(&["there"], r#"{"auths": hunter2}"#).keyring.unwrap_err();
        assert_eq!(error, "the pull secret \"there\" cannot be used: it is no Docker configuration: line 1, column 11");
    }
}
