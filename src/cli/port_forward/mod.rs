//! `minik8s port-forward`, as kubectl's (`staging/src/k8s.io/client-go/tools/portforward/portforward.go`): TCP only.
//!
//! Each connection is a call of its own; at most [`CONNECTIONS`] at once, further ones wait to be accepted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::client::{Client, ClientArgs};
use super::error::CliError;
use super::output::{complain, put};
use super::{pod_target, session};
use crate::grpc::pb::port_forward_request::Message as Asked;
use crate::grpc::pb::streams_client::StreamsClient;
use crate::grpc::pb::{PortForwardRequest, PortForwardStart};

mod spec;

use spec::{Address, Forward};

/// Connections at once: the agent takes as many calls from one client.
const CONNECTIONS: usize = 60;
/// Messages that wait for the agent.
const WAITING: usize = 4;
/// Bytes moved at a time.
const CHUNK: usize = 32 << 10;

/// Reach a pod's TCP ports from here, until interrupted.
#[derive(Clone, Debug, clap::Args)]
pub struct PortForwardArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The namespace.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// Addresses to listen on here: IP addresses or localhost, separated by commas.
    #[arg(long, default_value = "localhost", value_delimiter = ',', value_name = "ADDRESS")]
    address: Vec<String>,
    /// POD, or TYPE/NAME.
    #[arg(value_name = "POD|TYPE/NAME")]
    target: String,
    /// Which port here leads to which port (number or name) there; `:80` lets this host choose.
    #[arg(value_name = "[LOCAL:]REMOTE", required = true)]
    ports: Vec<String>,
}

/// Runs the command: never returns without an error.
pub async fn run(args: &PortForwardArgs) -> Result<u8, CliError> {
    let addresses = spec::addresses(&args.address).map_err(CliError::local)?;
    let mut client = Client::connect(&args.client).await?;
    let name = pod_target::pod_of(&mut client, &args.namespace, &args.target).await?.name;
    let pod = pod_target::pod(&mut client, &args.namespace, &name).await?;
    let forwards = spec::forwards(&args.ports, &pod).map_err(CliError::local)?;
    running(&pod)?;
    let (lost, mut told) = mpsc::channel(1);
    let to = Pointer {
        client: client.streams,
        namespace: args.namespace.clone(),
        pod: name,
        lost,
        places: Arc::new(Semaphore::new(CONNECTIONS)),
    };
    let mut listening = false;
    for forward in &forwards {
        match listen(forward, &addresses, &to).await {
            Ok(()) => listening = true,
            Err(error) => complain(&format!("Unable to listen on port {}: {error}", forward.local)),
        }
    }
    if !listening {
        let ports: Vec<String> = forwards.iter().map(|f| format!("{{{} {}}}", f.local, f.remote)).collect();
        return Err(CliError::local(format!("unable to listen on any of the requested ports: [{}]", ports.join(" "))));
    }
    told.recv().await;
    Err(CliError::local("lost connection to pod"))
}

fn running(pod: &Pod) -> Result<(), CliError> {
    match pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default() {
        "Running" => Ok(()),
        phase => Err(CliError::local(format!("unable to forward port because pod is not running. Current status={phase}"))),
    }
}

/// Where connections lead.
#[derive(Clone)]
struct Pointer {
    client: StreamsClient<tonic::transport::Channel>,
    namespace: String,
    pod: String,
    /// Told when the pod is no more.
    lost: mpsc::Sender<()>,
    places: Arc<Semaphore>,
}

/// Listens on every address. Errors: one that was named cannot be had, or neither of localhost's two.
async fn listen(forward: &Forward, addresses: &[Address], to: &Pointer) -> Result<(), String> {
    let (mut local, mut errors, mut heard) = (forward.local, Vec::new(), 0);
    for address in addresses {
        match listen_on(address.ip, local, forward.remote, to).await {
            Ok(port) => {
                // A port that was chosen for one address is the port for all.
                local = port;
                heard += 1;
            }
            Err(error) => errors.push((address.needed, format!("unable to create listener: Error {error}"))),
        }
    }
    if heard > 0 && !errors.iter().any(|(needed, _)| *needed) {
        return Ok(());
    }
    let errors: Vec<String> = errors.into_iter().map(|(_, error)| error).collect();
    Err(format!("Listeners failed to create with the following errors: [{}]", errors.join(" ")))
}

async fn listen_on(ip: IpAddr, local: u16, remote: u16, to: &Pointer) -> std::io::Result<u16> {
    let listener = TcpListener::bind(SocketAddr::new(ip, local)).await?;
    let address = listener.local_addr()?;
    put(format!("Forwarding from {address} -> {remote}\n")).map_err(std::io::Error::other)?;
    tokio::spawn(accept(listener, address.port(), remote, to.clone()));
    Ok(address.port())
}

async fn accept(listener: TcpListener, local: u16, remote: u16, to: Pointer) {
    while let Ok(place) = to.places.clone().acquire_owned().await {
        let Ok((connection, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let to = to.clone();
        tokio::spawn(async move {
            let _place = place;
            // That nobody reads what we say is no reason to stop.
            let _ = put(format!("Handling connection for {local}\n"));
            if let Err(status) = handle(connection, remote, &to).await {
                let gone =
                    matches!(status.code(), Code::NotFound | Code::FailedPrecondition) || std::error::Error::source(&status).is_some();
                complain(&format!("an error occurred forwarding {local} -> {remote}: {}", session::refused(status)));
                if gone {
                    let _ = to.lost.try_send(());
                }
            }
        });
    }
}

async fn handle(connection: TcpStream, remote: u16, to: &Pointer) -> Result<(), tonic::Status> {
    let start = PortForwardStart { namespace: to.namespace.clone(), pod: to.pod.clone(), port: remote.into() };
    let (ask, asked) = mpsc::channel(WAITING);
    // There is room for it.
    let _ = ask.send(PortForwardRequest { message: Some(Asked::Start(start)) }).await;
    let mut answers = to.client.clone().port_forward(ReceiverStream::new(asked)).await?.into_inner();
    let (mut read, mut write) = connection.into_split();
    let sending = tokio::spawn(async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(size) = read.read(&mut buffer).await {
            let data = PortForwardRequest { message: Some(Asked::Data(buffer[..size].to_vec())) };
            if size == 0 || ask.send(data).await.is_err() {
                return;
            }
        }
    });
    let outcome = loop {
        match answers.message().await {
            Ok(Some(answer)) if write.write_all(&answer.data).await.is_ok() => {}
            Ok(_) => break Ok(()),
            Err(status) => break Err(status),
        }
    };
    sending.abort();
    outcome
}
