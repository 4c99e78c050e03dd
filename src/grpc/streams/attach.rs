//! Attach: a running container's output from now on, and its input where its spec has one.
//!
//! The output is read from the container's log, since the logger has the only other end of it: whole lines, both streams as one, nothing
//! from before. The input is the pipe that a container with `stdin: true` was made with. As with the CRI plugin (containerd
//! `internal/cri/io/container_io.go`, `Attach`): it stays open after the client, but with `stdinOnce: true` and without a terminal, where
//! it is closed as soon as the first client has no more of it, or goes. A session ends with its client's input unless that closed it. An
//! agent that ends, or is killed, closes no input.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Container;
use nix::errno::Errno;
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::exec::{size, start};
use super::pump::give;
use super::target::{self, Target};
use super::{Answers, Live, MESSAGES, Out, first};
use crate::api::{Key, Kind};
use crate::grpc::ApiState;
use crate::grpc::logs::{LogPart, LogStream, ended};
use crate::grpc::pb::exec_request::Message as Asked;
use crate::grpc::pb::exec_response::Message as Said;
use crate::grpc::pb::{ExecRequest, ExecResponse, TerminalSize};
use crate::logs::{self, container_log_path};

/// Connects to the container.
pub(super) async fn attach(
    state: &ApiState,
    live: Arc<Live>,
    peer: String,
    mut input: Streaming<ExecRequest>,
) -> Result<Answers<ExecResponse>, Status> {
    let start = start(first(&mut input).await?)?;
    let pod = target::pod(state.store.as_ref(), &start.namespace, &start.pod)?;
    let target = target::running(pod, &start.container, "attach")?;
    let log_path = container_log_path(&state.paths.pod_logs, &target.pod, &target.container.name, target.attempt);
    let stdin = if start.stdin { stdin(&target, log_path.clone())? } else { None };
    let place = live.place()?;
    tracing::info!(
        peer_uid = peer,
        namespace = start.namespace,
        pod = start.pod,
        container = target.container.name,
        stdin = start.stdin,
        "attach"
    );
    let log = log(state, &target, log_path).await?;
    let (out, answers) = mpsc::channel(MESSAGES);
    tokio::spawn(session(live, Attached { target, stdin, first_size: start.size }, log, input, out, place));
    Ok(ReceiverStream::new(answers))
}

/// The container's input, as a session has it.
struct Input {
    /// Our end; none once nobody reads it any more.
    pipe: Option<pipe::Sender>,
    path: PathBuf,
    /// Whether its end is the container's, too.
    once: bool,
}

/// The pipe to the container; none where it was closed before. Errors: it has none.
fn stdin(target: &Target, log: PathBuf) -> Result<Option<Input>, Status> {
    let Container { name, stdin, stdin_once, tty, .. } = &target.container;
    let (tty, once) = (*tty == Some(true), *stdin_once == Some(true) && *tty != Some(true));
    if *stdin != Some(true) {
        return Err(Status::failed_precondition(format!("container {name} has no stdin: its spec needs `stdin: true`; attach without -i")));
    }
    let path = logs::stdin_path(&log, tty);
    match pipe::OpenOptions::new().open_sender(&path) {
        Ok(pipe) => Ok(Some(Input { pipe: Some(pipe), path, once })),
        // The first client took it along.
        Err(cause) if once && cause.kind() == ErrorKind::NotFound => Ok(None),
        // Its programs have closed their end.
        Err(cause) if cause.raw_os_error() == Some(Errno::ENXIO as i32) => Ok(Some(Input { pipe: None, path, once })),
        Err(cause) => Err(Status::failed_precondition(format!("the stdin of container {name} cannot be opened: {cause}"))),
    }
}

async fn log(state: &ApiState, target: &Target, path: PathBuf) -> Result<LogStream, Status> {
    let meta = &target.pod.metadata;
    let key = Key::new(Kind::Pod, meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let name = &target.container.name;
    let part = LogPart {
        path,
        ended: Some(ended(state.store.clone(), key, name.clone(), i32::try_from(target.attempt).unwrap_or_default())),
        tail: Some(0),
        since: None,
        timestamps: false,
        limit_bytes: None,
    };
    state.logs.read(part).await.map_err(|cause| Status::not_found(format!("the output of container {name} cannot be read: {cause}")))
}

/// Who is attached to, and what the client brings.
struct Attached {
    target: Target,
    stdin: Option<Input>,
    first_size: Option<TerminalSize>,
}

async fn session(
    live: Arc<Live>,
    Attached { target, mut stdin, first_size }: Attached,
    log: LogStream,
    input: Streaming<ExecRequest>,
    out: Out<ExecResponse>,
    _place: OwnedSemaphorePermit,
) {
    if let Some(first) = &first_size {
        resize(&live, &target, first).await;
    }
    connect(&live, &target, &mut stdin, log, input, &out).await;
    drop(out);
    end_of_input(&live, &target, &mut stdin).await;
}

/// Moves bytes until the session is over.
async fn connect(
    live: &Live,
    target: &Target,
    stdin: &mut Option<Input>,
    mut log: LogStream,
    input: Streaming<ExecRequest>,
    out: &Out<ExecResponse>,
) {
    let feeding = feed(live, target, stdin, input);
    tokio::pin!(feeding);
    let mut fed = false;
    loop {
        // A piece of the log is taken only when it is returned; the others are polled by reference or end the session.
        let piece = tokio::select! {
            piece = log.next() => piece,
            goes_on = &mut feeding, if !fed => {
                fed = true;
                if goes_on { continue }
                return;
            }
            () = out.closed() => return,
            () = live.stopped() => return,
        };
        let answer = match piece {
            None => return,
            Some(Ok(bytes)) => Ok(ExecResponse { message: Some(Said::Stdout(bytes)) }),
            Some(Err(cause)) => Err(Status::internal(format!("the output cannot be read: {cause}"))),
        };
        if out.send(answer).await.is_err() {
            return;
        }
    }
}

/// Passes input and sizes on until the client has no more of them. Whether the session goes on after that.
async fn feed(live: &Live, target: &Target, stdin: &mut Option<Input>, mut input: Streaming<ExecRequest>) -> bool {
    while let Some(Ok(message)) = input.next().await {
        match message.message {
            Some(Asked::Stdin(bytes)) => {
                if let Some(input) = stdin {
                    give(&mut input.pipe, &bytes).await;
                }
            }
            Some(Asked::StdinClosed(true)) => match stdin {
                Some(Input { once: false, .. }) => return false,
                Some(_) => end_of_input(live, target, stdin).await,
                None => {}
            },
            Some(Asked::Resize(new)) => resize(live, target, &new).await,
            _ => {}
        }
    }
    true
}

/// Closes our end, and the container's where that belongs to it. Not when the agent ends: the next one may be attached to.
async fn end_of_input(live: &Live, target: &Target, stdin: &mut Option<Input>) {
    let Some(Input { pipe, path, once }) = stdin.take() else { return };
    drop(pipe);
    if !once || live.is_stopping() {
        return;
    }
    match live.containerd.execs().close_container_stdin(&target.id).await {
        Ok(()) => {
            // Nobody finds it any more. One that cannot be removed goes with the log.
            let _ = std::fs::remove_file(path);
        }
        Err(error) => tracing::debug!(%error, "the input's end cannot be told"),
    }
}

async fn resize(live: &Live, target: &Target, new: &TerminalSize) {
    if let Some(new) = size(new)
        && target.container.tty == Some(true)
        && let Err(error) = live.containerd.execs().resize_container(&target.id, new).await
    {
        tracing::debug!(%error, "a terminal keeps its size");
    }
}
