//! What systemd reads of pods' slices before it makes them: that it is not to stop them when the host goes down. The agent ends pods then, in order.
//!
//! `DefaultDependencies` among the properties of a transient slice comes too late: systemd has loaded the name by then, with its conflict with
//! shutdown.target, which stays until the next daemon-reload (src/core/slice.c, slice_add_default_dependencies; seen in `tests/vm/package.sh` with
//! systemd 257). A drop-in for the name and one for all names that begin with it are read in time, and without a reload.

use std::io;
use std::path::{Path, PathBuf};

/// Units and drop-ins until the next boot.
pub(super) const RUNTIME_UNITS: &str = "/run/systemd/system";

const FILE: &str = "50-minik8s.conf";
const TEXT: &str = "# minik8s ends pods itself when the host goes down.\n[Unit]\nDefaultDependencies=no\n";

/// The drop-ins' directories for the slice of all pods.
fn directories(units: &Path, slice: &str) -> [PathBuf; 2] {
    let stem = slice.trim_end_matches(".slice");
    [units.join(format!("{stem}.slice.d")), units.join(format!("{stem}-.slice.d"))]
}

/// Sees to it for `slice` and all slices in it that are made from now on. Safe to repeat; for one caller at a time.
pub(super) fn write(units: &Path, slice: &str) -> io::Result<()> {
    for dir in directories(units, slice) {
        let (file, new) = (dir.join(FILE), dir.join(".50-minik8s.new"));
        if std::fs::read(&file).is_ok_and(|text| text == TEXT.as_bytes()) {
            continue;
        }
        std::fs::create_dir_all(&dir)?;
        std::fs::write(&new, TEXT)?;
        std::fs::rename(&new, &file)?;
    }
    Ok(())
}

/// Takes them away; other people's drop-ins stay.
pub(super) fn remove(units: &Path, slice: &str) -> io::Result<()> {
    for dir in directories(units, slice) {
        match std::fs::remove_file(dir.join(FILE)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            // A directory that is not empty is somebody else's, too.
            _ => drop(std::fs::remove_dir(&dir)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_there_for_the_slice_and_all_in_it_and_go_alone() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["kubepods.slice.d", "kubepods-.slice.d"].map(|name| dir.path().join(name).join(FILE));
        for _ in 0..2 {
            write(dir.path(), "kubepods.slice").unwrap();
            assert!(files.iter().all(|file| std::fs::read_to_string(file).unwrap() == TEXT));
        }
        std::fs::write(&files[0], "half").unwrap();
        write(dir.path(), "kubepods.slice").unwrap();
        assert_eq!(std::fs::read_to_string(&files[0]).unwrap(), TEXT);
        let other = dir.path().join("kubepods-.slice.d/60-mine.conf");
        std::fs::write(&other, "").unwrap();
        for _ in 0..2 {
            remove(dir.path(), "kubepods.slice").unwrap();
        }
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left == ["kubepods-.slice.d"] && other.exists() && !files[1].exists(), "{left:?}");
    }
}
