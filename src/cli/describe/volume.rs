//! Volumes (describeVolumes).

use k8s_openapi::api::core::v1::Volume;

use super::doc::Doc;

/// `space` is the indent of a template.
pub(super) fn section(doc: &mut Doc, volumes: &[Volume], space: &str) {
    if volumes.is_empty() {
        return doc.line(0, format!("{space}Volumes:\t<none>"));
    }
    doc.line(0, format!("{space}Volumes:"));
    let indent = if space.is_empty() { "" } else { " " };
    for volume in volumes {
        doc.line(1, format!("{indent}{}:", volume.name));
        lines(volume).into_iter().for_each(|line| doc.line(2, line));
    }
}

fn lines(volume: &Volume) -> Vec<String> {
    let typed = |text: &str, rest: Vec<String>| [vec![format!("Type:\t{text}")], rest].concat();
    let optional = |optional: Option<bool>| format!("Optional:\t{}", optional.unwrap_or(false));
    if let Some(path) = &volume.host_path {
        let kind = path.type_.as_deref().unwrap_or("<none>");
        return typed("HostPath (bare host directory volume)", vec![format!("Path:\t{}", path.path), format!("HostPathType:\t{kind}")]);
    }
    if let Some(dir) = &volume.empty_dir {
        let limit = dir.size_limit.as_ref().map_or("<unset>", |q| q.0.as_str());
        let medium = dir.medium.as_deref().unwrap_or_default();
        let rest = vec![format!("Medium:\t{medium}"), format!("SizeLimit:\t{limit}")];
        return typed("EmptyDir (a temporary directory that shares a pod's lifetime)", rest);
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        return typed("Secret (a volume populated by a Secret)", vec![format!("SecretName:\t{name}"), optional(secret.optional)]);
    }
    if let Some(map) = &volume.config_map {
        return typed("ConfigMap (a volume populated by a ConfigMap)", vec![format!("Name:\t{}", map.name), optional(map.optional)]);
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        let rest = vec![format!("ClaimName:\t{}", claim.claim_name), format!("ReadOnly:\t{}", claim.read_only.unwrap_or(false))];
        return typed("PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)", rest);
    }
    if let Some(downward) = &volume.downward_api {
        let field = |item: &k8s_openapi::api::core::v1::DownwardAPIVolumeFile| {
            let from = item.field_ref.as_ref().map(|f| f.field_path.clone());
            let from = from.or_else(|| item.resource_field_ref.as_ref().map(|r| r.resource.clone())).unwrap_or_default();
            format!("  {from} -> {}", item.path)
        };
        let items = downward.items.iter().flatten().map(field).collect::<Vec<_>>();
        let rest = [vec!["Items:".to_owned()], items].concat();
        return typed("DownwardAPI (a volume populated by information about the pod)", rest);
    }
    if let Some(nfs) = &volume.nfs {
        let read_only = nfs.read_only.unwrap_or(false);
        let rest = vec![format!("Server:\t{}", nfs.server), format!("Path:\t{}", nfs.path), format!("ReadOnly:\t{read_only}")];
        return typed("NFS (an NFS mount that lasts the lifetime of a pod)", rest);
    }
    match &volume.projected {
        Some(projected) => {
            let mut rest = Vec::new();
            for source in projected.sources.iter().flatten() {
                if let Some(secret) = &source.secret {
                    rest.extend([format!("SecretName:\t{}", secret.name), optional(secret.optional)]);
                } else if source.downward_api.is_some() {
                    rest.push("DownwardAPI:\ttrue".to_owned());
                } else if let Some(map) = &source.config_map {
                    rest.extend([format!("ConfigMapName:\t{}", map.name), optional(map.optional)]);
                } else if let Some(token) = &source.service_account_token {
                    rest.push(format!("TokenExpirationSeconds:\t{}", token.expiration_seconds.unwrap_or(3600)));
                }
            }
            typed("Projected (a volume that contains injected data from multiple sources)", rest)
        }
        None => vec!["<unknown>".to_owned()],
    }
}
