//! One command in a running container, to its end: for probes and lifecycle hooks. Not interactive; the output's beginning is kept.
//!
//! ```text
//! FIFOs ─▶ Containers.Get (the process to copy) ─▶ Tasks.Exec ─▶ Tasks.Start ─▶ Tasks.Wait ─▶ Tasks.DeleteProcess
//!                                     timeout, or nobody waits any more: Tasks.Kill ─┘
//! ```
//!
//! Guarantees: what is written is drained to its end, so a talkative command is not blocked; FIFOs and the exec are gone afterwards; a
//! containerd that does not answer ends it in bounded time.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use containerd_client::services::v1::{
    DeleteProcessRequest, ExecProcessRequest, GetContainerRequest, KillRequest, StartRequest, WaitRequest,
};
use nix::sys::stat::Mode;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::sync::oneshot;
use tonic::Status;

use super::connection::{Connection, QUICK, SLOW, answer};
use super::errors::Subject;
use super::exec::hold;
use crate::clock::{Clock as _, SystemClock};
use crate::runtime::{EXEC_OUTPUT_LIMIT, ExecOnce, ExecOutput, RuntimeError};

/// The type under which containerd hands a process to the shim.
const PROCESS_TYPE_URL: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const SIGKILL: u32 = 9;
/// How long a killed command may take to be gone.
const DEATH: Duration = Duration::from_secs(10);
/// How long its output may lag behind its end.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs commands. Cheap to clone.
#[derive(Clone)]
pub(super) struct Execs {
    connection: Arc<Connection>,
    /// Holds a directory of FIFOs for each command under way.
    root: PathBuf,
    /// Distinguishes this agent's commands from an earlier one's.
    prefix: String,
    next: Arc<AtomicU64>,
    /// An earlier agent's pipes: a shim that is about to open one would wait for a reader for ever, and its whole pod with it.
    _leftovers: Arc<Vec<File>>,
}

impl Execs {
    /// What an earlier agent left of its FIFOs is held open and removed.
    pub(super) fn new(connection: Arc<Connection>, run_dir: &Path) -> Execs {
        let root = run_dir.join("exec-once");
        let leftovers = leftovers(&root);
        // On tmpfs and small; what cannot be removed is gone with the boot.
        let _ = std::fs::remove_dir_all(&root);
        let prefix = format!("once-{:x}", SystemClock.now().as_nanosecond());
        Execs { connection, root, prefix, next: Arc::default(), _leftovers: Arc::new(leftovers) }
    }

    /// Runs it in a task of its own, which ends it properly even if the caller is gone.
    pub(super) async fn run(&self, id: &str, exec: &ExecOnce) -> Result<ExecOutput, RuntimeError> {
        let (still_wanted, abandoned) = oneshot::channel::<()>();
        let (execs, container, exec) = (self.clone(), id.to_owned(), exec.clone());
        let task = tokio::spawn(async move { execs.run_to_end(&container, &exec, abandoned).await });
        let ended = task.await;
        drop(still_wanted);
        ended.unwrap_or_else(|e| Err(Subject::new(&self.connection, "exec in", id).failed(e.to_string())))
    }

