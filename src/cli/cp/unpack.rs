//! An archive from a container, which is not trusted, unpacked below one path of ours.
//!
//! Guarantees: nothing outside the destination is written or made, whatever the archive says and whatever links lie in the destination:
//! names are taken apart first ([`place`], pure), links in an archive are left out, and directories are entered one by one without
//! following a link. The destination itself is the user's word: links on the way to it are followed.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use tar::EntryType;

use super::complain;

/// Directories within each other.
const MAX_DEPTH: usize = 512;

/// Where a member goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Below the destination, by these names; none: the destination itself.
    Inside(Vec<PathBuf>),
    /// It would lead out.
    Outside,
    /// The archive is not of what was asked for.
    Corrupted,
}

/// Unpacks an archive whose members' names begin with `prefix`. What is left out is named on stderr.
pub fn unpack(from: impl Read, prefix: &[String], destination: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(from);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let names = match place(&name, prefix) {
            Place::Corrupted => return Err(io::Error::other("tar contents corrupted")),
            Place::Outside => {
                complain(&format!("warning: file {name:?} is outside target destination, skipping"));
                continue;
            }
            Place::Inside(names) => names,
        };
        match entry.header().entry_type() {
            EntryType::Directory => drop(directory(destination, &names)?),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let mut file = file(destination, &names, prefix)?;
                io::copy(&mut entry, &mut file)?;
            }
            EntryType::Symlink => {
                let target = entry.link_name()?.unwrap_or_default().into_owned();
                complain(&format!("warning: skipping symlink: {name:?} -> {target:?}"));
            }
            EntryType::Link => complain(&format!("warning: skipping hard link: {name:?}")),
            _ => complain(&format!("warning: skipping special file: {name:?}")),
        }
    }
    Ok(())
}

fn place(name: &Path, prefix: &[String]) -> Place {
    let mut components = name.components().filter(|c| *c != Component::CurDir).peekable();
    if components.peek() == Some(&Component::RootDir) {
        return Place::Corrupted;
    }
    for expected in prefix {
        match components.next() {
            Some(Component::Normal(found)) if found == expected.as_str() => {}
            _ => return Place::Corrupted,
        }
    }
    let mut names = Vec::new();
    for component in components {
        match component {
            Component::Normal(name) => names.push(PathBuf::from(name)),
            _ => return Place::Outside,
        }
    }
    if names.len() > MAX_DEPTH { Place::Outside } else { Place::Inside(names) }
}

/// The file for a member; emptied if it is there.
fn file(destination: &Path, names: &[PathBuf], prefix: &[String]) -> io::Result<File> {
    let own = names.split_last();
    let (above, name) = match (own, prefix.last()) {
        (Some((name, above)), _) => (directory(destination, above)?, name.clone()),
        // A single file into a directory that is there keeps its name.
        (None, Some(name)) if destination.is_dir() => (directory(destination, &[])?, name.into()),
        (None, _) => {
            if let Some(parent) = destination.parent() {
                std::fs::create_dir_all(parent).map_err(|e| said(destination, &e))?;
            }
            return File::create(destination).map_err(|e| said(destination, &e));
        }
    };
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = openat(&above, &name, flags, Mode::from_bits_truncate(0o666));
    opened.map(File::from).map_err(|e| refused(&shown(destination, names), e))
}

/// A directory below the destination, made where it is missing, entered without following a link.
fn directory(destination: &Path, names: &[PathBuf]) -> io::Result<OwnedFd> {
    std::fs::create_dir_all(destination).map_err(|e| said(destination, &e))?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at = open(destination, flags, Mode::empty()).map_err(|e| refused(destination, e))?;
    for (depth, name) in names.iter().enumerate() {
        let path = || shown(destination, &names[..=depth]);
        match mkdirat(at.as_fd(), name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(refused(&path(), e)),
        }
        at = openat(&at, name, flags | OFlag::O_NOFOLLOW, Mode::empty()).map_err(|e| refused(&path(), e))?;
    }
    Ok(at)
}

fn shown(destination: &Path, names: &[PathBuf]) -> PathBuf {
    names.iter().fold(destination.to_owned(), |path, name| path.join(name))
}

fn said(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn refused(path: &Path, errno: Errno) -> io::Error {
    let is_link = path.symlink_metadata().is_ok_and(|m| m.file_type().is_symlink());
    if is_link {
        return io::Error::other(format!("{} is a symbolic link, which is not followed; remove it, or copy elsewhere", path.display()));
    }
    said(path, &io::Error::from(errno))
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
