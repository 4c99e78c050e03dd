//! The spec's annotations: one shim per pod, and the names CRI tools know a container by (pkg/cri/annotations/annotations.go).

use std::collections::HashMap;

use super::Inputs;

/// containerd's runc shim serves all containers of one group from one process; saves time and memory per container.
const GROUP: &str = "io.containerd.runc.v2.group";

/// annotations: grouping and CRI's names. The pod has no sandbox container, so its uid stands for the sandbox id.
pub(super) fn annotations(inputs: &Inputs) -> HashMap<String, String> {
    let meta = &inputs.pod.metadata;
    let (uid, name) = (meta.uid.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let entries = [
        (GROUP, uid.clone()),
        ("io.kubernetes.cri.container-type", "container".to_owned()),
        ("io.kubernetes.cri.container-name", inputs.container.name.clone()),
        ("io.kubernetes.cri.image-name", inputs.container.image.clone().unwrap_or_default()),
        ("io.kubernetes.cri.sandbox-id", uid.clone()),
        ("io.kubernetes.cri.sandbox-uid", uid),
        ("io.kubernetes.cri.sandbox-name", name),
        ("io.kubernetes.cri.sandbox-namespace", meta.namespace.clone().unwrap_or_default()),
    ];
    entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;

    #[test]
    fn grouped_by_pod_and_named_as_cri_does() {
        let spec = Case::new("{}").build();
        let annotations = spec.annotations().as_ref().unwrap();
        assert_eq!(annotations["io.containerd.runc.v2.group"], "u-1");
        assert_eq!(annotations["io.kubernetes.cri.container-name"], "main");
        assert_eq!(annotations["io.kubernetes.cri.sandbox-namespace"], "shop");
    }
}
