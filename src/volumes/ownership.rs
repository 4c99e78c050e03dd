//! fsGroup: the group that owns what a pod's volumes hold. After pkg/volume/volume_linux.go.
//!
//! Every file gets the group and what the group needs to read (and write) it; directories the setgid bit too, so that what is made later has the
//! group as well. hostPath volumes are never touched.
//!
//! A claim is full of files that containers may change at any moment, so no path is ever acted on: the kernel resolves each beneath the volume,
//! through no symlink and into no mount (openat2), and what is changed is the file behind that descriptor. A symlink gets the group itself; what it
//! names does not. Not entered, other than by the kubelet: what is mounted inside a volume.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, ResolveFlag};
use nix::unistd::{Gid, fchownat};

use super::sub_path;

/// What the group may do with files of a volume that can be written.
const READ_WRITE: u32 = 0o660;
/// With those of one that cannot.
const READ_ONLY: u32 = 0o440;
/// Added for directories.
const ENTER: u32 = 0o110;
const SETGID: u32 = 0o2000;
const PERMISSIONS: u32 = 0o7777;
/// How many directories may wait to be entered.
const MAX_PENDING: usize = 1_000_000;

/// The group of a pod's volumes. Errors: no group has that number.
pub(super) fn group(pod: &Pod) -> Result<Option<u32>, String> {
    let group = pod.spec.as_ref().and_then(|s| s.security_context.as_ref()).and_then(|c| c.fs_group);
    let convert = |group: i64| u32::try_from(group).map_err(|_| format!("invalid fsGroup {group}"));
    group.map(convert).transpose()
}

/// A file's mode once its volume belongs to a group.
pub(super) fn mode(mode: u32, is_dir: bool, read_only: bool) -> u32 {
    mode | if read_only { READ_ONLY } else { READ_WRITE } | if is_dir { ENTER | SETGID } else { 0 }
}

/// Whether fsGroupChangePolicy has the volume changed whose root is a directory with this mode and group.
pub(super) fn due(pod: &Pod, root_mode: u32, root_group: u32, group: u32) -> bool {
    let context = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let on_mismatch = context.and_then(|c| c.fs_group_change_policy.as_deref()) == Some("OnRootMismatch");
    !on_mismatch || root_group != group || mode(root_mode, true, false) != root_mode
}

/// Gives a directory that nobody else writes to, or a file, to the group. Not for symlinks.
pub(super) fn give(path: &Path, group: Option<u32>, mode: u32) -> io::Result<()> {
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group))?;
    }
    // After the group: a change of it clears setgid.
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Gives all of a volume that can be written to the group. What vanishes or moves meanwhile is left out. Blocking. Errors: the first file that
/// cannot be changed.
pub(super) fn give_tree(root: &Path, group: u32) -> io::Result<()> {
    let base = OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(root)?;
    let mut pending = vec![PathBuf::from(".")];
    while let Some(path) = pending.pop() {
        let failed = |e: io::Error| io::Error::new(e.kind(), format!("cannot give {path:?} to group {group}: {e}"));
        let Some(dir) = open(&base, &path, OFlag::O_RDONLY | OFlag::O_DIRECTORY).map_err(failed)? else { continue };
        change(&dir, group).map_err(failed)?;
        for entry in fs::read_dir(magic(&dir)).map_err(failed)? {
            let inner = path.join(entry.map_err(failed)?.file_name());
            let Some(found) = open(&base, &inner, OFlag::O_PATH | OFlag::O_NOFOLLOW).map_err(failed)? else { continue };
            if found.metadata().map_err(failed)?.is_dir() {
                pending.push(inner);
            } else {
                change(&found, group).map_err(failed)?;
            }
        }
        if pending.len() > MAX_PENDING {
            return Err(io::Error::other(format!("more than {MAX_PENDING} directories side by side")));
        }
    }
    Ok(())
}

/// A descriptor as a path that names the very file.
fn magic(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// `None`: it is gone, has become something else, or something is mounted there.
fn open(base: &File, path: &Path, flags: OFlag) -> io::Result<Option<File>> {
    let not_through = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    match sub_path::resolve(base, path, flags, not_through) {
        Ok(found) => Ok(Some(found.into())),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn change(file: &File, group: u32) -> io::Result<()> {
    let found = file.metadata()?;
    let wanted = mode(found.mode() & PERMISSIONS, found.is_dir(), false);
    let regroup = found.gid() != group;
    if regroup {
        fchownat(file, "", None, Some(Gid::from_raw(group)), AtFlags::AT_EMPTY_PATH)?;
    }
    // A change of the group clears setuid and setgid. A symlink has no mode of its own.
    if !found.is_symlink() && (regroup || wanted != found.mode() & PERMISSIONS) {
        fs::set_permissions(magic(file), Permissions::from_mode(wanted))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn modes_are_what_the_group_needs() {
        for (before, is_dir, read_only, after) in [
            (0o600, false, false, 0o660),
            (0o644, false, false, 0o664),
            (0o4755, false, false, 0o4775),
            (0o400, false, true, 0o440),
            (0o700, true, false, 0o2770),
            (0o777, true, false, 0o2777),
            (0o755, true, true, 0o2755),
        ] {
            assert_eq!(mode(before, is_dir, read_only), after, "{before:o}");
        }
    }

    #[test]
    fn on_root_mismatch_looks_at_the_root_only() {
        let pod = |policy: Option<&str>| -> Pod {
            let context = json!({"fsGroup": 7, "fsGroupChangePolicy": policy});
            serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [], "securityContext": context}})).unwrap()
        };
        let mismatch = pod(Some("OnRootMismatch"));
        for (root_mode, root_group, expected) in
            [(0o2770, 7, false), (0o2777, 7, false), (0o2770, 8, true), (0o770, 7, true), (0o2750, 7, true), (0o2760, 7, true)]
        {
            assert_eq!(due(&mismatch, root_mode, root_group, 7), expected, "{root_mode:o} {root_group}");
            assert!(due(&pod(None), root_mode, root_group, 7) && due(&pod(Some("Always")), root_mode, root_group, 7));
        }
        assert_eq!(group(&mismatch), Ok(Some(7)));
        assert_eq!(group(&Pod::default()), Ok(None));
    }
}
