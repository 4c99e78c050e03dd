//! Removing a pod's directory, whatever its containers left in it.
//!
//! Guarantees: no symlink is followed and no mount is entered, so that nothing outside of the directory is ever deleted (a
//! hostPath's contents, say). Everything mounted below is detached first. Directories are never descended into: each is renamed
//! up into the pod's directory and emptied there, which takes two descriptors and no stack however deep a container nested
//! them; and the kernel refuses to rename a mount point, so a mount that was missed stops the removal instead of being emptied.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::host::mounts::mounts_under;

/// How often mounts are looked for again.
const MAX_ROUNDS: usize = 64;
/// The deepest tree that is removed.
const MAX_LEVELS: usize = 1 << 20;

/// Detaches every mount at or under `dir`, then removes `dir`. Absent is no error. Blocking.
/// Errors: a mount or a file that cannot be removed; what can be is.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    let dir = match dir.canonicalize() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    detach_all(&dir)?;
    remove_tree(&dir)
}

/// Takes away mounts until none is left (a mount may hide others).
fn detach_all(dir: &Path) -> io::Result<()> {
    for _ in 0..MAX_ROUNDS {
        let mounts = mounts_under(dir)?;
        if mounts.is_empty() {
            return Ok(());
        }
        for mount in mounts.iter().rev() {
            match umount2(mount.as_path(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(e) => return Err(named("unmount", mount, e)),
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("mounts under {} keep coming back", dir.display())))
}

/// Passes over the top until it is empty; each flattens one more level of the tree, so a pass a level is enough.
fn remove_tree(root: &Path) -> io::Result<()> {
    let top = open_directory(nix::fcntl::AT_FDCWD, root).map_err(|e| named("open", root, e))?;
    let mut spare = 0_u64;
    for _ in 0..MAX_LEVELS {
        for name in names(&top).map_err(|e| named("read", root, e))? {
            match unlinkat(&top, name.as_path(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EISDIR) => remove_directory(&top, &name, &mut spare).map_err(|e| named("remove", &root.join(&name), e))?,
                Err(e) => return Err(named("remove", &root.join(&name), e)),
            }
        }
        match std::fs::remove_dir(root) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            done => return done,
        }
    }
    Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, format!("{} keeps being filled", root.display())))
}

/// Empties a directory at the top (its own directories come to the top) and removes it.
fn remove_directory(top: &OwnedFd, name: &Path, spare: &mut u64) -> Result<(), Errno> {
    let inner = open_directory(top.as_fd(), name)?;
    // Refused (EBUSY) for a mount point, which therefore is never emptied.
    let moved = rename_up(top, name, top, spare)?;
    empty_into(&inner, top, spare)?;
    match unlinkat(top, moved.as_path(), UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOTEMPTY | Errno::ENOENT) => Ok(()), // being filled: the next pass sees it
        done => done,
    }
}

fn open_directory(at: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// Moves `from/name` to the next free spare name in `top`, and returns that.
fn rename_up(from: &OwnedFd, name: &Path, top: &OwnedFd, spare: &mut u64) -> Result<PathBuf, Errno> {
    loop {
        *spare += 1;
        let free = spare_name(*spare);
        match renameat(from, name, top, free.as_path()) {
            // Left from a removal that was interrupted: there are only so many.
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            done => return done.map(|()| free),
        }
    }
}

fn spare_name(number: u64) -> PathBuf {
    format!(".removing-{number}").into()
}

/// Unlinks what is in `dir` and is no directory; moves directories up into `top`.
fn empty_into(dir: &OwnedFd, top: &OwnedFd, spare: &mut u64) -> Result<(), Errno> {
    for name in names(dir)? {
        match unlinkat(dir, name.as_path(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EISDIR) => drop(rename_up(dir, &name, top, spare)?),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The names in a directory, without `.` and `..`, from its beginning.
fn names(dir: &OwnedFd) -> Result<Vec<PathBuf>, Errno> {
    let again = openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut entries = Dir::from_fd(again)?;
    let name = |entry: nix::Result<nix::dir::Entry>| {
        use std::os::unix::ffi::OsStrExt;
        entry.map(|e| PathBuf::from(std::ffi::OsStr::from_bytes(e.file_name().to_bytes())))
    };
    let all = entries.iter().map(name).filter(|n| !matches!(n, Ok(n) if n.as_os_str() == "." || n.as_os_str() == ".."));
    all.collect()
}

fn named(action: &str, path: &Path, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("failed to {action} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlinks_are_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (pod, outside) = (dir.path().join("pod"), dir.path().join("outside"));
        std::fs::create_dir_all(pod.join("v/sub")).unwrap();
        std::fs::create_dir_all(outside.join("precious")).unwrap();
        for (link, target) in [("v/all", "/"), ("v/sub/out", outside.to_str().unwrap()), ("top", outside.to_str().unwrap())] {
            std::os::unix::fs::symlink(target, pod.join(link)).unwrap();
        }
        remove(&pod).unwrap();
        assert!(!pod.exists() && outside.join("precious").is_dir());
        remove(&pod).unwrap();
    }

    #[test]
    fn depth_costs_neither_stack_nor_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let pod = dir.path().join("pod");
        std::fs::create_dir_all(&pod).unwrap();
        let mut at = std::fs::File::open(&pod).map(OwnedFd::from).unwrap();
        for _ in 0..5000 {
            nix::sys::stat::mkdirat(&at, "d", Mode::S_IRWXU).unwrap();
            at = openat(&at, "d", OFlag::O_DIRECTORY | OFlag::O_RDONLY, Mode::empty()).unwrap();
        }
        remove(&pod).unwrap();
        assert!(!pod.exists());
    }

    #[test]
    fn an_interrupted_removal_is_continued() {
        let dir = tempfile::tempdir().unwrap();
        let pod = dir.path().join("pod");
        for left in [".removing-1/x", ".removing-2/y/z", "v/.removing-1"] {
            std::fs::create_dir_all(pod.join(left)).unwrap();
        }
        std::fs::write(pod.join(".removing-2/y/z/f"), "").unwrap();
        remove(&pod).unwrap();
        assert!(!pod.exists());
    }
}
