//! subPath of a volumeMount, safe against whoever writes to the volume. After pkg/volume/util/subpath/subpath_linux.go.
//!
//! A container may replace any directory of its volume by a symlink at any moment, so no path is ever given to the runtime. The kernel resolves
//! the path beneath the volume (openat2 RESOLVE_BENEATH: neither `..` nor a symlink leads out, not even in a race), and the descriptor it
//! gives is bind-mounted where only root gets at:
//!
//! ```text
//! <run>/pods/<uid>/volume-subpaths/<volume>/<container>/<index>  ◀─ bind ─  /proc/self/fd/<n>
//! ```
//!
//! Needs Linux 5.6. Symlinks inside the volume are followed as long as they stay inside; absolute ones never do.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statvfs::{FsFlags, fstatvfs};

/// How often a resolution that the kernel gave up because of a rename meanwhile is tried again.
const MAX_TRIES: usize = 64;
/// How many mounts may have piled up at one place.
const MAX_MOUNTS: usize = 64;

/// Resolves `path` beneath `volume`, makes it a directory if it is not there and the volume is not mounted read-only, and binds it at `target`. What was bound there is let go.
pub(super) fn bind(volume: &Path, path: &str, target: &Path) -> io::Result<PathBuf> {
    let base = OpenOptions::new().read(true).custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY).bits()).open(volume)?;
    let found = match beneath(&base, path, OFlag::O_PATH) {
        Err(Errno::ENOENT) if !fstatvfs(&base)?.flags().contains(FsFlags::ST_RDONLY) => make(&base, path)?,
        found => found?,
    };
    let source = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let is_dir = fs::metadata(&source)?.is_dir();
    prepare(target, is_dir)?;
    mount(Some(&source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    let (bound, wanted) = (fs::metadata(target)?, fs::metadata(&source)?);
    match (bound.dev(), bound.ino()) == (wanted.dev(), wanted.ino()) {
        true => Ok(target.to_owned()),
        false => Err(io::Error::other("something else is mounted there")),
    }
}

/// Opens a path that must not lead out of `base`.
fn beneath(base: &impl AsFd, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    resolve(base, Path::new(path), flags, ResolveFlag::empty())
}

/// As [`beneath`], with more that the kernel is not to pass through.
pub(super) fn resolve(base: &impl AsFd, path: &Path, flags: OFlag, not_through: ResolveFlag) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | not_through;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    for _ in 0..MAX_TRIES {
        match openat2(base, path, how) {
            // Something was renamed while the kernel looked: it cannot say whether that led out.
            Err(Errno::EAGAIN) => {}
            done => return done,
        }
    }
    Err(Errno::EAGAIN)
}

/// Makes what is missing of the path, each directory with the permissions of the volume (SafeMakeDir), and opens it.
fn make(base: &File, path: &str) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_bits_truncate(base.metadata().map_or(0o755, |m| m.permissions().mode()) & 0o7777);
    let directory = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let (mut parent, mut so_far) = (beneath(base, ".", directory)?, String::new());
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        so_far = if so_far.is_empty() { part.to_owned() } else { format!("{so_far}/{part}") };
        parent = match beneath(base, &so_far, directory) {
            Err(Errno::ENOENT) => {
                match mkdirat(&parent, part, mode) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error),
                }
                let made = beneath(base, &so_far, directory | OFlag::O_NOFOLLOW)?;
                // Whatever the umask is.
                nix::sys::stat::fchmod(&made, mode)?;
                made
            }
            found => found?,
        };
    }
    Ok(parent)
}

/// An empty file or directory to bind at, with nothing mounted on it.
fn prepare(target: &Path, is_dir: bool) -> io::Result<()> {
    for _ in 0..MAX_MOUNTS {
        match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(error) => return Err(error.into()),
        }
    }
    match fs::symlink_metadata(target) {
        Ok(found) if found.is_dir() == is_dir => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir(target)?,
        Ok(_) => fs::remove_file(target)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if is_dir { fs::create_dir(target) } else { File::create(target).map(drop) }
}
