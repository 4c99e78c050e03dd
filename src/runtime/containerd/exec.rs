//! Executing processes in running containers, with streams: FIFOs between the shim and us, in a directory for each process.
//!
//! ```text
//! exec_stream: FIFOs (0700) ─▶ open our ends ─▶ Tasks.Exec ─▶ Tasks.Start ──▶ the caller moves bytes, waits for the exit
//! exec_remove: Tasks.DeleteProcess ─▶ the directory (last: it is what a later agent finds)
//! ```
//!
//! A shim that starts a process waits, for ever and with its other work, until its pipes have a reader. So an agent that comes after one that
//! was killed opens what pipes it finds before it asks containerd for anything.
//!
//! Guarantees: a failed start leaves nothing; what an agent that was killed left behind is found by its directory, killed and removed
//! ([`Containerd::exec_collect`]). The process has the container's environment, directory, user, capabilities, limits and labels: its
//! OCI process with another command. Leaves to others: how many there may be, moving bytes, ending them.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use containerd_client::services::v1::{
    CloseIoRequest, DeleteProcessRequest, ExecProcessRequest, GetContainerRequest, KillRequest, ResizePtyRequest, StartRequest, WaitRequest,
};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use tokio::net::unix::pipe;
use tonic::{Code, Status};

use super::Containerd;
use super::connection::{QUICK, SLOW, accept, answer};
use super::errors::{Subject, is_shim_gone};
use super::exec_process::process_spec;
use super::timestamps;
use crate::clock::{Clock as _, SystemClock};
use crate::runtime::exec::{ExecConfig, ExecId, ExecProcess};
use crate::runtime::{Exit, RuntimeError};

/// The type under which containerd hands a process to the shim.
const PROCESS_TYPE_URL: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const SIGKILL: u32 = 9;
/// How long a killed process may take to be gone.
const DEATH: std::time::Duration = std::time::Duration::from_secs(10);

/// What earlier runs of the agent were executing, and what could not be removed since, with their pipes held open, so that no shim waits for a reader.
pub(super) struct ExecLeftovers(Mutex<Vec<(ExecId, Vec<File>)>>);

impl ExecLeftovers {
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

    fn add(&self, id: ExecId, dir: &Path) {
        let pipes = ["stdin", "stdout", "stderr"].iter().filter_map(|name| hold(&dir.join(name)).ok()).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((id, pipes));
    }

    fn ids(&self) -> Vec<ExecId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(id, _)| id.clone()).collect()
    }

    fn forget(&self, ended: &ExecId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| id != ended);
    }
}

