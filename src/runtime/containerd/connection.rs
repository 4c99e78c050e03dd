//! The line to containerd: one lazy channel that reconnects by itself, the namespace on every request, a limit on every answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::events_client::EventsClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::introspection_client::IntrospectionClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::namespaces_client::NamespacesClient;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::version_client::VersionClient;
use containerd_client::services::v1::{CreateNamespaceRequest, Namespace};
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::runtime::RuntimeError;

/// For what containerd answers from its database.
pub(crate) const QUICK: Duration = Duration::from_secs(10);
/// For what starts or stops processes; as the kubelet's runtimeRequestTimeout.
pub(crate) const SLOW: Duration = Duration::from_secs(120);
/// For unpacking one layer.
pub(crate) const UNPACK: Duration = Duration::from_secs(15 * 60);

/// Go's server sends up to 16 MiB; records with large specs come in one message each.
const MAX_MESSAGE: usize = 16 << 20;

/// One connection, shared by everything that talks to containerd.
pub(crate) struct Connection {
    socket: PathBuf,
    namespace: MetadataValue<Ascii>,
    namespace_name: String,
    channel: Channel,
}

macro_rules! clients {
    ($($name:ident: $client:ident),* $(,)?) => {
        $(pub(crate) fn $name(&self) -> $client<Channel> {
            $client::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
        })*
    };
}

impl Connection {
    clients! {
        containers: ContainersClient, content: ContentClient, diff: DiffClient, events: EventsClient, images: ImagesClient,
        introspection: IntrospectionClient, leases: LeasesClient, namespaces: NamespacesClient, snapshots: SnapshotsClient, tasks: TasksClient,
    }

    /// Nothing is sent yet; each call connects when it must.
    pub(crate) fn new(socket: &Path, namespace: &str) -> Result<Self, RuntimeError> {
        let refused = |cause: String| RuntimeError::Failed { action: "use the containerd namespace for", id: namespace.to_owned(), cause };
        let header = namespace.parse::<MetadataValue<Ascii>>().map_err(|_| refused("not a valid name".into()))?;
        if namespace.is_empty() {
            return Err(refused("the name is empty".into()));
        }
        let endpoint = Endpoint::try_from("http://containerd.invalid").map_err(|e| refused(e.to_string()))?;
        let path = socket.to_path_buf();
        let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        }));
        Ok(Self { socket: socket.to_path_buf(), namespace: header, namespace_name: namespace.to_owned(), channel })
    }

    pub(crate) fn socket(&self) -> String {
        self.socket.display().to_string()
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace_name
    }

    /// A request in our namespace.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("containerd-namespace", self.namespace.clone());
        request
    }

    /// A request whose new content and snapshots are held by a lease, safe from containerd's garbage collector.
    pub(crate) fn leased<T>(&self, message: T, lease: &MetadataValue<Ascii>) -> Request<T> {
        let mut request = self.request(message);
        request.metadata_mut().insert("containerd-lease", lease.clone());
        request
    }

    pub(crate) async fn version(&self) -> Result<String, Status> {
        let mut client = VersionClient::new(self.channel.clone());
        answer(QUICK, client.version(Request::new(()))).await.map(|reply| reply.version)
    }

    /// Creates our namespace unless it is there.
    pub(crate) async fn ensure_namespace(&self) -> Result<(), Status> {
        let namespace = Namespace { name: self.namespace_name.clone(), labels: Default::default() };
        let request = self.request(CreateNamespaceRequest { namespace: Some(namespace) });
        accept(answer(QUICK, self.namespaces().create(request)).await.map(drop), Code::AlreadyExists)
    }
}

/// The answer to one call, or `DeadlineExceeded`.
pub(crate) async fn answer<T>(limit: Duration, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("no answer within {} s", limit.as_secs()))),
    }
}

/// All that a stream has, or `DeadlineExceeded`: the limit is for its end, not for its beginning only.
pub(crate) async fn whole<S, T>(limit: Duration, call: impl Future<Output = Result<Response<S>, Status>>) -> Result<Vec<T>, Status>
where
    S: Stream<Item = Result<T, Status>>,
{
    let to_its_end = async { call.await?.into_inner().collect::<Result<Vec<T>, Status>>().await.map(Response::new) };
    answer(limit, to_its_end).await
}

/// Takes one status code for success: what was wanted is so already.
pub(crate) fn accept(result: Result<(), Status>, code: Code) -> Result<(), Status> {
    match result {
        Err(status) if status.code() == code => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_stalls_after_its_beginning_is_given_up() {
        let pages = || tokio_stream::iter([Ok(1), Ok(2)]);
        assert_eq!(whole(SLOW, ready(Ok(Response::new(pages())))).await.unwrap(), [1, 2]);
        let stalled = pages().chain(tokio_stream::pending());
        assert_eq!(whole(SLOW, ready(Ok(Response::new(stalled)))).await.unwrap_err().code(), Code::DeadlineExceeded);
        let broken = pages().chain(tokio_stream::once(Err(Status::unavailable("gone"))));
        assert_eq!(whole(SLOW, ready(Ok(Response::new(broken)))).await.unwrap_err().code(), Code::Unavailable);
    }
}
