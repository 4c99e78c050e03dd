//! The connection to the agent, and the requests the commands share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use super::error::CliError;
use crate::api::{Kind, Object};
use crate::grpc::MAX_MESSAGE;
use crate::grpc::pb::agent_client::AgentClient;
use crate::grpc::pb::streams_client::StreamsClient;
use crate::grpc::pb::{InfoRequest, InfoResponse, Item, ListRequest};

/// Where the agent is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct ClientArgs {
    /// The agent's socket.
    #[arg(long, env = "MINIK8S_SOCKET", default_value = "/run/minik8s/minik8s.sock", value_name = "PATH")]
    pub socket: PathBuf,
}

/// Which objects a command is about.
#[derive(Clone, Debug, clap::Args)]
pub struct ScopeArgs {
    /// The namespace.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    pub namespace: String,
    /// All namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels: `app=web,tier in (a,b),!old`.
    #[arg(short = 'l', long, default_value = "", hide_default_value = true, value_name = "QUERY")]
    pub selector: String,
}

impl ScopeArgs {
    /// The request for objects of one kind; only those of `names`, if there are any.
    pub fn request(&self, kind: Kind, names: &[String]) -> ListRequest {
        ListRequest {
            kind: kind.as_str().to_owned(),
            namespace: self.namespace.clone(),
            all_namespaces: self.all_namespaces,
            label_selector: self.selector.clone(),
            names: names.to_vec(),
        }
    }
}

/// A connection to the agent.
pub struct Client {
    /// The generated client.
    pub agent: AgentClient<Channel>,
    /// The generated client of sessions.
    pub streams: StreamsClient<Channel>,
}

/// Objects, and the names of those that are not there.
pub struct Found {
    /// In order of namespace and name.
    pub objects: Vec<Object>,
    /// Names asked for in vain.
    pub missing: Vec<String>,
}

impl Client {
    /// Connects. Errors: nobody answers, or not to us.
    pub async fn connect(args: &ClientArgs) -> Result<Client, CliError> {
        let failure = Arc::new(Mutex::new(None));
        let (path, kept) = (args.socket.clone(), failure.clone());
        let connect = tower::service_fn(move |_| {
            let (path, kept) = (path.clone(), kept.clone());
            async move {
                let connected = UnixStream::connect(&path).await;
                // The transport's error hides the cause's kind.
                connected.map(TokioIo::new).map_err(|cause| {
                    let told = std::io::Error::new(cause.kind(), cause.to_string());
                    *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
                    told
                })
            }
        });
        match Endpoint::from_static("http://minik8s").connect_with_connector(connect).await {
            Ok(channel) => Ok(Client {
                streams: StreamsClient::new(channel.clone()),
                agent: AgentClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE),
            }),
            Err(error) => Err(match failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(cause) => CliError::unreachable(&args.socket, &cause),
                None => no_agent(&args.socket, &error),
            }),
        }
    }

    /// All objects the request means.
    pub async fn list(&mut self, request: ListRequest) -> Result<Found, CliError> {
        let mut stream = self.agent.list(request).await?.into_inner();
        let mut found = Found { objects: Vec::new(), missing: Vec::new() };
        while let Some(part) = stream.message().await? {
            for item in &part.items {
                found.objects.push(object(item)?);
            }
            found.missing.extend(part.missing);
        }
        Ok(found)
    }

    /// The agent itself, and what is wrong in its manifests directory.
    pub async fn info(&mut self) -> Result<InfoResponse, CliError> {
        Ok(self.agent.info(InfoRequest {}).await?.into_inner())
    }
}

fn no_agent(socket: &Path, error: &tonic::transport::Error) -> CliError {
    CliError::local(format!("what answers on {} is no minik8s agent: {error}", socket.display()))
}

/// An object as it came.
pub fn object(item: &Item) -> Result<Object, CliError> {
    let kind = Kind::parse(&item.kind)
        .ok_or_else(|| CliError::local(format!("the agent is newer than this command: unknown kind {}", item.kind)))?;
    Object::from_json(kind, &item.json)
        .map_err(|cause| CliError::local(format!("the agent sent a {} that cannot be read: {cause}", item.kind)))
}
