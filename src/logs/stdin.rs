//! The input of a container: a pipe beside its log, which goes with it.
//!
//! `<attempt>.stdin` is a terminal's. The shim takes the end of a terminal's input for the end of the terminal, so the logger, which lives
//! as long as the container, holds that pipe open. `input/<attempt>.input` is read by a container without a terminal itself, and the shim alone
//! holds it open, since it is the shim that can be told to close it. The runtime gives that pipe to the container's user (runc
//! libcontainer/init_linux.go, fixStdioPermissions), so it lies where only root gets at: the host may have a user with that number, too. Both
//! outlive agents and those who attach.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// The directory beside logs that has the pipes of containers without a terminal.
pub const INPUT_DIRECTORY: &str = "input";

/// The pipe beside a log.
pub fn stdin_path(log: &Path, tty: bool) -> PathBuf {
    let input = || log.with_file_name(INPUT_DIRECTORY).join(log.with_extension("input").file_name().unwrap_or_default());
    if tty { log.with_extension("stdin") } else { input() }
}

/// Makes the pipe, which only root gets at; one that is there stays. `owner` is who is root in the container, where that is not the host's: the
/// runtime can give its user only what belongs to the container's ids already. A terminal's pipe is the logger's and stays root's.
pub fn make_stdin(log: &Path, tty: bool, owner: Option<u32>) -> io::Result<()> {
    let path = stdin_path(log, tty);
    if let Some(dir) = path.parent().filter(|_| !tty) {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    match nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR) {
        Err(Errno::EEXIST) | Ok(()) => {}
        Err(error) => return Err(error.into()),
    }
    match owner.filter(|_| !tty) {
        Some(owner) => std::os::unix::fs::lchown(&path, Some(owner), Some(owner)),
        None => Ok(()),
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
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_pipe_stands_beside_the_log_and_a_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        assert!(!has_stdin(&log, true) && hold_stdin(&log).is_none());
        make_stdin(&log, false, None).unwrap();
        let above = stdin_path(&log, false).parent().unwrap().metadata().unwrap();
        assert_eq!(above.permissions().mode() & 0o7777, 0o700, "nobody else's, whoever the pipe is given to");
        assert!(has_stdin(&log, false) && hold_stdin(&log).is_none(), "the logger holds a terminal's only");
        make_stdin(&log, true, None).unwrap();
        make_stdin(&log, true, None).unwrap();
        assert!(has_stdin(&log, true) && hold_stdin(&log).is_some());
        let other = dir.path().join("1.log");
        std::fs::write(stdin_path(&other, true), "").unwrap();
        assert!(!has_stdin(&other, true));
    }
}
