//! The service `Streams` (`proto/streams.proto`): exec, attach, port-forward and usage. Each call in one line, the work in the file
//! named after it.
//!
//! Guarantees: sessions are bounded in number ([`SESSIONS`]) and in memory (a few chunks each way); a session ends with its client, with
//! what it is connected to, or with the agent; each is logged with who began it and where, never with a command's arguments.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::ApiState;
use super::pb::streams_server::Streams;
use super::pb::{ExecRequest, ExecResponse, PortForwardRequest, PortForwardResponse, UsageRequest, UsageResponse};
use super::socket::Peer;
use crate::host::PodCgroups;
use crate::host::usage::UsageReader;
use crate::network::CniNetwork;
use crate::runtime::Containerd;

mod attach;
mod exec;
mod forward;
mod pump;
mod target;
mod usage;

/// Sessions at once; a further one is refused with RESOURCE_EXHAUSTED.
const SESSIONS: u32 = 128;
/// Messages that wait for a slow client.
const MESSAGES: usize = 4;
/// Bytes moved at a time.
const CHUNK: usize = 32 << 10;
/// A client that has opened a session says within this which.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// How long sessions may take to end when the agent does.
const END: Duration = Duration::from_secs(5);

/// What sessions reach running pods through.
pub struct Live {
    containerd: Arc<Containerd>,
    network: Arc<CniNetwork>,
    cgroups: Arc<dyn PodCgroups>,
    usage: UsageReader,
    places: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl Live {
    /// No session yet.
    pub fn new(containerd: Arc<Containerd>, network: Arc<CniNetwork>, cgroups: Arc<dyn PodCgroups>, usage: UsageReader) -> Live {
        let places = Arc::new(Semaphore::new(SESSIONS as usize));
        Live { containerd, network, cgroups, usage, places, stopping: watch::channel(false).0 }
    }

    /// Ends every session: executed processes are killed. Waits a little for that; what still runs is collected at the next start.
    pub async fn end(&self) {
        self.stopping.send_replace(true);
        let all = self.places.acquire_many(SESSIONS);
        if tokio::time::timeout(END, all).await.is_err() {
            tracing::warn!("some exec sessions did not end within {} s; the next start ends them", END.as_secs());
        }
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let refused = |_| Status::resource_exhausted(format!("{SESSIONS} sessions are open already; end one and try again"));
        self.places.clone().try_acquire_owned().map_err(refused)
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Resolves when the agent ends. Cancel-safe.
    async fn stopped(&self) {
        // The sender lives as long as we do.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }
}

/// The service.
pub(super) struct StreamsService(pub(super) ApiState);

impl StreamsService {
    fn live(&self) -> Result<Arc<Live>, Status> {
        self.0.live.clone().ok_or_else(|| Status::unavailable("this agent has no container runtime"))
    }
}

/// Answers as a session gives them.
type Answers<T> = ReceiverStream<Result<T, Status>>;
/// Where a session puts its answers.
type Out<T> = mpsc::Sender<Result<T, Status>>;

#[tonic::async_trait]
impl Streams for StreamsService {
    type ExecStream = Answers<ExecResponse>;
    type AttachStream = Answers<ExecResponse>;
    type PortForwardStream = Answers<PortForwardResponse>;

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        let peer = peer(&request);
        exec::exec(&self.0, self.live()?, peer, request.into_inner()).await.map(Response::new)
    }

    async fn attach(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<Self::AttachStream>, Status> {
        let peer = peer(&request);
        attach::attach(&self.0, self.live()?, peer, request.into_inner()).await.map(Response::new)
    }

    async fn port_forward(&self, request: Request<Streaming<PortForwardRequest>>) -> Result<Response<Self::PortForwardStream>, Status> {
        let peer = peer(&request);
        forward::forward(&self.0, self.live()?, peer, request.into_inner()).await.map(Response::new)
    }

    async fn usage(&self, request: Request<UsageRequest>) -> Result<Response<UsageResponse>, Status> {
        let live = self.live()?;
        usage::usage(&self.0, &live, request.into_inner()).await.map(Response::new)
    }
}

/// The user at the other end of the socket, for the log.
fn peer<T>(request: &Request<T>) -> String {
    match request.extensions().get::<Peer>() {
        Some(Peer { uid: Some(uid), .. }) => uid.to_string(),
        _ => "unknown".to_owned(),
    }
}

/// The first message of a session, which says what it is about.
async fn first<T>(input: &mut (impl Stream<Item = Result<T, Status>> + Unpin)) -> Result<T, Status> {
    use futures::StreamExt as _;
    match tokio::time::timeout(FIRST_MESSAGE, input.next()).await {
        Ok(Some(message)) => message,
        Ok(None) | Err(_) => Err(Status::invalid_argument("the first message must be `start`")),
    }
}
