//! The host's device nodes and CDI's spec files, as they are found.
//!
//! For privileged containers what containerd's HostDevices lists (pkg/oci/utils_unix.go), for extended resources single nodes and CDI's files.
//! Guarantees: bounded in depth, number and size; what vanishes while it is listed is left out. Decides nothing: `oci` does.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

use crate::api::devices::Numbers;
use crate::oci::cdi::SpecFile;

/// Directories of /dev whose nodes belong to mounts of their own.
const SKIPPED: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];
const MAX_DEPTH: u32 = 8;
const MAX_DEVICES: usize = 4096;

/// The most files of one CDI directory that are read, and the most of each.
const MAX_FILES: usize = 1024;
const MAX_FILE: u64 = 4 << 20;

/// How the agent asks for the host's devices. Quick: reads a few files.
pub trait HostDevices: Send + Sync + 'static {
    /// All device nodes.
    fn list(&self) -> io::Result<Vec<LinuxDevice>>;
    /// One device node. Links are followed; the answer has the path that was asked for.
    fn node(&self, path: &str) -> io::Result<LinuxDevice>;
    /// What the device nodes at these paths are; those that are not there are left out.
    fn numbers(&self, paths: BTreeSet<String>) -> Numbers {
        let look = |path: String| {
            let found = self.node(&path).ok()?;
            Some((path, format!("{} {}:{}", found.typ().as_str(), found.major(), found.minor())))
        };
        paths.into_iter().filter_map(look).collect()
    }
    /// CDI's spec files, by directory and name.
    fn cdi(&self) -> Vec<SpecFile>;
}

/// A real host's devices.
#[derive(Clone, Debug)]
pub struct RealDevices {
    /// Where CDI's spec files are; later directories count more.
    pub cdi_dirs: Vec<PathBuf>,
}

impl HostDevices for RealDevices {
    fn list(&self) -> io::Result<Vec<LinuxDevice>> {
        list(Path::new("/dev"))
    }

    fn node(&self, path: &str) -> io::Result<LinuxDevice> {
        let meta = fs::metadata(path)?;
        device(path.into(), &meta).ok_or_else(|| io::Error::other("not a device node"))
    }

    fn cdi(&self) -> Vec<SpecFile> {
        self.cdi_dirs.iter().enumerate().flat_map(|(directory, dir)| spec_files(directory, dir)).collect()
    }
}

/// The files `*.json` and `*.yaml` of a directory; none where it is not there.
fn spec_files(directory: usize, dir: &Path) -> Vec<SpecFile> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![SpecFile { path: dir.to_owned(), directory, text: Err(error.to_string()) }],
    };
    let is_spec = |path: &PathBuf| path.extension().is_some_and(|e| e == "json" || e == "yaml");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_spec).filter(|path| !path.is_dir()).collect();
    paths.sort();
    paths.truncate(MAX_FILES);
    paths.into_iter().map(|path| SpecFile { text: read(&path).map_err(|e| e.to_string()), path, directory }).collect()
}

fn read(path: &Path) -> io::Result<String> {
    // Neither a pipe nor a device is waited for.
    let file = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    let mut text = String::new();
    let size = file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    match size as u64 > MAX_FILE {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {MAX_FILE} bytes"))),
        false => Ok(text),
    }
}

/// Every character and block device under `dev` (`/dev`), in order of path; /dev/console left out.
///
/// # Errors
/// `dev` itself cannot be read.
pub fn list(dev: &Path) -> io::Result<Vec<LinuxDevice>> {
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
    fn a_node_is_found_through_links_and_anything_else_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("by-id").display().to_string();
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        let devices = RealDevices { cdi_dirs: Vec::new() };
        let zero = devices.node(&link).unwrap();
        assert_eq!((zero.path(), zero.typ(), zero.major(), zero.minor()), (&PathBuf::from(&link), LinuxDeviceType::C, 1, 5));
        let paths = [link.as_str(), "/dev/zero", "/dev/null", "/dev/no-such"].map(str::to_owned);
        let numbers = [(link, "c 1:5"), ("/dev/null".into(), "c 1:3"), ("/dev/zero".into(), "c 1:5")];
        assert_eq!(devices.numbers(paths.into()), numbers.map(|(path, number)| (path, number.to_owned())).into());
        assert_eq!(devices.node(dir.path().to_str().unwrap()).unwrap_err().to_string(), "not a device node");
        assert_eq!(devices.node("/dev/no-such").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn spec_files_come_by_directory_and_name_and_broken_ones_with_why() {
        let dir = tempfile::tempdir().unwrap();
        let (etc, run) = (dir.path().join("etc"), dir.path().join("run"));
        fs::create_dir(&etc).unwrap();
        fs::create_dir(&run).unwrap();
        fs::create_dir(etc.join("sub.json")).unwrap();
        for (path, text) in [("etc/b.json", "b"), ("etc/a.yaml", "a"), ("etc/c.txt", "c"), ("run/a.json", "d")] {
            fs::write(dir.path().join(path), text).unwrap();
        }
        fs::write(run.join("b.json"), [0xff]).unwrap();
        let devices = RealDevices { cdi_dirs: vec![etc.clone(), dir.path().join("none"), run.clone()] };
        let found: Vec<_> = devices.cdi().into_iter().map(|f| (f.path, f.directory, f.text.ok())).collect();
        let text = |t: &str| Some(t.to_owned());
        let expected = [
            (etc.join("a.yaml"), 0, text("a")),
            (etc.join("b.json"), 0, text("b")),
            (run.join("a.json"), 2, text("d")),
            (run.join("b.json"), 2, None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn null_is_there_and_terminals_are_not() {
        let devices = list(Path::new("/dev")).unwrap();
        let null = devices.iter().find(|d| d.path() == Path::new("/dev/null")).unwrap();
        assert_eq!((null.typ(), null.major(), null.minor()), (LinuxDeviceType::C, 1, 3));
        assert!(!devices.iter().any(|d| d.path().starts_with("/dev/pts") || d.path() == Path::new("/dev/console")));
        assert!(list(Path::new("/nowhere")).is_err());
    }
}
