//! The host's device nodes, for privileged containers: what containerd's HostDevices lists (pkg/oci/utils_unix.go).
//!
//! Guarantees: bounded in depth and number; what vanishes while it is read is left out. Decides nothing: `oci::grant_host_devices` does.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

/// Directories of /dev whose nodes belong to mounts of their own.
const SKIPPED: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];
const MAX_DEPTH: u32 = 8;
const MAX_DEVICES: usize = 4096;

/// How the agent asks for the host's device nodes: [`list`] of `/dev`.
pub type HostDevices = dyn Fn() -> std::io::Result<Vec<LinuxDevice>> + Send + Sync;

/// Every character and block device under `dev` (`/dev`), in order of path; /dev/console left out.
///
/// # Errors
/// `dev` itself cannot be read.
pub fn list(dev: &Path) -> std::io::Result<Vec<LinuxDevice>> {
    let mut found = Vec::new();
    fs::read_dir(dev)?;
    walk(dev, MAX_DEPTH, &mut found);
    found.sort_by(|a: &LinuxDevice, b| a.path().cmp(b.path()));
    Ok(found)
}

fn walk(dir: &Path, depth: u32, found: &mut Vec<LinuxDevice>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        if meta.is_dir() && depth > 0 && !SKIPPED.iter().any(|s| entry.file_name() == *s) {
            walk(&entry.path(), depth - 1, found);
        } else if found.len() < MAX_DEVICES && entry.file_name() != "console" {
            found.extend(device(entry.path(), &meta));
        }
    }
}

fn device(path: PathBuf, meta: &fs::Metadata) -> Option<LinuxDevice> {
    let kind = match meta.file_type() {
        t if t.is_char_device() => LinuxDeviceType::C,
        t if t.is_block_device() => LinuxDeviceType::B,
        _ => return None,
    };
    let (major, minor) = (i64::try_from(major(meta.rdev())).ok()?, i64::try_from(minor(meta.rdev())).ok()?);
    let device = LinuxDeviceBuilder::default().path(path).typ(kind).major(major).minor(minor);
    device.file_mode(meta.mode() & 0o7777).uid(meta.uid()).gid(meta.gid()).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_there_and_terminals_are_not() {
        let devices = list(Path::new("/dev")).unwrap();
        let null = devices.iter().find(|d| d.path() == Path::new("/dev/null")).unwrap();
        assert_eq!((null.typ(), null.major(), null.minor()), (LinuxDeviceType::C, 1, 3));
        assert!(!devices.iter().any(|d| d.path().starts_with("/dev/pts") || d.path() == Path::new("/dev/console")));
        assert!(list(Path::new("/nowhere")).is_err());
    }
}