    async fn run_to_end(&self, id: &str, exec: &ExecOnce, abandoned: oneshot::Receiver<()>) -> Result<ExecOutput, RuntimeError> {
        let subject = Subject::new(&self.connection, "exec in", id);
        let process = Process { execs: self, id, exec_id: format!("{}-{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed)) };
        let fifos = Fifos::make(self.root.join(&process.exec_id)).map_err(|e| subject.failed(format!("no pipe for its output: {e}")))?;
        let spec = process.spec(&exec.command).await.map_err(|e| e.into_error(&subject))?;
        process.create(&fifos, spec).await.map_err(|status| subject.error(status))?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let Fifos { dir, stdout: (mut read_out, write_out), stderr: (mut read_err, write_err) } = fifos;
        let (ending, ended) = oneshot::channel::<()>();
        let life = async {
            let code = process.live(exec.timeout, abandoned).await;
            process.delete().await;
            // Our own write ends: with the shim's gone too, the readers come to an end.
            drop((write_out, write_err, ending));
            code
        };
        let drain = async {
            let pumps = async { tokio::join!(pump(&mut read_out, &mut out), pump(&mut read_err, &mut err)) };
            let too_long = async {
                let _ = ended.await;
                tokio::time::sleep(DRAIN).await;
            };
            // Nothing is lost by dropping the other: both are over.
            tokio::select! {
                _ = pumps => {}
                () = too_long => {}
            }
        };
        let (code, ()) = tokio::join!(life, drain);
        drop(dir);
        let code = code.map_err(|status| subject.error(status))?;
        out.append(&mut err);
        out.truncate(EXEC_OUTPUT_LIMIT);
        Ok(ExecOutput { code, output: out })
    }
}

fn leftovers(root: &Path) -> Vec<File> {
    let dirs = std::fs::read_dir(root).into_iter().flatten().flatten();
    let pipes = dirs.flat_map(|dir| ["stdout", "stderr"].map(|name| dir.path().join(name)));
    pipes.filter_map(|pipe| hold(&pipe).ok()).collect()
}

/// One command in one container.
struct Process<'a> {
    execs: &'a Execs,
    id: &'a str,
    exec_id: String,
}

/// Why there is no process to copy.
enum NoSpec {
    Status(Status),
    Unreadable(String),
}

impl NoSpec {
    fn into_error(self, subject: &Subject<'_>) -> RuntimeError {
        match self {
            NoSpec::Status(status) => subject.error(status),
            NoSpec::Unreadable(why) => subject.failed(why),
        }
    }
}

impl Process<'_> {
    /// The container's own process with other arguments and without a terminal.
    async fn spec(&self, command: &[String]) -> Result<Vec<u8>, NoSpec> {
        let connection = &self.execs.connection;
        let request = connection.request(GetContainerRequest { id: self.id.to_owned() });
        let record = answer(QUICK, connection.containers().get(request)).await.map_err(NoSpec::Status)?;
        let spec = record.container.and_then(|c| c.spec).unwrap_or_default();
        process_of(&spec.value, command).map_err(NoSpec::Unreadable)
    }

    async fn create(&self, fifos: &Fifos, spec: Vec<u8>) -> Result<(), Status> {
        let request = ExecProcessRequest {
            container_id: self.id.to_owned(),
            exec_id: self.exec_id.clone(),
            stdout: fifos.dir.0.join("stdout").display().to_string(),
            stderr: fifos.dir.0.join("stderr").display().to_string(),
            spec: Some(prost_types::Any { type_url: PROCESS_TYPE_URL.to_owned(), value: spec }),
            ..Default::default()
        };
        let connection = &self.execs.connection;
        answer(SLOW, connection.tasks().exec(connection.request(request))).await.map(drop)
    }

    /// Starts it and waits for its end; `None`: it was killed for taking too long, or because nobody waits for it any more.
    async fn live(&self, timeout: Option<Duration>, abandoned: oneshot::Receiver<()>) -> Result<Option<u32>, Status> {
        let connection = &self.execs.connection;
        let start = connection.request(StartRequest { container_id: self.id.to_owned(), exec_id: self.exec_id.clone() });
        answer(SLOW, connection.tasks().start(start)).await?;
        let too_long = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        // Cancel-safe: a wait may be asked for again.
        tokio::select! {
            code = self.wait() => return code.map(Some),
            () = too_long => {}
            _ = abandoned => {}
        }
        let kill = KillRequest { container_id: self.id.to_owned(), exec_id: self.exec_id.clone(), signal: SIGKILL, all: false };
        let killed = answer(SLOW, connection.tasks().kill(connection.request(kill))).await;
        if let Err(error) = killed {
            tracing::debug!(container = self.id, %error, "a command that took too long was not killed: it may have ended");
        }
        let _ = tokio::time::timeout(DEATH, self.wait()).await;
        Ok(None)
    }

