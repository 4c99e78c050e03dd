//! Idmapped mounts: a directory mounted once more so that its files have other owners (mount_setattr(2), MOUNT_ATTR_IDMAP).
//!
//! The one place of this program with `unsafe`: nix has none of the three calls, and no safe library has mount_setattr.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::libc;

/// Mounts the directory `source` at the directory `target`, with what belongs to the host's id n there belonging to the id that n is in the user
/// namespace `users`.
pub(super) fn mount(source: &Path, target: &Path, users: &File) -> io::Result<()> {
    let tree = clone(&path(source)?)?;
    set_ids(&tree, users)?;
    attach(&tree, &path(target)?)
}

fn path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(Into::into)
}

/// A mount of the directory that is attached nowhere.
#[allow(unsafe_code, reason = "open_tree is not in nix")]
fn clone(source: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is a string that ends with a zero and outlives the call, which only reads it.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, source.as_ptr(), flags) };
    let tree = RawFd::try_from(checked(tree)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given it to us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(tree) })
}

/// Gives a mount that is attached nowhere the ids of a user namespace.
#[allow(unsafe_code, reason = "mount_setattr is not in nix")]
fn set_ids(tree: &OwnedFd, users: &File) -> io::Result<()> {
    let users = u64::try_from(users.as_raw_fd()).map_err(io::Error::other)?;
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd: users };
    let (flags, size) = (libc::AT_EMPTY_PATH, size_of::<libc::mount_attr>());
    // SAFETY: the path is a string that ends with a zero, the struct is as long as is said, and both outlive the call, which only reads them.
    let done = unsafe { libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), c"".as_ptr(), flags, &raw const attributes, size) };
    checked(done).map(drop)
}

#[allow(unsafe_code, reason = "move_mount is not in nix")]
fn attach(tree: &OwnedFd, target: &CStr) -> io::Result<()> {
    let (from, flags) = (tree.as_raw_fd(), libc::MOVE_MOUNT_F_EMPTY_PATH);
    // SAFETY: both paths are strings that end with a zero and outlive the call, which only reads them.
    let done = unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), libc::AT_FDCWD, target.as_ptr(), flags) };
    checked(done).map(drop)
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
