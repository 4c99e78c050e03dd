//! emptyDir volumes: a directory on disk, or a tmpfs for medium `Memory`. After pkg/volume/emptydir/empty_dir.go.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MsFlags, mount};

use super::ownership;
use crate::host::resources;

/// An emptyDir's permissions: containers run as any user.
const MODE: u32 = 0o777;

/// Makes the directory with the permissions and group it is to have, if it is not there; what is there is the pod's to change. It is made aside and
/// renamed, so that nobody, after a kill neither, sees it half made.
pub(super) fn on_disk(path: &Path, group: Option<u32>) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().unwrap_or(path);
    std::fs::create_dir_all(above)?;
    let aside = nix::unistd::mkdtemp(&above.join(".new.XXXXXX"))?;
    let made = ownership::give(&aside, group, mode(group)).and_then(|()| {
        let done = renameat2(AT_FDCWD, &aside, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE);
        done.map_err(Into::into)
    });
    match made {
        Ok(()) => Ok(()),
        Err(error) => {
            std::fs::remove_dir(&aside)?;
            // Another pod was faster, with the same claim.
            if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() { Ok(()) } else { Err(error) }
        }
    }
}

fn mode(group: Option<u32>) -> u32 {
    group.map_or(MODE, |_| ownership::mode(MODE, true, false))
}

/// Makes and mounts a tmpfs of at most `bytes`, if none is mounted there.
pub(super) fn in_memory(path: &Path, bytes: u64, group: Option<u32>) -> std::io::Result<()> {
    let owner = group.map(|g| format!(",gid={g}")).unwrap_or_default();
    tmpfs(path, &format!("size={bytes},mode={:04o}{owner}", mode(group)), MsFlags::empty())
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
