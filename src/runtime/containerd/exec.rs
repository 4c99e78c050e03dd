//! Executing processes in running containers, with streams: FIFOs between the shim and us, in a directory for each process.
//!
//! ```text
//! stream: FIFOs (0700) ─▶ open our ends ─▶ Tasks.Exec ─▶ Tasks.Start ──▶ the caller moves bytes, waits for the exit
//! remove: Tasks.DeleteProcess ─▶ the directory (last: it is what a later agent finds)
//! ```
//!
//! A shim that starts a process waits, for ever and with its other work, until its pipes have a reader. So an agent that comes after one that
//! was killed opens what pipes it finds before it asks containerd for anything.
//!
//! Guarantees: a failed start leaves nothing; what an agent that was killed left behind is found by its directory, killed and removed
//! ([`Execs::collect`]). The process has the container's environment, directory, user, capabilities, limits and labels: its
//! OCI process with another command. Leaves to others: how many there may be, moving bytes, ending them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use containerd_client::services::v1::{
    CloseIoRequest, DeleteProcessRequest, ExecProcessRequest, GetContainerRequest, KillRequest, ResizePtyRequest, StartRequest, WaitRequest,
};
use tonic::{Code, Status};

use super::connection::{Connection, QUICK, SLOW, accept, answer};
use super::errors::{Subject, is_shim_gone};
use super::exec_fifos::{self, Fifos, Leftovers};
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

/// Starts, watches and ends executed processes.
pub struct Execs {
    pub(super) connection: Arc<Connection>,
    run_dir: PathBuf,
    names: ExecNames,
    leftovers: Leftovers,
}

impl Execs {
    /// Before this run of the agent executes anything: what an earlier one left in `run_dir` is looked for.
    pub(super) fn new(connection: Arc<Connection>, run_dir: &Path) -> Self {
        Self { connection, run_dir: run_dir.to_owned(), names: ExecNames::new(), leftovers: Leftovers::find(run_dir) }
    }

    /// Starts a process in a running container.
    ///
    /// # Errors
    /// `NotFound`: the container does not run; `Failed`: runc's words, such as that the program is not there.
    pub async fn stream(&self, config: &ExecConfig) -> Result<ExecProcess, RuntimeError> {
        let subject = Subject::new(&self.connection, "exec in", &config.container_id);
        let id = ExecId { container: config.container_id.clone(), exec: self.names.next() };
        let spec = self.process_of(config).await.map_err(|status| subject.error(status))?;
        let dir = self.dir(&id);
        let made = Fifos::make(&dir, config);
        let fifos = made.map_err(|error| subject.failed(format!("cannot make its pipes in {}: {error}", dir.display())))?;
        if let Err(status) = self.start_exec(&id, config, spec, &fifos).await {
            // Our ends stay open meanwhile: the shim may still be about to open its own.
            if self.end(&id).await.is_err() {
                self.leave(&id);
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
            let _ = self.resize(id, size).await;
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
    pub async fn resize(&self, id: &ExecId, size: (u16, u16)) -> Result<(), RuntimeError> {
        self.resize_terminal(&id.container, &id.exec, size).await
    }

    /// Gives the terminal of the container's own process another size (columns, lines).
    pub async fn resize_container(&self, container: &str, size: (u16, u16)) -> Result<(), RuntimeError> {
        self.resize_terminal(container, "", size).await
    }

    async fn resize_terminal(&self, container: &str, exec: &str, (width, height): (u16, u16)) -> Result<(), RuntimeError> {
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
    pub async fn close_stdin(&self, id: &ExecId) -> Result<(), RuntimeError> {
        self.close_input(&id.container, &id.exec).await
    }

    /// As [`Self::close_stdin`], of the container's own process.
    pub async fn close_container_stdin(&self, container: &str) -> Result<(), RuntimeError> {
        self.close_input(container, "").await
    }

    async fn close_input(&self, container: &str, exec: &str) -> Result<(), RuntimeError> {
        let request = CloseIoRequest { container_id: container.to_owned(), exec_id: exec.to_owned(), stdin: true };
        let closed = answer(QUICK, self.connection.tasks().close_io(self.connection.request(request))).await.map(drop);
        closed.map_err(|status| Subject::new(&self.connection, "close the input of a process in", container).error(status))
    }

    /// Waits until the process has ended. Cancel-safe.
    pub async fn wait(&self, id: &ExecId) -> Result<Exit, RuntimeError> {
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
    pub async fn kill(&self, id: &ExecId) -> Result<(), RuntimeError> {
        let request = KillRequest { container_id: id.container.clone(), exec_id: id.exec.clone(), signal: SIGKILL, all: false };
        let killed = answer(SLOW, self.connection.tasks().kill(self.connection.request(request))).await.map(drop);
        match accept(killed, Code::NotFound) {
            Err(status) if !is_gone(&status) => Err(Subject::new(&self.connection, "kill a process in", &id.container).error(status)),
            _ => Ok(()),
        }
    }

    /// Forgets an ended process and removes its directory. What is not there is no error.
    pub async fn remove(&self, id: &ExecId) -> Result<(), RuntimeError> {
        let subject = Subject::new(&self.connection, "delete a process in", &id.container);
        let request = DeleteProcessRequest { container_id: id.container.clone(), exec_id: id.exec.clone() };
        let deleted = answer(SLOW, self.connection.tasks().delete_process(self.connection.request(request))).await.map(drop);
        match accept(deleted, Code::NotFound) {
            Err(status) if !is_gone(&status) => return Err(subject.error(status)),
            _ => {}
        }
        match std::fs::remove_dir_all(self.dir(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(subject.failed(error.to_string())),
            _ => Ok(()),
        }
    }

    /// Removes a process that nobody listens to any more; one that runs is killed and awaited (10 s at most) before.
    pub async fn end(&self, id: &ExecId) -> Result<(), RuntimeError> {
        match self.remove(id).await {
            // It runs: the code does not tell.
            Err(RuntimeError::Failed { .. }) => {}
            done => return done,
        }
        self.kill(id).await?;
        match tokio::time::timeout(DEATH, self.wait(id)).await {
            Ok(Err(error @ RuntimeError::Unavailable { .. })) => return Err(error),
            Ok(_) => {}
            Err(_) => tracing::warn!(container = id.container, exec = id.exec, "did not end within {} s of SIGKILL", DEATH.as_secs()),
        }
        self.remove(id).await
    }

    /// Leaves a process that cannot be removed now to [`Self::collect`].
    pub fn leave(&self, id: &ExecId) {
        self.leftovers.add(id.clone(), &self.dir(id));
    }

    /// Ends what earlier runs of the agent were executing, and what was left: nobody listens to it any more. How many there were.
    ///
    /// # Errors
    /// The first failure; the others were tried all the same.
    pub async fn collect(&self) -> Result<usize, RuntimeError> {
        let (mut count, mut outcome) = (0, Ok(()));
        for id in self.leftovers.ids() {
            let ended = self.end(&id).await;
            if ended.is_ok() {
                count += 1;
                self.leftovers.forget(&id);
            }
            outcome = outcome.and(ended);
        }
        outcome.map(|()| count)
    }

    fn dir(&self, id: &ExecId) -> PathBuf {
        exec_fifos::dir(&self.run_dir, id)
    }
}

/// It has ended, or its container or shim has: nothing is left to do. containerd gives some of these no code.
fn is_gone(status: &Status) -> bool {
    let message = status.message();
    status.code() == Code::NotFound || is_shim_gone(status) || message.contains("not found") || message.contains("already finished")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_comes_twice() {
        let names = ExecNames::new();
        assert_ne!(names.next(), names.next());
    }
}
