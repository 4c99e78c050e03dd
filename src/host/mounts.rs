//! What is mounted where, by this process' mountinfo. Nothing is looked into: under a dead server's mount that would hang.

use std::io;
use std::path::{Path, PathBuf};

/// The mount points at or under `dir`, in the order of mounting. `dir` is canonical. Errors: mountinfo cannot be read.
pub(crate) fn mounts_under(dir: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_to_string("/proc/self/mountinfo").map(|mountinfo| under(dir, &mountinfo))
}

/// Whether something is mounted at this very directory, which is not looked into; absent: no.
pub(crate) fn is_mounted(at: &Path) -> io::Result<bool> {
    let (Some(above), Some(name)) = (at.parent(), at.file_name()) else { return Ok(false) };
    let at = match above.canonicalize() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        above => above?.join(name),
    };
    Ok(mounts_under(&at)?.contains(&at))
}

fn under(dir: &Path, mountinfo: &str) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|l| l.split(' ').nth(4)).map(|p| PathBuf::from(unescaped(p)));
    points.filter(|p| p.starts_with(dir)).collect()
}

/// mountinfo writes blanks, tabs, line feeds and backslashes in octal.
fn unescaped(path: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"].iter().zip([" ", "\t", "\n", "\\"]).fold(path.to_owned(), |p, (from, to)| p.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_whole_components() {
        let text = "1 0 0:1 / /run/pods/a rw - x x rw\n2 1 0:2 / /run/pods/a/v\\040w rw - x x rw\n3 1 0:3 / /run/pods/ab rw - x x rw\n\n";
        assert_eq!(under(Path::new("/run/pods/a"), text), [Path::new("/run/pods/a"), Path::new("/run/pods/a/v w")]);
    }

    #[test]
    fn a_mount_is_told_from_its_directory_and_from_mounts_below() {
        let info = "1 2 0:3 / /run/a\\040b/v ro - overlay overlay ro\n4 2 0:3 / /run/c/v/below ro - overlay overlay ro\n";
        assert_eq!(under(Path::new("/run/a b"), info), [Path::new("/run/a b/v")]);
        assert_eq!(under(Path::new("/run/c/v"), info), [Path::new("/run/c/v/below")]);
        assert!(under(Path::new("/run/a"), info).is_empty());
    }
}
