//! The file a container leaves its last words in, on the host: `<pod>/containers/<container>/<attempt>.log`.
//!
//! A container (or a hostPath neighbour) may have put anything there, so it is read without following symlinks, only if it is
//! a regular file, and never more than 4096 bytes: the last ones, as the kubelet does (pkg/util/tail ReadAtMost).

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// kubecontainer.MaxContainerTerminationMessageLength.
pub(super) const MAX_BYTES: usize = 4096;

const NOFOLLOW: i32 = nix::fcntl::OFlag::O_NOFOLLOW.bits() | nix::fcntl::OFlag::O_NONBLOCK.bits();

/// Makes the file empty and writable for any user (0666, as the kubelet does).
pub(super) fn create(path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(NOFOLLOW).open(path)?;
    file.set_permissions(Permissions::from_mode(0o666))
}

/// The last 4096 bytes as text; "" for what is not there or is no regular file.
pub(super) fn read(path: &Path) -> String {
    try_read(path).unwrap_or_default()
}

fn try_read(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new().read(true).custom_flags(NOFOLLOW).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(String::new());
    }
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(MAX_BYTES as u64)))?;
    let mut bytes = Vec::with_capacity(MAX_BYTES);
    file.take(MAX_BYTES as u64).read_to_end(&mut bytes)?;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    // What is no UTF-8 grows to three bytes each.
    let end = (0..=text.len().min(MAX_BYTES)).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text.truncate(end);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_4096_bytes_are_read_lossily() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c/0.log");
        create(&path).unwrap();
        assert_eq!(read(&path), "");
        std::fs::write(&path, format!("{}end", "x".repeat(5000))).unwrap();
        let text = read(&path);
        assert!(text.len() == MAX_BYTES && text.ends_with("xend"));
        std::fs::write(&path, [0xff; 4096]).unwrap();
        assert!(read(&path).len() <= MAX_BYTES);
        create(&path).unwrap();
        assert_eq!(read(&path), "");
    }

    #[test]
    fn symlinks_pipes_and_directories_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["link", "fifo", ".", "gone"] {
            assert_eq!(read(&dir.path().join(name)), "", "{name}");
        }
        assert!(create(&link).is_err());
    }
}