/// Both ends of a pipe, without waiting for anybody.
pub(super) fn hold(path: &Path) -> io::Result<File> {
    std::fs::OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

/// Names for executed processes that no other run of the agent gives.
pub(super) struct ExecNames {
    run: String,
    next: AtomicU64,
}

impl ExecNames {
    pub(super) fn new() -> Self {
        // The instant of the start tells runs of the agent apart.
        Self { run: format!("exec-{:x}", SystemClock.now().as_nanosecond()), next: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        format!("{}-{}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Containerd {
    /// Starts a process in a running container.
    ///
    /// # Errors
    /// `NotFound`: the container does not run; `Failed`: runc's words, such as that the program is not there.
    pub async fn exec_stream(&self, config: &ExecConfig) -> Result<ExecProcess, RuntimeError> {
        let subject = Subject::new(&self.connection, "exec in", &config.container_id);
        let id = ExecId { container: config.container_id.clone(), exec: self.exec_names.next() };
        let spec = self.process_of(config).await.map_err(|status| subject.error(status))?;
        let dir = self.exec_dir(&id);
        let made = Fifos::make(&dir, config);
        let fifos = made.map_err(|error| subject.failed(format!("cannot make its pipes in {}: {error}", dir.display())))?;
        if let Err(status) = self.start_exec(&id, config, spec, &fifos).await {
            // Our ends stay open meanwhile: the shim may still be about to open its own.
            if self.exec_end(&id).await.is_err() {
                self.exec_leave(&id);
            }
            return Err(subject.error(status));
        }
        let Fifos { stdin, stdout, stderr, .. } = fifos;
        Ok(ExecProcess { id, stdin, stdout, stderr })
    }

    async fn start_exec(&self, id: &ExecId, config: &ExecConfig, spec: Vec<u8>, fifos: &Fifos) -> Result<(), Status> {
        let path = |name: &str| fifos.dir.join(name).display().to_string();
        let request = self.connection.request(ExecProcessRequest {
            container_id: id.container.clone(),
            exec_id: id.exec.clone(),
            stdin: if config.stdin { path("stdin") } else { String::new() },
            stdout: path("stdout"),
            stderr: if config.tty.is_none() { path("stderr") } else { String::new() },
            terminal: config.tty.is_some(),
            spec: Some(prost_types::Any { type_url: PROCESS_TYPE_URL.to_owned(), value: spec }),
        });
        answer(SLOW, self.connection.tasks().exec(request)).await?;
        let request = self.connection.request(StartRequest { container_id: id.container.clone(), exec_id: id.exec.clone() });
        answer(SLOW, self.connection.tasks().start(request)).await?;
        // runc gives the size to the console, but not on every version; once more does no harm.
        if let Some(Some(size)) = config.tty {
            let _ = self.exec_resize(id, size).await;
        }
        Ok(())
    }

    async fn process_of(&self, config: &ExecConfig) -> Result<Vec<u8>, Status> {
        let request = self.connection.request(GetContainerRequest { id: config.container_id.clone() });
        let reply = answer(QUICK, self.connection.containers().get(request)).await?;
        let spec = reply.container.and_then(|c| c.spec).map(|any| any.value).unwrap_or_default();
        process_spec(&spec, config).map_err(Status::internal)
    }

    /// Gives the terminal another size (columns, lines).
    pub async fn exec_resize(&self, id: &ExecId, (width, height): (u16, u16)) -> Result<(), RuntimeError> {
        self.resize(&id.container, &id.exec, (width, height)).await
    }

    /// Gives the terminal of the container's own process another size (columns, lines).
    pub async fn resize_container(&self, container: &str, size: (u16, u16)) -> Result<(), RuntimeError> {
        self.resize(container, "", size).await
    }

    async fn resize(&self, container: &str, exec: &str, (width, height): (u16, u16)) -> Result<(), RuntimeError> {
        let request = self.connection.request(ResizePtyRequest {
            container_id: container.to_owned(),
            exec_id: exec.to_owned(),
            width: width.into(),
            height: height.into(),
        });
        let resized = answer(QUICK, self.connection.tasks().resize_pty(request)).await.map(drop);
        resized.map_err(|status| Subject::new(&self.connection, "resize the terminal in", container).error(status))
    }

    /// Tells the shim that no more input comes. Our end must be dropped, too.
    pub async fn exec_close_stdin(&self, id: &ExecId) -> Result<(), RuntimeError> {
        let request = CloseIoRequest { container_id: id.container.clone(), exec_id: id.exec.clone(), stdin: true };
        let closed = answer(QUICK, self.connection.tasks().close_io(self.connection.request(request))).await.map(drop);
        closed.map_err(|status| Subject::new(&self.connection, "close the input of a process in", &id.container).error(status))
    }

    /// Waits until the process has ended. Cancel-safe.
    pub async fn exec_wait(&self, id: &ExecId) -> Result<Exit, RuntimeError> {
        let request = self.connection.request(WaitRequest { container_id: id.container.clone(), exec_id: id.exec.clone() });
        match self.connection.tasks().wait(request).await.map(tonic::Response::into_inner) {
            Ok(reply) => {
                let at = timestamps::from_proto(reply.exited_at.as_ref()).unwrap_or_else(|| SystemClock.now());
                Ok(Exit { code: reply.exit_status, at })
            }
            Err(status) if is_shim_gone(&status) => Err(RuntimeError::NotFound { id: id.container.clone() }),
            Err(status) => Err(Subject::new(&self.connection, "wait for a process in", &id.container).error(status)),
        }
    }

    /// SIGKILL; that it has ended already is no error.
    pub async fn exec_kill(&self, id: &ExecId) -> Result<(), RuntimeError> {
        let request = KillRequest { container_id: id.container.clone(), exec_id: id.exec.clone(), signal: SIGKILL, all: false };
        let killed = answer(SLOW, self.connection.tasks().kill(self.connection.request(request))).await.map(drop);
        match accept(killed, Code::NotFound) {
            Err(status) if !is_gone(&status) => Err(Subject::new(&self.connection, "kill a process in", &id.container).error(status)),
            _ => Ok(()),
        }
    }

    /// Forgets an ended process and removes its directory. What is not there is no error.
    pub async fn exec_remove(&self, id: &ExecId) -> Result<(), RuntimeError> {
        let subject = Subject::new(&self.connection, "delete a process in", &id.container);
        let request = DeleteProcessRequest { container_id: id.container.clone(), exec_id: id.exec.clone() };
        let deleted = answer(SLOW, self.connection.tasks().delete_process(self.connection.request(request))).await.map(drop);
        match accept(deleted, Code::NotFound) {
            Err(status) if !is_gone(&status) => return Err(subject.error(status)),
            _ => {}
        }
        match std::fs::remove_dir_all(self.exec_dir(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(subject.failed(error.to_string())),
            _ => Ok(()),
        }
    }

    /// Removes a process that nobody listens to any more; one that runs is killed and awaited (10 s at most) before.
    pub async fn exec_end(&self, id: &ExecId) -> Result<(), RuntimeError> {
        match self.exec_remove(id).await {
            // It runs: the code does not tell.
            Err(RuntimeError::Failed { .. }) => {}
            done => return done,
        }
        self.exec_kill(id).await?;
        match tokio::time::timeout(DEATH, self.exec_wait(id)).await {
            Ok(Err(error @ RuntimeError::Unavailable { .. })) => return Err(error),
            Ok(_) => {}
            Err(_) => tracing::warn!(container = id.container, exec = id.exec, "did not end within {} s of SIGKILL", DEATH.as_secs()),
        }
        self.exec_remove(id).await
    }

    /// Leaves a process that cannot be removed now to [`Self::exec_collect`].
    pub fn exec_leave(&self, id: &ExecId) {
        self.exec_leftovers.add(id.clone(), &self.exec_dir(id));
    }

    /// Ends what earlier runs of the agent were executing, and what was left: nobody listens to it any more. How many there were.
    ///
    /// # Errors
    /// The first failure; the others were tried all the same.
    pub async fn exec_collect(&self) -> Result<usize, RuntimeError> {
        let (mut count, mut outcome) = (0, Ok(()));
        for id in self.exec_leftovers.ids() {
            let ended = self.exec_end(&id).await;
            if ended.is_ok() {
                count += 1;
                self.exec_leftovers.forget(&id);
            }
            outcome = outcome.and(ended);
        }
        outcome.map(|()| count)
    }

    fn exec_dir(&self, id: &ExecId) -> PathBuf {
        exec_root(&self.config.run_dir).join(format!("{}.{}", id.container, id.exec))
    }
}

fn exec_root(run_dir: &Path) -> PathBuf {
    run_dir.join("exec")
}

/// The process that a directory's name tells of.
fn exec_id(name: &str) -> Option<ExecId> {
    let (container, exec) = name.split_once('.')?;
    (!container.is_empty() && !exec.is_empty()).then(|| ExecId { container: container.to_owned(), exec: exec.to_owned() })
}

/// It has ended, or its container or shim has: nothing is left to do. containerd gives some of these no code.
fn is_gone(status: &Status) -> bool {
    let message = status.message();
    status.code() == Code::NotFound || is_shim_gone(status) || message.contains("not found") || message.contains("already finished")
}

/// The pipes of a process, and our ends of them.
struct Fifos {
    dir: PathBuf,
    stdin: Option<pipe::Sender>,
    stdout: pipe::Receiver,
    stderr: Option<pipe::Receiver>,
}

impl Fifos {
    fn make(dir: &Path, config: &ExecConfig) -> io::Result<Fifos> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_name_processes() {
        let id = exec_id("abc.exec-1f-0").unwrap();
        assert_eq!((id.container.as_str(), id.exec.as_str()), ("abc", "exec-1f-0"));
        assert_eq!((exec_id("nothing"), exec_id(".x"), exec_id("x.")), (None, None, None));
        let names = ExecNames::new();
        assert_ne!(names.next(), names.next());
    }

    #[test]
    fn a_writer_that_waits_for_a_reader_goes_on_when_leftovers_are_found() {
        let run = tempfile::tempdir().unwrap();
        let dir = run.path().join("exec/abc.exec-1-0");
        std::fs::create_dir_all(&dir).unwrap();
        nix::unistd::mkfifo(&dir.join("stdout"), Mode::S_IRWXU).unwrap();
        let path = dir.join("stdout");
        let writer = std::thread::spawn(move || std::fs::OpenOptions::new().write(true).open(path).map(drop));
        let leftovers = ExecLeftovers::find(run.path());
        writer.join().unwrap().unwrap();
        assert_eq!(leftovers.ids(), [exec_id("abc.exec-1-0").unwrap()]);
        leftovers.forget(&exec_id("abc.exec-1-0").unwrap());
        assert!(leftovers.ids().is_empty());
    }
}
