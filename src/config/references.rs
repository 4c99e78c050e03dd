//! Which ConfigMaps, Secrets and claims a pod names (pkg/api/v1/pod/util.go VisitPodConfigmapNames, VisitPodSecretNames).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, Volume};

use crate::api::{Key, Kind};

/// The keys of everything in the pod's namespace that its variables and volumes come from, optional or not. imagePullSecrets are not among
/// them: no container waits for those ([`super::pull_logins`]).
pub fn references(pod: &Pod) -> BTreeSet<Key> {
    let Some(spec) = &pod.spec else { return BTreeSet::new() };
    let mut names: Vec<(Kind, &str)> = Vec::new();
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        of_container(container, &mut names);
    }
    spec.volumes.iter().flatten().for_each(|volume| of_volume(volume, &mut names));
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    names.into_iter().filter(|(_, name)| !name.is_empty()).map(|(kind, name)| Key::new(kind, namespace, name)).collect()
}

fn of_container<'a>(container: &'a Container, names: &mut Vec<(Kind, &'a str)>) {
    for source in container.env_from.iter().flatten() {
        names.extend(source.config_map_ref.iter().map(|r| (Kind::ConfigMap, r.name.as_str())));
        names.extend(source.secret_ref.iter().map(|r| (Kind::Secret, r.name.as_str())));
    }
    for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        names.extend(source.config_map_key_ref.iter().map(|r| (Kind::ConfigMap, r.name.as_str())));
        names.extend(source.secret_key_ref.iter().map(|r| (Kind::Secret, r.name.as_str())));
    }
}

fn of_volume<'a>(volume: &'a Volume, names: &mut Vec<(Kind, &'a str)>) {
    names.extend(volume.config_map.iter().map(|s| (Kind::ConfigMap, s.name.as_str())));
    names.extend(volume.secret.iter().filter_map(|s| s.secret_name.as_deref()).map(|name| (Kind::Secret, name)));
    names.extend(volume.persistent_volume_claim.iter().map(|s| (Kind::PersistentVolumeClaim, s.claim_name.as_str())));
    for projection in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
        names.extend(projection.config_map.iter().map(|s| (Kind::ConfigMap, s.name.as_str())));
        names.extend(projection.secret.iter().map(|s| (Kind::Secret, s.name.as_str())));
    }
}
