//! The input of a container that has a terminal: a pipe beside its log, `<attempt>.stdin`.
//!
//! The shim takes the end of a terminal's input for the end of the terminal. So the logger, which lives as long as the container, holds the
//! pipe open: agents and those who attach come and go. It goes with the log.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// The pipe beside a log.
pub fn stdin_path(log: &Path) -> PathBuf {
    log.with_extension("stdin")
}

/// Makes the pipe, for root only; one that is there stays.
pub fn make_stdin(log: &Path) -> io::Result<()> {
    match nix::unistd::mkfifo(&stdin_path(log), Mode::S_IRUSR | Mode::S_IWUSR) {
        Err(Errno::EEXIST) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the log has a pipe beside it.
pub fn has_stdin(log: &Path) -> bool {
    stdin_path(log).symlink_metadata().is_ok_and(|found| found.file_type().is_fifo())
}

/// Both ends of the pipe, if there is one; without waiting for anybody.
pub(super) fn hold_stdin(log: &Path) -> Option<File> {
    let open = || OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(stdin_path(log));
    has_stdin(log).then(open)?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_stands_beside_the_log_and_a_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        assert!(!has_stdin(&log) && hold_stdin(&log).is_none());
        make_stdin(&log).unwrap();
        make_stdin(&log).unwrap();
        assert!(has_stdin(&log) && hold_stdin(&log).is_some());
        let other = dir.path().join("1.log");
        std::fs::write(stdin_path(&other), "").unwrap();
        assert!(!has_stdin(&other));
    }
}