    async fn wait(&self) -> Result<u32, Status> {
        let connection = &self.execs.connection;
        let request = connection.request(WaitRequest { container_id: self.id.to_owned(), exec_id: self.exec_id.clone() });
        connection.tasks().wait(request).await.map(|reply| reply.into_inner().exit_status)
    }

    /// Best effort: what stays goes with the container's task.
    async fn delete(&self) {
        let connection = &self.execs.connection;
        let request = DeleteProcessRequest { container_id: self.id.to_owned(), exec_id: self.exec_id.clone() };
        if let Err(error) = answer(SLOW, connection.tasks().delete_process(connection.request(request))).await {
            tracing::debug!(container = self.id, %error, "what is left of a command stays until its container ends");
        }
    }
}

/// `process` of a spec, to run `command`.
fn process_of(spec: &[u8], command: &[String]) -> Result<Vec<u8>, String> {
    let mut spec: serde_json::Value = serde_json::from_slice(spec).map_err(|e| format!("its spec cannot be read: {e}"))?;
    let process = spec.get_mut("process").ok_or("its spec has no process")?;
    process["args"] = command.iter().cloned().map(serde_json::Value::String).collect();
    process["terminal"] = false.into();
    serde_json::to_vec(process).map_err(|e| e.to_string())
}

/// Keeps the beginning, reads to the end.
async fn pump(from: &mut Receiver, into: &mut Vec<u8>) {
    let mut chunk = [0u8; 4096];
    while let Ok(n @ 1..) = from.read(&mut chunk).await {
        let room = EXEC_OUTPUT_LIMIT.saturating_sub(into.len()).min(n);
        into.extend_from_slice(&chunk[..room]);
    }
}

/// Both outputs: where we read, and a write end of ours, without which the end would come before the beginning.
struct Fifos {
    dir: Scratch,
    stdout: (Receiver, File),
    stderr: (Receiver, File),
}

impl Fifos {
    fn make(dir: PathBuf) -> std::io::Result<Fifos> {
        std::fs::create_dir_all(&dir)?;
        let dir = Scratch(dir);
        let (stdout, stderr) = (fifo(&dir.0.join("stdout"))?, fifo(&dir.0.join("stderr"))?);
        Ok(Fifos { dir, stdout, stderr })
    }
}

fn fifo(path: &Path) -> std::io::Result<(Receiver, File)> {
    nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let reader = OpenOptions::new().open_receiver(path)?;
    let writer = File::options().write(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    Ok((reader, writer))
}

/// A directory that goes when it is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_the_containers_with_other_arguments_and_no_terminal() {
        let spec =
            br#"{"process": {"terminal": true, "user": {"uid": 7}, "args": ["sh"], "env": ["A=b"], "cwd": "/w", "noNewPrivileges": true}}"#;
        let process: serde_json::Value = serde_json::from_slice(&process_of(spec, &["cat".into(), "/x".into()]).unwrap()).unwrap();
        let want = serde_json::json!({"terminal": false, "user": {"uid": 7}, "args": ["cat", "/x"], "env": ["A=b"], "cwd": "/w", "noNewPrivileges": true});
        assert_eq!(process, want);
        assert!(process_of(b"{}", &[]).is_err());
    }

    #[tokio::test]
    async fn the_beginning_of_an_output_is_kept_and_all_of_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let Fifos { dir, stdout: (mut reader, writer), stderr } = Fifos::make(dir.path().join("x")).unwrap();
        drop(stderr);
        let path = dir.0.join("stdout");
        let write = tokio::task::spawn_blocking(move || {
            let mut shim = File::options().write(true).open(path).unwrap();
            std::io::Write::write_all(&mut shim, &[b'x'; 200_000]).unwrap();
            drop(writer);
        });
        let mut kept = Vec::new();
        pump(&mut reader, &mut kept).await;
        write.await.unwrap();
        assert_eq!(kept.len(), EXEC_OUTPUT_LIMIT);
        let place = dir.0.clone();
        drop(dir);
        assert!(!place.exists());
    }
}
