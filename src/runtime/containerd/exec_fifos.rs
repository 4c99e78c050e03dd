//! The pipes of executed processes: a directory for each process below the agent's run directory, named after it.
//!
//! Guarantee: what an earlier run of the agent left is found, and its pipes have a reader from then on.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use tokio::net::unix::pipe;

use crate::runtime::exec::{ExecConfig, ExecId};

/// The directory of a process.
pub(super) fn dir(run_dir: &Path, id: &ExecId) -> PathBuf {
    exec_root(run_dir).join(format!("{}.{}", id.container, id.exec))
}

fn exec_root(run_dir: &Path) -> PathBuf {
    run_dir.join("exec")
}

/// The process that a directory's name tells of.
fn exec_id(name: &str) -> Option<ExecId> {
    let (container, exec) = name.split_once('.')?;
    (!container.is_empty() && !exec.is_empty()).then(|| ExecId { container: container.to_owned(), exec: exec.to_owned() })
}

/// The pipes of a process, and our ends of them.
pub(super) struct Fifos {
    pub(super) dir: PathBuf,
    pub(super) stdin: Option<pipe::Sender>,
    pub(super) stdout: pipe::Receiver,
    pub(super) stderr: Option<pipe::Receiver>,
}

impl Fifos {
    pub(super) fn make(dir: &Path, config: &ExecConfig) -> io::Result<Fifos> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let make = |name: &str| {
            let path = dir.join(name);
            nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).map(|()| path)
        };
        // Opened for both, a sender needs no reader yet. A receiver is read only once the shim has opened its end.
        let stdin = match config.stdin {
            true => Some(pipe::OpenOptions::new().read_write(true).open_sender(make("stdin")?)?),
            false => None,
        };
        let stdout = pipe::OpenOptions::new().open_receiver(make("stdout")?)?;
        let stderr = match config.tty {
            None => Some(pipe::OpenOptions::new().open_receiver(make("stderr")?)?),
            Some(_) => None,
        };
        Ok(Fifos { dir: dir.to_owned(), stdin, stdout, stderr })
    }
}

/// What earlier runs of the agent were executing, and what could not be removed since, with their pipes held open, so that no shim waits for a reader.
pub(super) struct Leftovers(Mutex<Vec<(ExecId, Vec<File>)>>);

impl Leftovers {
    /// Looks below the agent's run directory. Before this run executes anything.
    pub(super) fn find(run_dir: &Path) -> Self {
        let entries = std::fs::read_dir(exec_root(run_dir)).into_iter().flatten().flatten();
        let leftovers = Self(Mutex::default());
        for entry in entries {
            if let Some(id) = entry.file_name().to_str().and_then(exec_id) {
                leftovers.add(id, &entry.path());
            }
        }
        leftovers
    }

    pub(super) fn add(&self, id: ExecId, dir: &Path) {
        let pipes = ["stdin", "stdout", "stderr"].iter().filter_map(|name| hold(&dir.join(name)).ok()).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((id, pipes));
    }

    pub(super) fn ids(&self) -> Vec<ExecId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn forget(&self, ended: &ExecId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| id != ended);
    }
}

/// Both ends of a pipe, without waiting for anybody.
fn hold(path: &Path) -> io::Result<File> {
    std::fs::OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_name_processes() {
        let id = exec_id("abc.exec-1f-0").unwrap();
        assert_eq!((id.container.as_str(), id.exec.as_str()), ("abc", "exec-1f-0"));
        assert_eq!(dir(Path::new("/run/m"), &id), Path::new("/run/m/exec/abc.exec-1f-0"));
        assert_eq!((exec_id("nothing"), exec_id(".x"), exec_id("x.")), (None, None, None));
    }

    #[test]
    fn a_writer_that_waits_for_a_reader_goes_on_when_leftovers_are_found() {
        let run = tempfile::tempdir().unwrap();
        let dir = run.path().join("exec/abc.exec-1-0");
        std::fs::create_dir_all(&dir).unwrap();
        nix::unistd::mkfifo(&dir.join("stdout"), Mode::S_IRWXU).unwrap();
        let path = dir.join("stdout");
        let writer = std::thread::spawn(move || std::fs::OpenOptions::new().write(true).open(path).map(drop));
        let leftovers = Leftovers::find(run.path());
        writer.join().unwrap().unwrap();
        assert_eq!(leftovers.ids(), [exec_id("abc.exec-1-0").unwrap()]);
        leftovers.forget(&exec_id("abc.exec-1-0").unwrap());
        assert!(leftovers.ids().is_empty());
    }
}
