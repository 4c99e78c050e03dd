//! Attach: a running container's output from now on, and its terminal's input where its spec has one.
//!
//! The output is read from the container's log, since the logger has the only other end of it: whole lines, both streams as one, nothing
//! from before. The input is the pipe that a container with `stdin: true` and `tty: true` was made with; it stays open after the client.

use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::exec::{size, start};
use super::target::{self, Target};
use super::{Answers, Live, MESSAGES, Out, first};
use crate::api::{Key, Kind};
use crate::grpc::ApiState;
use crate::grpc::logs::{LogPart, LogStream, ended};
use crate::grpc::pb::exec_request::Message as Asked;
use crate::grpc::pb::exec_response::Message as Said;
use crate::grpc::pb::{ExecRequest, ExecResponse};
use crate::logs::container_log_path;

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
    if start.stdin && target.container.stdin != Some(true) {
        let name = &target.container.name;
        return Err(Status::failed_precondition(format!("container {name} has no stdin: its spec needs `stdin: true`; attach without -i")));
    }
    let place = live.place()?;
    tracing::info!(
        peer_uid = peer,
        namespace = start.namespace,
        pod = start.pod,
        container = target.container.name,
        stdin = start.stdin,
        "attach"
    );
    let log = log(state, &target).await?;
    let (out, answers) = mpsc::channel(MESSAGES);
    tokio::spawn(session(live, target, log, input, out, place));
    Ok(ReceiverStream::new(answers))
}

async fn log(state: &ApiState, target: &Target) -> Result<LogStream, Status> {
    let meta = &target.pod.metadata;
    let key = Key::new(Kind::Pod, meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let name = &target.container.name;
    let part = LogPart {
        path: container_log_path(&state.paths.pod_logs, &target.pod, name, target.attempt),
        ended: Some(ended(state.store.clone(), key, name.clone(), i32::try_from(target.attempt).unwrap_or_default())),
        tail: Some(0),
        since: None,
        timestamps: false,
        limit_bytes: None,
    };
    state.logs.read(part).await.map_err(|cause| Status::not_found(format!("the output of container {name} cannot be read: {cause}")))
}

async fn session(
    live: Arc<Live>,
    target: Target,
    mut log: LogStream,
    input: Streaming<ExecRequest>,
    out: Out<ExecResponse>,
    _place: OwnedSemaphorePermit,
) {
    let feeding = feed(&live, &target, input);
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

/// Passes sizes on until the client has no more of them.
async fn feed(live: &Live, target: &Target, mut input: Streaming<ExecRequest>) {
    while let Some(Ok(message)) = input.next().await {
        if let Some(Asked::Resize(new)) = message.message
            && let Some(new) = size(&new)
            && target.container.tty == Some(true)
            && let Err(error) = live.containerd.resize_container(&target.id, new).await
        {
            tracing::debug!(%error, "a terminal keeps its size");
        }
    }
}
