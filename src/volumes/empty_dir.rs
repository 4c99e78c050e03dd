//! emptyDir volumes: a directory on disk, or a tmpfs for medium `Memory`. After pkg/volume/emptydir/empty_dir.go.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use nix::mount::{MsFlags, mount};

use crate::host::resources;

/// Makes the directory (mode 0777, as containers run as any user), if it is not there.
pub(super) fn on_disk(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o777))
}

/// Makes a claim's directory, if it is not there; what is there keeps its permissions.
pub(super) fn keep_on_disk(path: &Path) -> std::io::Result<()> {
    match path.is_dir() {
        true => Ok(()),
        false => on_disk(path),
    }
}

/// Makes and mounts a tmpfs of at most `bytes`, if none is mounted there.
pub(super) fn in_memory(path: &Path, bytes: u64) -> std::io::Result<()> {
    tmpfs(path, &format!("size={bytes},mode=0777"), MsFlags::empty())
}

/// Mounts a tmpfs at `path`, if none is mounted there.
pub(super) fn tmpfs(path: &Path, options: &str, flags: MsFlags) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    if is_mount(path)? {
        return Ok(());
    }
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options)).map_err(Into::into)
}

fn is_mount(path: &Path) -> std::io::Result<bool> {
    let above = path.parent().unwrap_or(path);
    Ok(std::fs::metadata(path)?.dev() != std::fs::metadata(above)?.dev())
}

/// The size of a memory emptyDir: the least of the node's memory, the pod's memory limit and `sizeLimit` (calculateEmptyDirMemorySize).
pub(super) fn memory_size(source: &EmptyDirVolumeSource, pod: &Pod, node_bytes: u64) -> u64 {
    let asked = source.size_limit.as_ref().map(resources::bytes);
    let limits = [asked, resources::pod_limits(pod).memory_bytes];
    limits.into_iter().flatten().filter(|bytes| *bytes > 0).fold(node_bytes, u64::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_least_limit_counts() {
        let pod = |resources| -> Pod {
            let spec = json!({"containers": [{"name": "c", "resources": resources}]});
            serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
        };
        let size = |limit: Option<&str>, resources, node| {
            let source = serde_json::from_value(json!({"medium": "Memory", "sizeLimit": limit})).unwrap();
            memory_size(&source, &pod(resources), node)
        };
        assert_eq!(size(None, json!({}), 1000), 1000);
        assert_eq!(size(Some("500"), json!({}), 1000), 500);
        assert_eq!(size(Some("500"), json!({"limits": {"memory": "200"}}), 1000), 200);
        assert_eq!(size(Some("5Gi"), json!({"requests": {"memory": "200"}}), 1000), 1000);
    }
}
