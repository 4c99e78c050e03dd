//! What lies in the manifests directory: a bounded walk that reads metadata, and the reading of one file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::api::files::{is_everybodys, is_manifest};

/// Directories are followed this deep.
const MAX_DEPTH: usize = 16;
/// At most this many entries are looked at, whatever the directory holds.
const MAX_ENTRIES: usize = 200_000;
/// Files larger than this are refused.
pub(super) const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;

/// Tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    mode: u32,
}

impl Stamp {
    fn of(meta: &std::fs::Metadata) -> Stamp {
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            mode: meta.mode(),
        }
    }
}

/// One directory met on the walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dir {
    /// Device and inode; `None` if it cannot be read.
    pub identity: Option<(u64, u64)>,
    /// Why it cannot be read.
    pub error: Option<ErrorKind>,
    /// Where it really is, links followed.
    pub real: PathBuf,
}

/// The outcome of a walk. Paths are relative to the root; directories end in `/`, the root is "".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Manifest files; `None` where the file itself cannot be looked at.
    pub files: BTreeMap<String, Option<Stamp>>,
    /// Directories, the root included.
    pub dirs: BTreeMap<String, Dir>,
    /// Whether the walk stopped at its bound.
    pub cut: bool,
}

impl Stamp {
    /// Whether a file read at `at` may have changed again within `tick` without another stamp. A time in the future counts, too.
    pub(super) fn is_fresh(&self, at: Timestamp, tick: Duration) -> bool {
        let (seconds, nanos) = self.modified.max(self.changed);
        let settled = at.checked_sub(tick).map_or((i64::MIN, 0), |t| (t.as_second(), i64::from(t.subsec_nanosecond())));
        (seconds, nanos) >= settled
    }
}

/// Walks `root`. Links are followed; a directory reached twice is walked once.
pub(super) fn walk(root: &Path) -> Scan {
    walk_some(root, MAX_ENTRIES)
}

/// What `root` is, whatever lies in it.
pub(super) fn root_alone(root: &Path) -> Scan {
    walk_some(root, 1)
}

/// Looks at so many entries at most.
pub(super) fn walk_some(root: &Path, mut budget: usize) -> Scan {
    let mut scan = Scan::default();
    let mut seen = BTreeSet::new();
    let mut todo = vec![(String::new(), 0usize)];
    while let Some((relative, depth)) = todo.pop() {
        let path = root.join(&relative);
        let meta = std::fs::metadata(&path);
        let identity = meta.as_ref().ok().filter(|m| m.is_dir()).map(|m| (m.dev(), m.ino()));
        let listed = meta.and_then(|_| std::fs::read_dir(&path));
        let error = listed.as_ref().err().map(std::io::Error::kind);
        let (entries, readable) = (listed.ok(), error.is_none());
        if identity.is_some_and(|id| !seen.insert(id)) {
            continue;
        }
        let real = std::fs::canonicalize(&path).unwrap_or(path);
        scan.dirs.insert(relative.clone(), Dir { identity: identity.filter(|_| readable), error, real });
        for entry in entries.into_iter().flatten().flatten() {
            budget = budget.saturating_sub(1);
            if budget == 0 {
                scan.cut = true;
                return scan;
            }
            let Ok(name) = entry.file_name().into_string() else { continue };
            visit(root, &format!("{relative}{name}"), &name, depth, &mut scan, &mut todo);
        }
    }
    scan
}

fn visit(root: &Path, relative: &str, name: &str, depth: usize, scan: &mut Scan, todo: &mut Vec<(String, usize)>) {
    if name.starts_with('.') {
        return;
    }
    let manifest = is_manifest(Path::new(name));
    match std::fs::metadata(root.join(relative)) {
        Ok(meta) if meta.is_dir() && depth < MAX_DEPTH => todo.push((format!("{relative}/"), depth + 1)),
        Ok(meta) if meta.is_file() && manifest => {
            scan.files.insert(relative.to_owned(), Some(Stamp::of(&meta)));
        }
        Err(_) if manifest => {
            scan.files.insert(relative.to_owned(), None);
        }
        _ => {}
    }
}

/// The stamp of one manifest now; `None` if it is not a readable file.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|m| Stamp::of(&m))
}

/// Reads one manifest. The error is the message for the user.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    // Without O_NONBLOCK a named pipe would hold the thread for ever.
    let open = std::fs::File::options().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path);
    let mut file = open.map_err(|e| format!("cannot be opened: {e}"))?;
    let meta = file.metadata().map_err(|e| format!("cannot be read: {e}"))?;
    if !meta.is_file() {
        return Err("is no regular file".to_owned());
    }
    if is_everybodys(meta.mode()) {
        return Err(format!("is writable by everyone (mode {:04o}), and it runs as root: refused; chmod o-w it", meta.mode() & 0o7777));
    }
    if meta.len() > MAX_FILE_BYTES {
        return Err(format!("is {} bytes; more than {MAX_FILE_BYTES} are refused", meta.len()));
    }
    let mut text = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default());
    file.by_ref().take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(|e| format!("cannot be read: {e}"))?;
    Ok(text)
}

/// Whether everybody may put files into this directory.
pub(super) fn open_to_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| is_everybodys(m.mode()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_fresh_until_a_tick_after_its_later_time() {
        let stamp = |modified, changed| Stamp { device: 1, inode: 1, size: 1, modified, changed, mode: 0 };
        let fresh = |stamp: Stamp, second: i64| stamp.is_fresh(Timestamp::new(second, 500).unwrap(), Duration::from_secs(2));
        assert!(fresh(stamp((10, 0), (100, 500)), 102) && !fresh(stamp((10, 0), (100, 499)), 102));
        assert!(fresh(stamp((200, 0), (10, 0)), 102), "a time in the future");
        assert!(!fresh(stamp((10, 0), (10, 0)), 102));
    }
}
