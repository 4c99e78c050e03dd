//! Archives that a container might send, unpacked into a temporary directory.

use std::os::unix::fs::symlink;

use super::*;

fn names(text: &str) -> Vec<String> {
    text.split('/').filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

fn inside(text: &str) -> Place {
    Place::Inside(names(text).into_iter().map(PathBuf::from).collect())
}

/// Members as (kind, name, content or target); names are written as they are.
fn archive(members: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let bytes = header.as_mut_bytes();
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let data = if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
            ""
        } else {
            content
        };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn names_stay_below_the_destination() {
    let of = |name: &str, prefix: &str| place(Path::new(name), &names(prefix));
    assert_eq!(of("tmp/foo/a/b", "tmp/foo"), inside("a/b"));
    assert_eq!(of("./tmp/foo", "tmp/foo"), inside(""));
    assert_eq!(of("a", ""), inside("a"));
    for bad in ["tmp/foobar", "tmp", "other", "/tmp/foo/a", "../tmp/foo", "tmp/../tmp/foo"] {
        assert_eq!(of(bad, "tmp/foo"), Place::Corrupted, "{bad}");
    }
    for bad in ["tmp/foo/../x", "tmp/foo/a/../../../x", "tmp/foo/.."] {
        assert_eq!(of(bad, "tmp/foo"), Place::Outside, "{bad}");
    }
    assert_eq!(of(&format!("tmp/foo/{}", "d/".repeat(MAX_DEPTH + 1)), "tmp/foo"), Place::Outside);
}

#[test]
fn a_tree_is_written_and_links_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("out");
    let bytes = archive(&[
        (EntryType::Directory, "d/", ""),
        (EntryType::Regular, "d/a", "one"),
        (EntryType::Symlink, "d/link", "/etc"),
        (EntryType::Regular, "d/link/passwd", "mine"),
        (EntryType::Link, "d/hard", "d/a"),
        (EntryType::Fifo, "d/fifo", ""),
        (EntryType::Regular, "d/sub/b", "two"),
        (EntryType::Regular, "d/../../escaped", "no"),
    ]);
    unpack(bytes.as_slice(), &names("d"), &to).unwrap();
    let read = |name: &str| std::fs::read_to_string(to.join(name)).unwrap();
    assert_eq!((read("a").as_str(), read("sub/b").as_str()), ("one", "two"));
    assert_eq!(read("link/passwd"), "mine", "the link was left out, so this is a directory of ours");
    assert!(!to.join("hard").exists() && !to.join("fifo").exists() && !dir.path().join("escaped").exists());
}

#[test]
fn links_in_the_destination_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (to, elsewhere) = (dir.path().join("out"), dir.path().join("elsewhere"));
    std::fs::create_dir_all(&to).unwrap();
    std::fs::create_dir_all(&elsewhere).unwrap();
    symlink(&elsewhere, to.join("sub")).unwrap();
    symlink(elsewhere.join("file"), to.join("file")).unwrap();
    for name in ["d/sub/x", "d/file"] {
        let error = unpack(archive(&[(EntryType::Regular, name, "no")]).as_slice(), &names("d"), &to).unwrap_err();
        assert!(error.to_string().contains("is a symbolic link, which is not followed"), "{error}");
    }
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn a_single_file_goes_to_the_path_or_into_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = archive(&[(EntryType::Regular, "etc/hosts", "h")]);
    unpack(bytes.as_slice(), &names("etc/hosts"), &dir.path().join("new/name")).unwrap();
    unpack(bytes.as_slice(), &names("etc/hosts"), dir.path()).unwrap();
    for name in ["new/name", "hosts"] {
        assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), "h");
    }
}

#[test]
fn other_archives_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = archive(&[(EntryType::Regular, "etc/passwd", "x")]);
    let error = unpack(bytes.as_slice(), &names("etc/hosts"), dir.path()).unwrap_err();
    assert_eq!(error.to_string(), "tar contents corrupted");
    assert!(unpack(&b"this is no archive"[..], &names("a"), dir.path()).is_err());
}
