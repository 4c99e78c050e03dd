//! `/etc/passwd` and `/etc/group` of an image, read from a read-only view of it that is mounted for a moment.
//!
//! The image is hostile: paths are resolved inside its root (openat2), only regular files are read, and only so much of them.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use containerd_client::types::Mount;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::runtime::ImageUsers;

/// A user database larger than this is none.
const MAX_FILE: u64 = 1 << 20;
/// A view is always read-only; nothing in it may run or act.
const RESTRICTED: MsFlags = MsFlags::MS_RDONLY.union(MsFlags::MS_NOSUID).union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Mounts, reads, unmounts. Blocking. `at` is made and removed.
pub(super) fn read_users(mounts: &[Mount], at: &Path) -> Result<ImageUsers, String> {
    std::fs::create_dir_all(at).map_err(|e| format!("cannot make {}: {e}", at.display()))?;
    let mounted = Mounted::new(mounts, at)?;
    let users = read_from(&mounted.0);
    drop(mounted);
    users
}

/// The databases under a root directory.
fn read_from(root: &Path) -> Result<ImageUsers, String> {
    let directory = File::open(root).map_err(|e| format!("cannot open {}: {e}", root.display()))?;
    Ok(ImageUsers { passwd: text(&directory, "etc/passwd")?, group: text(&directory, "etc/group")? })
}

fn text(root: impl AsFd, path: &str) -> Result<String, String> {
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    // Whatever cannot be opened inside the root (absent, a loop, a directory on the way that is none) is an absent database.
    let Ok(fd) = openat2(root, path, how) else { return Ok(String::new()) };
    let file = File::from(fd);
    match file.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_FILE => {}
        Ok(metadata) if metadata.is_file() => return Err(format!("/{path} of the image is larger than {MAX_FILE} bytes")),
        _ => return Ok(String::new()),
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|e| format!("cannot read /{path} of the image: {e}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Mounts that are undone when this goes, whatever happened.
struct Mounted(PathBuf);

impl Mounted {
    fn new(mounts: &[Mount], at: &Path) -> Result<Self, String> {
        let mounted = Self(at.to_path_buf());
        mount_at(mounts, at)?;
        Ok(mounted)
    }
}

/// Mounts a view at a directory that is there. Blocking.
pub(super) fn mount_at(mounts: &[Mount], at: &Path) -> Result<(), String> {
    for wanted in mounts {
        let (flags, data) = options(&wanted.options);
        let data = Some(data.as_str()).filter(|data| !data.is_empty());
        mount(Some(wanted.source.as_str()), at, Some(wanted.r#type.as_str()), flags, data)
            .map_err(|e| format!("cannot mount the image at {}: {e}", at.display()))?;
    }
    restrict(at).map_err(|e| format!("cannot make the image at {} read-only: {e}", at.display()))
}

/// Makes what is mounted at `at` read-only, with nothing in it to run or to act. A view of one layer is a bind, and the kernel takes no such
/// flags with a new bind, only in a second step (mount(2)). May be repeated.
pub(super) fn restrict(at: &Path) -> nix::Result<()> {
    mount(None::<&str>, at, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | RESTRICTED, None::<&str>)
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // As often as something is mounted here; the directory itself is the proof that nothing is left.
        for _ in 0..4 {
            if umount2(&self.0, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_err() {
                break;
            }
        }
        // Empty, or something is still mounted and must not be touched.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A snapshot's mount options as flags and data.
fn options(options: &[String]) -> (MsFlags, String) {
    let mut flags = RESTRICTED;
    let mut data = Vec::new();
    for option in options {
        match option.as_str() {
            "ro" | "rw" => {}
            "bind" => flags |= MsFlags::MS_BIND,
            "rbind" => flags |= MsFlags::MS_BIND | MsFlags::MS_REC,
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside_the_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("users"), "root:x:0:0::/:/bin/sh\n").unwrap();
        symlink("/users", root.path().join("etc/passwd")).unwrap();
        symlink("../../../../../../etc/hostname", root.path().join("etc/group")).unwrap();
        let users = read_from(root.path()).unwrap();
        assert_eq!(users, ImageUsers { passwd: "root:x:0:0::/:/bin/sh\n".into(), group: String::new() });
    }

    #[test]
    fn what_is_no_file_is_absent_and_what_is_huge_is_refused() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read_from(root.path()).unwrap(), ImageUsers::default());
        std::fs::create_dir_all(root.path().join("etc/passwd")).unwrap();
        nix::unistd::mkfifo(&root.path().join("etc/group"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read_from(root.path()).unwrap(), ImageUsers::default());
        std::fs::remove_file(root.path().join("etc/group")).unwrap();
        File::create(root.path().join("etc/group")).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(read_from(root.path()).unwrap_err().contains("/etc/group"));
    }
}
