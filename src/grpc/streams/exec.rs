//! Exec: a command in a container, connected to the client.
//!
//! ```text
//!   start ──▶ running ── exits ──▶ drain its output ──▶ answer the exit code ──▶ remove
//!     │          │ the client goes, or the agent ends
//!     ▼ fails    └──▶ kill ──▶ await ──▶ remove
//!   a status
//! ```
//!
//! The session is a task of its own: a client that goes away at any point cannot stop it half-way.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::pump::{give, pump};
use super::target::{self, Target};
use super::{Answers, Live, MESSAGES, Out, first};
use crate::grpc::ApiState;
use crate::grpc::pb::exec_request::Message as Asked;
use crate::grpc::pb::exec_response::Message as Said;
use crate::grpc::pb::{ExecRequest, ExecResponse, ExecStart, TerminalSize};
use crate::runtime::exec::{ExecConfig, ExecId, ExecProcess};
use crate::runtime::{Containerd, RuntimeError};

/// How often, and how long apart, the removal of an ended process is tried; a containerd that stays away longer leaves it to the next start.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of arguments, and their number, as the kernel takes them.
const MAX_COMMAND: usize = 1 << 20;

/// Starts the command; the answers come as it runs.
pub(super) async fn exec(
    state: &ApiState,
    live: Arc<Live>,
    peer: String,
    mut input: Streaming<ExecRequest>,
) -> Result<Answers<ExecResponse>, Status> {
    let start = start(first(&mut input).await?)?;
    check(&start.command)?;
    let pod = target::pod(state.store.as_ref(), &start.namespace, &start.pod)?;
    let target = target::running(pod, &start.container, "exec into")?;
    let place = live.place()?;
    // The program only: arguments may hold secrets.
    let program = start.command.first().map(String::as_str).unwrap_or_default();
    tracing::info!(
        peer_uid = peer,
        namespace = start.namespace,
        pod = start.pod,
        container = target.container.name,
        program,
        tty = start.tty,
        "exec"
    );
    let (out, answers) = mpsc::channel(MESSAGES);
    let (tell, started) = oneshot::channel();
    tokio::spawn(session(live, config(&target, start), input, out, tell, place));
    started.await.map_err(|_| Status::internal("the session ended unexpectedly"))??;
    Ok(ReceiverStream::new(answers))
}

/// The first message as it must be.
pub(super) fn start(message: ExecRequest) -> Result<ExecStart, Status> {
    match message.message {
        Some(Asked::Start(start)) => Ok(start),
        _ => Err(Status::invalid_argument("the first message must be `start`")),
    }
}

fn check(command: &[String]) -> Result<(), Status> {
    if command.first().is_none_or(String::is_empty) {
        return Err(Status::invalid_argument("you must specify at least one command for the container"));
    }
    if command.iter().any(|word| word.contains('\0')) {
        return Err(Status::invalid_argument("a word of the command holds a zero byte"));
    }
    match command.iter().map(|word| word.len() + 1).sum::<usize>() {
        size if size > MAX_COMMAND => Err(Status::invalid_argument(format!("the command is {size} bytes long; at most {MAX_COMMAND}"))),
        _ => Ok(()),
    }
}

fn config(target: &Target, start: ExecStart) -> ExecConfig {
    let size = start.size.as_ref().and_then(size);
    ExecConfig { container_id: target.id.clone(), command: start.command, stdin: start.stdin, tty: start.tty.then_some(size) }
}

/// A size that a terminal can have; others are none.
pub(super) fn size(size: &TerminalSize) -> Option<(u16, u16)> {
    let pair = (u16::try_from(size.width).ok()?, u16::try_from(size.height).ok()?);
    (pair.0 > 0 && pair.1 > 0).then_some(pair)
}

async fn session(
    live: Arc<Live>,
    config: ExecConfig,
    input: Streaming<ExecRequest>,
    out: Out<ExecResponse>,
    started: oneshot::Sender<Result<(), Status>>,
    _place: OwnedSemaphorePermit,
) {
    let process = match live.containerd.execs().stream(&config).await {
        Ok(process) => process,
        // That nobody waits any more for the answer is no loss.
        Err(error) => return drop(started.send(Err(refused(&error)))),
    };
    let _ = started.send(Ok(()));
    let id = process.id.clone();
    let exit = connect(&live, process, input, &out).await;
    if let Some(exit) = exit {
        let answer = exit.map(|code| ExecResponse { message: Some(Said::Exit(code)) });
        let _ = out.send(answer).await;
    }
    drop(out);
    clean_up(&live.containerd, &id).await;
}

