//! The files of a configuration volume, changed all at once. After pkg/volume/util/atomic_writer.go.
//!
//! ```text
//! <volume>/a.conf ─▶ ..data/a.conf          links for what stands at the top
//! <volume>/..data ─▶ ..2026_11_23_21_51_29.AbCdEf      renamed over: a reader sees the old files or the new ones
//! <volume>/..2026_11_23_21_51_29.AbCdEf/a.conf
//! ```
//!
//! Guarantees: `..data` always names a whole set of files; what is the same already is not touched; what a killed agent left is cleared away.
//! Assumes that nobody else writes here: containers have these volumes read-only. The caller lets one writer in at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown, symlink};
use std::path::Path;

use jiff::Timestamp;

use super::{PayloadFile, ownership};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";
/// Permissions of directories inside: readable for any user of the pod's containers, who alone get here.
const DIRECTORY: u32 = 0o755;
/// The deepest path that is written.
const MAX_PATH: usize = 4096;

type Files = BTreeMap<String, PayloadFile>;

/// What a volume is to hold.
pub(super) struct Contents<'a> {
    /// Path → file.
    pub(super) files: &'a Files,
    /// The name of the directory that holds them.
    pub(super) at: Timestamp,
    /// The group that all of it belongs to (fsGroup).
    pub(super) group: Option<u32>,
}

impl Contents<'_> {
    fn file_mode(&self, file: &PayloadFile) -> u32 {
        self.group.map_or(file.mode, |_| ownership::mode(file.mode, false, true))
    }

    fn directory_mode(&self) -> u32 {
        self.group.map_or(DIRECTORY, |_| ownership::mode(DIRECTORY, true, true))
    }
}

/// Makes `dir` (which is there) hold exactly the files, owned as they are to be before anybody sees them. Errors: the first thing that cannot be
/// written; `..data` is the old set then.
pub(super) fn write(dir: &Path, contents: &Contents) -> io::Result<()> {
    let files = contents.files;
    files.keys().try_for_each(|path| check(path))?;
    ownership::give(dir, contents.group, contents.directory_mode())?;
    let old = match fs::read_link(dir.join(DATA)) {
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        other => Some(other?),
    };
    let unchanged = old.as_ref().is_some_and(|old| same(&dir.join(old), contents));
    if !unchanged {
        swap(dir, contents)?;
    }
    show(dir, contents)?;
    clear(dir, files)
}

/// Relative, without `..`, and not in the writer's own names.
fn check(path: &str) -> io::Result<()> {
    let wrong = path.is_empty()
        || path.len() > MAX_PATH
        || path.starts_with("..")
        || path.contains('\0')
        || path.split('/').any(|part| part.is_empty() || part == "." || part == ".." || part.len() > 255);
    match wrong {
        true => Err(io::Error::new(ErrorKind::InvalidInput, format!("invalid path: {path:?}"))),
        false => Ok(()),
    }
}

/// Whether a directory holds exactly these files. What cannot be read is not the same.
fn same(dir: &Path, contents: &Contents) -> bool {
    let mut count = 0;
    read_all(dir, dir, &mut |path, data, found| {
        count += 1;
        let group = contents.group.is_none_or(|group| group == found.gid());
        contents.files.get(path).is_some_and(|file| file.data == data && contents.file_mode(file) == permissions(found) && group)
    })
    .unwrap_or(false)
        && count == contents.files.len()
}

fn permissions(found: &Metadata) -> u32 {
    found.permissions().mode() & 0o7777
}

/// Calls `matches` for every file below `dir` until it says no. As deep as what was written here before.
fn read_all(root: &Path, dir: &Path, matches: &mut impl FnMut(&str, &[u8], &Metadata) -> bool) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        let fits = if metadata.is_dir() {
            read_all(root, &path, matches)?
        } else {
            let name = path.strip_prefix(root).ok().and_then(Path::to_str).unwrap_or_default();
            metadata.is_file() && matches(name, &fs::read(&path)?, &metadata)
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes a new timestamped directory and makes `..data` name it.
fn swap(dir: &Path, contents: &Contents) -> io::Result<()> {
    let stamp = contents.at.to_zoned(jiff::tz::TimeZone::UTC).strftime("..%Y_%m_%d_%H_%M_%S.XXXXXX").to_string();
    let new = nix::unistd::mkdtemp(&dir.join(stamp))?;
    ownership::give(&new, contents.group, contents.directory_mode())?;
    for (path, file) in contents.files {
        write_file(&new, path, file, contents).map_err(|e| io::Error::new(e.kind(), format!("cannot write {path:?}: {e}")))?;
    }
    let (link, name) = (dir.join(NEW_DATA), new.file_name().unwrap_or_default());
    absent_is_fine(fs::remove_file(&link))?;
    symlink(name, &link)?;
    lchown(&link, None, contents.group)?;
    fs::rename(&link, dir.join(DATA))
}

fn write_file(dir: &Path, path: &str, file: &PayloadFile, contents: &Contents) -> io::Result<()> {
    let path = dir.join(path);
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(DIRECTORY).create(parent)?;
        let mut above = Some(parent);
        // Whatever the umask is.
        while let Some(made) = above.filter(|a| *a != dir && a.starts_with(dir)) {
            ownership::give(made, contents.group, contents.directory_mode())?;
            above = made.parent();
        }
    }
    let mut out: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    out.write_all(&file.data)?;
    fchown(&out, None, contents.group)?;
    out.set_permissions(Permissions::from_mode(contents.file_mode(file)))
}

fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

/// Links for what stands at the top.
fn show(dir: &Path, contents: &Contents) -> io::Result<()> {
    for name in contents.files.keys().map(|path| top(path)).collect::<BTreeSet<_>>() {
        match symlink(Path::new(DATA).join(name), dir.join(name)) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            other => other?,
        }
        lchown(dir.join(name), None, contents.group)?;
    }
    Ok(())
}

/// Removes links to what is no more, and every timestamped directory but the one in use.
fn clear(dir: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().map(|path| top(path)).collect();
    let current = fs::read_link(dir.join(DATA))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == DATA || current.as_os_str() == name || name.to_str().is_some_and(|n| wanted.contains(n)) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => absent_is_fine(fs::remove_file(entry.path()))?,
        }
    }
    Ok(())
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files(all: &[(&str, &str, u32)]) -> Files {
        all.iter().map(|(path, text, mode)| ((*path).to_owned(), PayloadFile { data: text.as_bytes().to_vec(), mode: *mode })).collect()
    }

    fn write(dir: &Path, files: &Files, at: Timestamp) -> io::Result<()> {
        super::write(dir, &Contents { files, at, group: None })
    }

    fn seen(dir: &Path) -> Vec<(String, String, u32)> {
        let mut out = Vec::new();
        let root = fs::canonicalize(dir.join(DATA)).unwrap();
        read_all(&root, &root, &mut |path, text, found| {
            out.push((path.to_owned(), String::from_utf8_lossy(text).into_owned(), permissions(found)));
            true
        })
        .unwrap();
        out.sort();
        out
    }

    fn names(dir: &Path) -> BTreeSet<String> {
        fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| n == DATA || !n.starts_with(".."))
            .collect()
    }

    fn set(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn files_come_change_and_go_and_nothing_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        write(dir.path(), &files(&[("a", "1", 0o644), ("d/e/f", "2", 0o400)]), at).unwrap();
        let first = fs::read_link(dir.path().join(DATA)).unwrap();
        assert!(first.to_str().unwrap().starts_with("..2023_11_14_22_13_20."), "{first:?}");
        assert_eq!(names(dir.path()), set(&[DATA, "a", "d"]));
        assert_eq!(fs::read_link(dir.path().join("d")).unwrap(), Path::new("..data/d"));
        assert_eq!(fs::metadata(dir.path().join("d/e")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_to_string(dir.path().join("d/e/f")).unwrap(), "2");

        // The same again, later: nothing is touched.
        write(dir.path(), &files(&[("a", "1", 0o644), ("d/e/f", "2", 0o400)]), at.checked_add(jiff::SignedDuration::from_secs(9)).unwrap())
            .unwrap();
        assert_eq!(fs::read_link(dir.path().join(DATA)).unwrap(), first);

        // What a killed agent left, a changed mode, one gone, one new.
        fs::create_dir(dir.path().join("..2020_01_01_00_00_00.x")).unwrap();
        symlink("nowhere", dir.path().join(NEW_DATA)).unwrap();
        write(dir.path(), &files(&[("a", "1", 0o600), ("g", "3", 0o644)]), at).unwrap();
        assert_eq!(names(dir.path()), set(&[DATA, "a", "g"]));
        let mine = [("a".to_owned(), "1".to_owned(), 0o600), ("g".to_owned(), "3".to_owned(), 0o644)];
        assert_eq!(seen(dir.path()), mine);
        let stamps = fs::read_dir(dir.path()).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().starts_with("..2"));
        assert_eq!(stamps.count(), 1);
        write(dir.path(), &Files::new(), at).unwrap();
        assert_eq!(names(dir.path()), set(&[DATA]));
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(256);
        for path in ["", "..", "../a", "a/../b", "/a", "..data", "a//b", "a/", "./a", "a\0", long.as_str()] {
            assert!(write(dir.path(), &files(&[(path, "x", 0o644)]), Timestamp::UNIX_EPOCH).is_err(), "{path}");
        }
        assert_eq!(names(dir.path()), set(&[]));
    }

    #[test]
    fn a_file_where_a_directory_must_be_leaves_the_old_set() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &files(&[("a", "1", 0o644)]), Timestamp::UNIX_EPOCH).unwrap();
        assert!(write(dir.path(), &files(&[("a", "2", 0o644), ("a/b", "3", 0o644)]), Timestamp::UNIX_EPOCH).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "1");
    }

    proptest! {
        /// Whatever stood there before, the volume holds the last set and no more.
        #[test]
        fn the_last_set_counts(sets in prop::collection::vec(prop::collection::btree_map("[a-c](/[d-e])?x", ("[xyz]{0,3}", prop::sample::select(vec![0o644_u32, 0o400])), 0..4), 1..4)) {
            let dir = tempfile::tempdir().unwrap();
            for set in &sets {
                let wanted: Files = set.iter().map(|(path, (text, mode))| (path.clone(), PayloadFile { data: text.clone().into_bytes(), mode: *mode })).collect();
                write(dir.path(), &wanted, Timestamp::UNIX_EPOCH).unwrap();
                let expected: Vec<_> = set.iter().map(|(path, (text, mode))| (path.clone(), text.clone(), *mode)).collect();
                prop_assert_eq!(seen(dir.path()), expected);
                let tops: BTreeSet<String> = set.keys().map(|path| top(path).to_owned()).chain([DATA.to_owned()]).collect();
                prop_assert_eq!(names(dir.path()), tops);
            }
        }
    }
}
