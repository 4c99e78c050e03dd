//! The service: each call in one line, the work in the file named after it; and the server with its bounds.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::filter::{Filter, item};
use super::pb::agent_server::{Agent, AgentServer};
use super::pb::streams_server::StreamsServer;
use super::pb::{
    ApplyRequest, ApplyResponse, DESCRIPTORS, DeleteRequest, DeleteResponse, EditNodeRequest, EditNodeResponse, EvictRequest,
    EvictResponse, GetRequest, InfoRequest, InfoResponse, Item, ListRequest, ListResponse, LogsChunk, LogsRequest, PlanRequest,
    PlanResponse, RerunRequest, RerunResponse, RolloutRequest, RolloutResponse, TriggerRequest, TriggerResponse, WatchEvent, WatchRequest,
};
use super::status::{not_found, parse_kind};
use super::streams::StreamsService;
use super::{
    ApiState, MAX_MESSAGE, SocketError, applying, deleting, listing, logs, nodes, planning, rerunning, rollout, socket, triggering,
    watching,
};
use crate::api::Key;

/// Calls one client may have open at once.
const STREAMS_PER_CLIENT: u32 = 64;
/// Bytes in flight per stream and per connection: 128 slow clients must not cost the agent its memory.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// A message of a session, in bytes: what is moved at a time, with room to spare.
const MAX_STREAM_MESSAGE: usize = 2 << 20;
/// A client that does not answer for so long is gone.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Serves the API on `state.paths.socket` until `shutdown` is done, then removes the socket.
///
/// Errors: the socket cannot be had; serving itself does not fail.
pub async fn serve(state: ApiState, shutdown: impl Future<Output = ()> + Send) -> Result<(), SocketError> {
    let path = state.paths.socket.clone();
    let failed = |source: std::io::Error| SocketError::Io { path: path.display().to_string(), source };
    let incoming = ReceiverStream::new(socket::accept(socket::bind(&path)?, path.clone()));
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<AgentServer<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|cause| failed(std::io::Error::other(cause)))?;
    let streams = StreamsServer::new(StreamsService(state.clone())).max_decoding_message_size(MAX_STREAM_MESSAGE);
    let monitoring = crate::metrics::router(state.clone());
    let agent = AgentServer::new(Service(state)).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_PER_CLIENT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        // For /metrics, /healthz and /readyz beside the calls: curl --unix-socket. Answered to a client without a place, too: who watches the agent
        // must see that it is full.
        .accept_http1(true)
        .add_routes(Routes::from(monitoring))
        .add_service(InterceptedService::new(agent, socket::refuse_without_place))
        .add_service(InterceptedService::new(streams, socket::refuse_without_place))
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await;
    // Nobody answers there any more; a socket that stays would be taken for a dead agent's.
    let _ = std::fs::remove_file(&path);
    served.map_err(|cause| failed(std::io::Error::other(cause)))
}

struct Service(ApiState);

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Agent for Service {
    type ListStream = Streamed<ListResponse>;
    type WatchStream = ReceiverStream<Result<WatchEvent, Status>>;
    type LogsStream = Streamed<LogsChunk>;

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        Ok(Response::new(Box::pin(listing::list(self.0.store.as_ref(), request.into_inner())?)))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let filter = Filter::new(request.into_inner().what.unwrap_or_default())?;
        Ok(Response::new(ReceiverStream::new(watching::watch(&self.0.store, filter))))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Item>, Status> {
        let GetRequest { kind, namespace, name } = request.into_inner();
        let kind = parse_kind(&kind)?;
        let key = Key::new(kind, if kind.namespaced() { namespace } else { String::new() }, name);
        let object = self.0.store.get(&key).ok_or_else(|| not_found(kind, &key.name))?;
        Ok(Response::new(item(&object)))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        applying::apply(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        deleting::delete(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn rollout(&self, request: Request<RolloutRequest>) -> Result<Response<RolloutResponse>, Status> {
        rollout::rollout(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn trigger(&self, request: Request<TriggerRequest>) -> Result<Response<TriggerResponse>, Status> {
        triggering::trigger(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn rerun(&self, request: Request<RerunRequest>) -> Result<Response<RerunResponse>, Status> {
        rerunning::rerun(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        planning::plan(&self.0, request.into_inner()).map(Response::new)
    }

    async fn edit_node(&self, request: Request<EditNodeRequest>) -> Result<Response<EditNodeResponse>, Status> {
        nodes::edit(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn evict(&self, request: Request<EvictRequest>) -> Result<Response<EvictResponse>, Status> {
        nodes::evict(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        logs::logs(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let state = &self.0;
        Ok(Response::new(InfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_name: state.node_name.clone(),
            started_at: state.started_at.to_string(),
            containerd_version: state.containerd.borrow().version().to_owned(),
            manifests: state.paths.manifests.display().to_string(),
            faults: state.faults.borrow().iter().map(applying::fault).collect(),
        }))
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
