//! PortForward: one TCP connection from the pod's network namespace to the client.

use std::sync::Arc;

use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::pump::pump;
use super::{Answers, Live, MESSAGES, Out, first, target};
use crate::grpc::ApiState;
use crate::grpc::pb::port_forward_request::Message as Asked;
use crate::grpc::pb::{PortForwardRequest, PortForwardResponse, PortForwardStart};
use crate::network::dial;
use crate::pod::phase;

/// Connects to the port; the answers are what it says.
pub(super) async fn forward(
    state: &ApiState,
    live: Arc<Live>,
    peer: String,
    mut input: Streaming<PortForwardRequest>,
) -> Result<Answers<PortForwardResponse>, Status> {
    let Some(Asked::Start(PortForwardStart { namespace, pod, port })) = first(&mut input).await?.message else {
        return Err(Status::invalid_argument("the first message must be `start`"));
    };
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| Status::invalid_argument("a port is a number from 1 to 65535"))?;
    let found = target::pod(state.store.as_ref(), &namespace, &pod)?;
    let phase = phase::of(&found).unwrap_or_default();
    if phase != "Running" {
        return Err(Status::failed_precondition(format!("unable to forward port because pod is not running. Current status={phase}")));
    }
    let place = live.place()?;
    tracing::info!(peer_uid = peer, namespace, pod, port, "port-forward");
    let own = found.spec.as_ref().is_none_or(|spec| spec.host_network != Some(true));
    let connection = connect(&live, own.then(|| found.metadata.uid.unwrap_or_default()), port).await;
    let connection = connection.map_err(|cause| {
        Status::unavailable(format!(
            "error forwarding port {port} to pod {pod}: failed to connect to localhost:{port} inside its network namespace: {cause}"
        ))
    })?;
    let (out, answers) = mpsc::channel(MESSAGES);
    tokio::spawn(session(live, connection, input, out, place));
    Ok(ReceiverStream::new(answers))
}

/// `uid`: of a pod with a network namespace of its own.
async fn connect(live: &Live, uid: Option<String>, port: u16) -> std::io::Result<TcpStream> {
    let namespace = match uid {
        None => None,
        Some(uid) => match live.network.network_namespace(&uid).map_err(std::io::Error::other)? {
            Some(path) => Some(path),
            None => return Err(std::io::Error::other("it has no network namespace any more")),
        },
    };
    let connection = tokio::task::spawn_blocking(move || dial(namespace, port)).await.map_err(std::io::Error::other)??;
    connection.set_nonblocking(true)?;
    TcpStream::from_std(connection)
}

async fn session(
    live: Arc<Live>,
    connection: TcpStream,
    input: Streaming<PortForwardRequest>,
    out: Out<PortForwardResponse>,
    _place: OwnedSemaphorePermit,
) {
    let (read, write) = connection.into_split();
    if out.send(Ok(PortForwardResponse { data: Vec::new() })).await.is_err() {
        return;
    }
    let (_tell, never) = watch::channel(false);
    let answering = pump(read, out.clone(), |data| PortForwardResponse { data }, never);
    tokio::pin!(answering);
    let feeding = feed(write, input);
    tokio::pin!(feeding);
    let mut half = None;
    loop {
        // All are polled by reference; whatever ends the session closes the connection.
        tokio::select! {
            () = &mut answering => return,
            write = &mut feeding, if half.is_none() => half = Some(write),
            () = out.closed() => return,
            () = live.stopped() => return,
        }
    }
}

/// Passes bytes on; at the client's half-close the pod's side is told. The half is returned, since dropping it would close that side.
async fn feed(mut write: OwnedWriteHalf, mut input: Streaming<PortForwardRequest>) -> OwnedWriteHalf {
    while let Some(Ok(message)) = input.next().await {
        if let Some(Asked::Data(bytes)) = message.message
            && write.write_all(&bytes).await.is_err()
        {
            return write;
        }
    }
    // It may have closed already.
    let _ = write.shutdown().await;
    write
}