/// In the words kubectl prints after `error: `.
fn refused(error: &RuntimeError) -> Status {
    match error {
        RuntimeError::Unavailable { .. } => Status::unavailable(error.to_string()),
        RuntimeError::NotFound { .. } => {
            Status::failed_precondition("unable to upgrade connection: the container has just ended".to_owned())
        }
        RuntimeError::Failed { cause, .. } => Status::internal(format!("error executing command in container: {cause}")),
        RuntimeError::Exists { .. } | RuntimeError::Images { .. } => Status::internal(error.to_string()),
    }
}

/// Moves bytes until the process has ended; `None` where nobody is to be told.
async fn connect(live: &Live, process: ExecProcess, input: Streaming<ExecRequest>, out: &Out<ExecResponse>) -> Option<Result<u32, Status>> {
    let ExecProcess { id, stdin, stdout, stderr } = process;
    let (tell_end, ended) = watch::channel(false);
    let mut pumps = JoinSet::new();
    pumps.spawn(pump(stdout, out.clone(), |bytes| ExecResponse { message: Some(Said::Stdout(bytes)) }, ended.clone()));
    if let Some(stderr) = stderr {
        pumps.spawn(pump(stderr, out.clone(), |bytes| ExecResponse { message: Some(Said::Stderr(bytes)) }, ended));
    }
    let feeding = feed(&live.containerd, &id, stdin, input);
    tokio::pin!(feeding);
    let waiting = live.containerd.execs().wait(&id);
    tokio::pin!(waiting);
    let mut fed = false;
    let exit = loop {
        // All are polled by reference and live on but for the last two, which end the session.
        tokio::select! {
            biased;
            exit = &mut waiting => break exit,
            () = &mut feeding, if !fed => fed = true,
            () = out.closed() => return None,
            () = live.stopped() => return Some(Err(Status::unavailable("the agent is stopping"))),
        }
    };
    tell_end.send_replace(true);
    // A client that goes away makes every pump end.
    while pumps.join_next().await.is_some() {}
    Some(exit.map(|exit| exit.code).map_err(|error| Status::unavailable(error.to_string())))
}

/// Passes input and sizes on until the client has no more of them.
async fn feed(containerd: &Containerd, id: &ExecId, mut stdin: Option<pipe::Sender>, mut input: Streaming<ExecRequest>) {
    while let Some(Ok(message)) = input.next().await {
        match message.message {
            Some(Asked::Stdin(bytes)) => give(&mut stdin, &bytes).await,
            Some(Asked::StdinClosed(true)) if stdin.is_some() => close(containerd, id, &mut stdin).await,
            Some(Asked::Resize(new)) => {
                if let Some(new) = size(&new)
                    && let Err(error) = containerd.execs().resize(id, new).await
                {
                    tracing::debug!(%error, "a terminal keeps its size");
                }
            }
            // Input for a process without one, or after its end; a second start.
            _ => {}
        }
    }
    if stdin.is_some() {
        close(containerd, id, &mut stdin).await;
    }
}

async fn close(containerd: &Containerd, id: &ExecId, stdin: &mut Option<pipe::Sender>) {
    *stdin = None;
    if let Err(error) = containerd.execs().close_stdin(id).await {
        tracing::debug!(%error, "the input's end cannot be told");
    }
}

async fn clean_up(containerd: &Containerd, id: &ExecId) {
    for _ in 0..TRIES {
        match containerd.execs().end(id).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(container = id.container, %error, "an executed process cannot be removed yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    containerd.execs().leave(id);
    tracing::warn!(container = id.container, exec = id.exec, "an executed process cannot be removed; to be tried again later");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_cannot_be_are_refused_with_the_reason() {
        let why = |words: &[&str]| check(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).map_err(|s| s.message().to_owned());
        assert_eq!(why(&["ls"]), Ok(()));
        for bad in [&[][..], &[""], &["a\0b"]] {
            assert!(why(bad).is_err(), "{bad:?}");
        }
        assert!(why(&["echo", &"x".repeat(MAX_COMMAND)]).is_err());
    }

    #[test]
    fn sizes_of_nothing_are_none() {
        let of = |width, height| size(&TerminalSize { width, height });
        assert_eq!(of(80, 24), Some((80, 24)));
        assert_eq!((of(0, 24), of(80, 70_000)), (None, None));
    }
}
