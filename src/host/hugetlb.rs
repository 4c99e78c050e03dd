//! Limits of huge pages, written into the hugetlb controller's files; nothing where a cgroup has none (`describe` has said so).
//!
//! After opencontainers/cgroups fs/hugetlb.go and fs2/hugetlb.go: the limit of what is used, and of what is reserved where the kernel counts that.

use std::io;
use std::path::Path;

use super::{CgroupVersion, Hierarchies};

const CONTROLLER: &str = "hugetlb";

/// Limits the cgroup at `path` (below the mounts) to so many bytes of each size of page, named as the kernel does (`2MB`).
pub(super) fn limit(hierarchies: &Hierarchies, path: &Path, limits: &[(String, u64)]) -> io::Result<()> {
    let Some(hierarchy) = hierarchies.with(CONTROLLER) else { return Ok(()) };
    let dir = hierarchy.mount.join(path);
    let file = if hierarchies.version == CgroupVersion::V1 { "limit_in_bytes" } else { "max" };
    for (size, bytes) in limits {
        for kind in ["", "rsvd."] {
            let path = dir.join(format!("{CONTROLLER}.{size}.{kind}{file}"));
            if path.exists() {
                std::fs::write(&path, bytes.to_string())
                    .map_err(|e| io::Error::new(e.kind(), format!("failed to write {}: {e}", path.display())))?;
            }
        }
    }
    Ok(())
}

/// v2: gives the controller to every cgroup from the mount down to `path`, which systemd does not do. What cannot have it goes without.
pub(super) fn delegate(hierarchies: &Hierarchies, path: &Path) {
    let Some(hierarchy) = hierarchies.with(CONTROLLER).filter(|_| hierarchies.version == CgroupVersion::V2) else { return };
    let mut dir = hierarchy.mount.clone();
    for part in path {
        let file = dir.join("cgroup.subtree_control");
        let enabled = std::fs::read_to_string(&file).unwrap_or_default();
        if !enabled.split_whitespace().any(|controller| controller == CONTROLLER)
            && let Err(error) = std::fs::write(&file, format!("+{CONTROLLER}"))
        {
            tracing::warn!(%error, "limits of huge pages have no effect below {}", dir.display());
            return;
        }
        dir.push(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::hierarchies::Hierarchy;

    /// Plain files stand in for the kernel's.
    #[test]
    fn both_counters_are_limited_where_they_are() {
        for (version, own, reserved) in
            [(CgroupVersion::V1, "limit_in_bytes", "rsvd.limit_in_bytes"), (CgroupVersion::V2, "max", "rsvd.max")]
        {
            let dir = tempfile::tempdir().unwrap();
            let hierarchy = Hierarchy { mount: dir.path().to_owned(), controllers: vec!["hugetlb".into()] };
            let hierarchies = Hierarchies { version, mounted: vec![hierarchy] };
            let pod = dir.path().join("a/b");
            std::fs::create_dir_all(&pod).unwrap();
            let files = [format!("hugetlb.2MB.{own}"), format!("hugetlb.2MB.{reserved}"), format!("hugetlb.1GB.{own}")];
            files.iter().for_each(|file| std::fs::write(pod.join(file), "").unwrap());
            limit(&hierarchies, Path::new("a/b"), &[("2MB".into(), 4 << 20), ("1GB".into(), 0), ("64KB".into(), 0)]).unwrap();
            let read = |file: &String| std::fs::read_to_string(pod.join(file)).unwrap();
            assert_eq!(files.each_ref().map(read), ["4194304", "4194304", "0"]);
            assert_eq!(std::fs::read_dir(&pod).unwrap().count(), 3, "nothing else is made");
            delegate(&hierarchies, Path::new("a/b"));
            let delegated = |dir: &Path| dir.join("cgroup.subtree_control").exists();
            let v2 = version == CgroupVersion::V2;
            assert_eq!((delegated(dir.path()), delegated(&dir.path().join("a")), delegated(&pod)), (v2, v2, false));
        }
    }
}
