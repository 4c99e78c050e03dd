//! How much a directory on disk holds: for emptyDir's `sizeLimit`. After pkg/volume/util/fs (du).
//!
//! Needs Linux 5.6. Containers may change what is counted while it is counted: no symlink is followed, no other file system entered, and a directory that
//! goes meanwhile counts nothing. Ends as soon as more than the limit is found.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::controllers::pressure::DiskUsage;
use crate::host::resources;

/// The disk emptyDirs of a pod that have a sizeLimit: name → bytes.
pub fn limits(pod: &Pod) -> BTreeMap<String, u64> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let limit = |v: &k8s_openapi::api::core::v1::Volume| {
        let source = v.empty_dir.as_ref().filter(|s| s.medium.as_deref().unwrap_or_default().is_empty())?;
        Some((v.name.clone(), source.size_limit.as_ref().map(resources::bytes).filter(|bytes| *bytes > 0)?))
    };
    volumes.filter_map(limit).collect()
}

/// Whether the files below `root` take more than `limit` bytes of disk. Blocking.
pub(super) fn exceeds(root: &Path, limit: u64) -> io::Result<bool> {
    measure(root, limit).map(|used| used.bytes > limit)
}

/// What the files below `root` take; nothing where it is not there. Blocking.
pub fn disk_usage(root: &Path) -> io::Result<DiskUsage> {
    match measure(root, u64::MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(DiskUsage::default()),
        other => other,
    }
}

/// Counts until more than `enough` bytes are found.
fn measure(root: &Path, enough: u64) -> io::Result<DiskUsage> {
    use std::os::fd::AsRawFd;
    let base = std::fs::File::open(root)?;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(resolve);
    let (mut used, mut links) = (DiskUsage::default(), HashSet::new());
    let mut waiting: BTreeSet<PathBuf> = BTreeSet::from([PathBuf::from(".")]);
    while let Some(path) = waiting.pop_last() {
        let dir = match openat2(&base, &path, how) {
            Ok(dir) => dir,
            // Gone or swapped meanwhile, another file system, or deeper than a path can name.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV | Errno::EAGAIN | Errno::ENAMETOOLONG) => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in std::fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))? {
            let Ok(entry) = entry else { continue };
            // Of the entry itself, not of what it links to.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.nlink() > 1 && !metadata.is_dir() && !links.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            used = used + DiskUsage { bytes: metadata.blocks().saturating_mul(512), inodes: 1 };
            if metadata.is_dir() {
                waiting.insert(path.join(entry.file_name()));
            }
            if used.bytes > enough {
                return Ok(used);
            }
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_inside_counts_and_once() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("big"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("big"), dir.path().join("big")).unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/f"), vec![1; 100_000]).unwrap();
        for n in 0..5 {
            std::fs::hard_link(dir.path().join("sub/f"), dir.path().join(format!("again-{n}"))).unwrap();
        }
        assert!(!exceeds(dir.path(), 200_000).unwrap());
        assert!(exceeds(dir.path(), 90_000).unwrap());
        assert_eq!(disk_usage(dir.path()).unwrap().inodes, 4, "two links, a directory and its file");
        assert_eq!(disk_usage(&dir.path().join("gone")).unwrap(), DiskUsage::default());
    }

    #[test]
    fn only_disk_volumes_with_a_limit_are_looked_at() {
        let volumes = serde_json::json!([
            {"name": "a", "emptyDir": {"sizeLimit": "1Ki"}}, {"name": "b", "emptyDir": {}}, {"name": "c", "emptyDir": {"medium": "Memory", "sizeLimit": "1Ki"}},
        ]);
        let pod = serde_json::from_value(serde_json::json!({"metadata": {}, "spec": {"containers": [], "volumes": volumes}})).unwrap();
        assert_eq!(limits(&pod), BTreeMap::from([("a".to_owned(), 1024)]));
    }
}
