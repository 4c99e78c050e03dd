//! A file or a directory as a tar archive.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::complain;

/// Bytes written at a time.
const CHUNK: usize = 64 << 10;

/// Writes an archive in which `source` is called `name`. Symbolic links stay links; sockets and the like are named on stderr and left out.
pub fn pack(source: &Path, name: &str, to: impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(CHUNK, to));
    archive.follow_symlinks(false);
    archive.sparse(false);
    let mut left: Vec<(PathBuf, PathBuf)> = vec![(source.to_owned(), name.into())];
    while let Some((path, name)) = left.pop() {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let kind = path.symlink_metadata().map_err(named)?.file_type();
        if kind.is_dir() {
            archive.append_dir(&name, &path).map_err(named)?;
            let mut entries = std::fs::read_dir(&path).map_err(named)?.collect::<io::Result<Vec<_>>>().map_err(named)?;
            entries.sort_by_key(std::fs::DirEntry::file_name);
            left.extend(entries.into_iter().rev().map(|entry| (entry.path(), name.join(entry.file_name()))));
        } else if kind.is_file() || kind.is_symlink() {
            archive.append_path_with_name(&path, &name).map_err(named)?;
        } else {
            complain(&format!("warning: skipping {}: neither a file, a directory nor a symbolic link", path.display()));
        }
    }
    archive.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_packed_under_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("a");
        std::fs::create_dir_all(source.join("empty")).unwrap();
        std::fs::write(source.join("file"), "text").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", source.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
        let mut out = Vec::new();
        pack(&source, "b", &mut out).unwrap();
        let mut archive = tar::Archive::new(out.as_slice());
        let members: Vec<(String, tar::EntryType)> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.map(|e| (e.path().unwrap().display().to_string(), e.header().entry_type())).unwrap())
            .collect();
        let names: Vec<&str> = members.iter().map(|(name, _)| name.trim_end_matches('/')).collect();
        assert_eq!(names, ["b", "b/empty", "b/file", "b/link"]);
        assert_eq!(members[3].1, tar::EntryType::Symlink);
    }
}
