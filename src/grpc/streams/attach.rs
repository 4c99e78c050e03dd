//! Attach: a running container's output from now on, and its terminal's input where its spec has one.
//!
//! The output is read from the container's log, since the logger has the only other end of it: whole lines, both streams as one, nothing
//! from before. The input is the pipe that a container with `stdin: true` and `tty: true` was made with; it stays open after the client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Container;
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
    let stdin = if start.stdin { Some(stdin(&target, &log_path)?) } else { None };
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

/// The pipe to the container's terminal. Errors: it has none.
fn stdin(target: &Target, log: &Path) -> Result<pipe::Sender, Status> {
    let Container { name, stdin, tty, .. } = &target.container;
    if (*stdin, *tty) != (Some(true), Some(true)) {
        let message = format!("container {name} has no stdin: its spec needs `stdin: true` and `tty: true`; attach without -i");
        return Err(Status::failed_precondition(message));
    }
    let opened = pipe::OpenOptions::new().open_sender(logs::stdin_path(log));
    opened.map_err(|cause| Status::failed_precondition(format!("the stdin of container {name} cannot be opened: {cause}")))
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
    stdin: Option<pipe::Sender>,
    first_size: Option<TerminalSize>,
}

async fn session(
    live: Arc<Live>,
    Attached { target, stdin, first_size }: Attached,
    mut log: LogStream,
    input: Streaming<ExecRequest>,
    out: Out<ExecResponse>,
    _place: OwnedSemaphorePermit,
) {
    if let Some(first) = &first_size {
        resize(&live, &target, first).await;
    }
    let feeding = feed(&live, &target, stdin, input);
    tokio::pin!(feeding);
    let mut fed = false;
    loop {
        // A piece of the log is taken only when it is returned; the others are polled by reference or end the session.
        let piece = tokio::select! {
            piece = log.next() => piece,
            () = &mut feeding, if !fed => { fed = true; continue }
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

/// Passes input and sizes on until the client has no more of them. Its end is not passed on: the input stays open.
async fn feed(live: &Live, target: &Target, mut stdin: Option<pipe::Sender>, mut input: Streaming<ExecRequest>) {
    while let Some(Ok(message)) = input.next().await {
        match message.message {
            Some(Asked::Stdin(bytes)) => give(&mut stdin, &bytes).await,
            Some(Asked::Resize(new)) => resize(live, target, &new).await,
            _ => {}
        }
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
