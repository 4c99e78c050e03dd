//! emptyDir volumes: a directory on disk, a tmpfs for medium `Memory`, a hugetlbfs for `HugePages` and `HugePages-<size>`. After
//! pkg/volume/emptydir/empty_dir.go.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MsFlags, mount};

use super::ownership;
use crate::api::quantity;
use crate::host::resources;

const HUGE_PAGES: &str = "HugePages";
const HUGE_PAGES_OF: &str = "HugePages-";
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
    mounted(path, "tmpfs", options, flags)
}

fn mounted(path: &Path, kind: &str, options: &str, flags: MsFlags) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    if is_mount(path)? {
        return Ok(());
    }
    mount(Some(kind), path, Some(kind), flags, Some(options)).map_err(Into::into)
}

/// A volume of huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HugePages {
    /// Bytes of a page.
    page: i64,
    /// The most it holds, in bytes. Ours: upstream leaves it to the pod's cgroup, which not every host can limit.
    most: i64,
}

/// Whether a medium is one of huge pages (IsHugePageMedium).
pub(super) fn is_huge(medium: &str) -> bool {
    medium == HUGE_PAGES || medium.starts_with(HUGE_PAGES_OF)
}

/// What of huge pages a volume of this medium is (getPageSizeMountOption): the pod says by what it asks for.
///
/// # Errors
/// It asks for none of this size, or, where the medium names no size, for several; the kubelet's words.
pub(super) fn huge_pages(source: &EmptyDirVolumeSource, pod: &Pod) -> Result<HugePages, String> {
    let medium = source.medium.as_deref().unwrap_or_default();
    let wanted = match medium.strip_prefix(HUGE_PAGES_OF) {
        Some(size) => Some(quantity::parse(size).map_err(|e| e.to_string())?.value()),
        None => None,
    };
    let asked = pod.spec.as_ref().map(quantity::pod_requests).unwrap_or_default();
    let sizes = asked.iter().filter_map(|(name, amount)| Some((quantity::parse(name.strip_prefix("hugepages-")?).ok()?.value(), *amount)));
    let mut fitting = sizes.filter(|(size, _)| *size > 0 && wanted.is_none_or(|wanted| wanted == *size));
    let Some((page, amount)) = fitting.next() else {
        return Err(format!("medium {medium}: hugePages storage requested, but there is no resource request for huge pages"));
    };
    if fitting.next().is_some() {
        return Err(format!("medium: {medium} can't be used if container requests multiple huge page sizes"));
    }
    let limit = source.size_limit.as_ref().and_then(quantity::whole).filter(|limit| *limit > 0);
    Ok(HugePages { page, most: limit.map_or(amount, |limit| limit.min(amount)) })
}

/// Makes and mounts a hugetlbfs, if none is mounted there.
pub(super) fn on_huge_pages(path: &Path, huge: HugePages, group: Option<u32>) -> std::io::Result<()> {
    let owner = group.map(|g| format!(",gid={g}")).unwrap_or_default();
    // The kernel rounds down to whole pages, and takes 0 for none at all.
    let size = huge.most.max(huge.page);
    mounted(path, "hugetlbfs", &format!("pagesize={},size={size},mode={:04o}{owner}", huge.page, mode(group)), MsFlags::empty())
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
    fn huge_pages_are_of_the_size_the_pod_asks_for() {
        let of = |medium: &str, limit: Option<&str>, limits: serde_json::Value| {
            let pod: Pod =
                serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}})).unwrap();
            huge_pages(&serde_json::from_value(json!({"medium": medium, "sizeLimit": limit})).unwrap(), &pod)
        };
        let (small, both) = (json!({"hugepages-2Mi": "8Mi", "cpu": "1"}), json!({"hugepages-2Mi": "8Mi", "hugepages-1Gi": "1Gi"}));
        let pages = |page: i64, most: i64| Ok(HugePages { page, most });
        assert_eq!(of("HugePages", None, small.clone()), pages(2 << 20, 8 << 20));
        assert_eq!(of("HugePages", Some("4Mi"), small.clone()), pages(2 << 20, 4 << 20));
        assert_eq!(of("HugePages-2Mi", Some("1Gi"), both.clone()), pages(2 << 20, 8 << 20));
        assert_eq!(of("HugePages-1Gi", None, both.clone()), pages(1 << 30, 1 << 30));
        let none =
            |medium: &str| Err(format!("medium {medium}: hugePages storage requested, but there is no resource request for huge pages"));
        assert_eq!(of("HugePages", None, json!({"memory": "1Gi"})), none("HugePages"));
        assert_eq!(of("HugePages-1Gi", None, small.clone()), none("HugePages-1Gi"));
        assert_eq!(
            of("HugePages", None, both).unwrap_err(),
            "medium: HugePages can't be used if container requests multiple huge page sizes"
        );
        assert!(of("HugePages-x", None, small).is_err());
        assert_eq!(["HugePages", "HugePages-2Mi", "Memory", "", "HugePages2"].map(is_huge), [true, true, false, false, false]);
    }

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
