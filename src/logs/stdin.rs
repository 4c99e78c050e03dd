//! The input of a container: a pipe beside its log, which goes with it.
//!
//! `<attempt>.stdin` is a terminal's. The shim takes the end of a terminal's input for the end of the terminal, so the logger, which lives
//! as long as the container, holds that pipe open. `<attempt>.input` is read by a container without a terminal itself, and the shim alone
//! holds it open, since it is the shim that can be told to close it. Both outlive agents and those who attach.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// The pipe beside a log.
pub fn stdin_path(log: &Path, tty: bool) -> PathBuf {
    log.with_extension(if tty { "stdin" } else { "input" })
}

/// Makes the pipe, for root only; one that is there stays.
pub fn make_stdin(log: &Path, tty: bool) -> io::Result<()> {
    match nix::unistd::mkfifo(&stdin_path(log, tty), Mode::S_IRUSR | Mode::S_IWUSR) {
        Err(Errno::EEXIST) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the log has a pipe beside it.
pub fn has_stdin(log: &Path, tty: bool) -> bool {
    stdin_path(log, tty).symlink_metadata().is_ok_and(|found| found.file_type().is_fifo())
}

/// Both ends of a terminal's pipe, if there is one; without waiting for anybody.
pub(super) fn hold_stdin(log: &Path) -> Option<File> {
    let open = || OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(stdin_path(log, true));
    has_stdin(log, true).then(open)?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_stands_beside_the_log_and_a_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        assert!(!has_stdin(&log, true) && hold_stdin(&log).is_none());
        make_stdin(&log, false).unwrap();
        assert!(has_stdin(&log, false) && hold_stdin(&log).is_none(), "the logger holds a terminal's only");
        make_stdin(&log, true).unwrap();
        make_stdin(&log, true).unwrap();
        assert!(has_stdin(&log, true) && hold_stdin(&log).is_some());
        let other = dir.path().join("1.log");
        std::fs::write(stdin_path(&other, true), "").unwrap();
        assert!(!has_stdin(&other, true));
    }
}
