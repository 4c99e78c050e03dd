//! subPath and subPathExpr: which paths of which volumes a container mounts (kubelet_pods.go makeMounts, container/helpers.go
//! ExpandContainerVolumeMounts). Making them safe is the volumes driver's.

use std::cell::RefCell;
use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::VolumeMount;

use super::expansion::expand;
use super::{Inputs, OciError, env};
use crate::volumes::SubPath;

/// Whether the mount is of a part of its volume.
pub(super) fn asked(mount: &VolumeMount) -> bool {
    [&mount.sub_path, &mount.sub_path_expr].into_iter().any(|path| path.as_deref().is_some_and(|p| !p.is_empty()))
}

/// The subPaths of the container's volumeMounts, expanded. Errors: a variable that is not there or empty, a path that leads out.
/// The message has the manifest's text, never a variable's value: that may be a Secret's.
pub fn sub_paths(inputs: &Inputs) -> Result<Vec<SubPath>, OciError> {
    let mounts = inputs.container.volume_mounts.iter().flatten().enumerate().filter(|(_, mount)| asked(mount));
    let mut variables = None;
    let mut out = Vec::new();
    for (index, mount) in mounts {
        let expression = mount.sub_path_expr.as_deref().filter(|e| !e.is_empty());
        let shown = expression.or(mount.sub_path.as_deref()).unwrap_or_default();
        let path = match expression {
            None => shown.to_owned(),
            Some(expression) => {
                if variables.is_none() {
                    variables = Some(env::own(inputs)?);
                }
                expanded(expression, variables.as_deref().unwrap_or_default())?
            }
        };
        if path.starts_with('/') {
            return Err(OciError::BadSubPath(format!("error SubPath `{shown}` must not be an absolute path")));
        }
        if path.split('/').any(|part| part == "..") {
            return Err(OciError::BadSubPath(format!("unable to provision SubPath `{shown}`: must not contain '..'")));
        }
        out.push(SubPath { container: inputs.container.name.clone(), index, volume: mount.name.clone(), path });
    }
    Ok(out)
}

fn expanded(expression: &str, variables: &[(String, String)]) -> Result<String, OciError> {
    let missing = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        let value = variables.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.clone()).filter(|value| !value.is_empty());
        if value.is_none() {
            missing.borrow_mut().insert(name.to_owned());
        }
        Some(value.unwrap_or_default())
    };
    let path = expand(expression, lookup);
    let missing = missing.into_inner();
    match missing.is_empty() {
        true => Ok(path),
        false => Err(OciError::NoSubPathValue(missing.into_iter().collect::<Vec<_>>().join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::*;

    fn paths(mount: &str) -> Result<Vec<(usize, String)>, String> {
        let env = "{name: A, value: x}, {name: UP, value: ../..}, {name: ROOT, value: /}, {name: EMPTY, value: ''}";
        let case = Case::new(&format!("{{env: [{env}], volumeMounts: [{{name: w, mountPath: /w}}, {{name: v, mountPath: /m, {mount}}}]}}"));
        let found = sub_paths(&case.inputs()).map_err(|e| e.to_string())?;
        Ok(found.into_iter().map(|s| (s.index, s.path)).collect())
    }

    #[test]
    fn paths_are_expanded_and_stay_inside() {
        assert_eq!(paths("subPath: 'a/$(A)'"), Ok(vec![(1, "a/$(A)".to_owned())]));
        assert_eq!(paths("subPathExpr: 'a/$(A)$$(A)'"), Ok(vec![(1, "a/x$(A)".to_owned())]));
        assert_eq!(paths("readOnly: true"), Ok(vec![]));
        for (mount, message) in [
            ("subPathExpr: '$(NONE)/$(A)/$(EMPTY)'", "missing value for EMPTY, NONE"),
            ("subPathExpr: 'a/$(UP)'", "unable to provision SubPath `a/$(UP)`: must not contain '..'"),
            ("subPathExpr: '$(ROOT)etc'", "error SubPath `$(ROOT)etc` must not be an absolute path"),
            ("subPath: a/../b", "unable to provision SubPath `a/../b`: must not contain '..'"),
        ] {
            assert_eq!(paths(mount), Err(message.to_owned()));
        }
    }
}
