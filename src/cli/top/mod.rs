//! `minik8s top`, as kubectl's (`staging/src/k8s.io/kubectl/pkg/cmd/top`). Measured for about a second when asked, by the agent.

use super::client::{Client, ClientArgs, ScopeArgs};
use super::error::CliError;
use super::output::{complain, nothing_found, put};
use super::session;
use crate::api::quantity;
use crate::api::{Kind, Object};
use crate::grpc::pb::{UsageRequest, UsageResponse};

mod table;

use table::{Available, SortBy, View};

/// Show the CPU and memory in use by pods or the node.
#[derive(Clone, Debug, clap::Args)]
pub struct TopArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Pods, and their containers.
    #[command(visible_aliases = ["pods", "po"])]
    Pod(PodArgs),
    /// The node.
    #[command(visible_aliases = ["nodes", "no"])]
    Node(NodeArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct PodArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Each container.
    #[arg(long)]
    containers: bool,
    /// The sum of all, too.
    #[arg(long)]
    sum: bool,
    /// No header.
    #[arg(long)]
    no_headers: bool,
    /// The largest first.
    #[arg(long, value_name = "RESOURCE")]
    sort_by: Option<SortBy>,
    /// Only this pod.
    #[arg(value_name = "NAME", conflicts_with = "selector")]
    name: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
struct NodeArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// No header.
    #[arg(long)]
    no_headers: bool,
    /// Percentages of the capacity instead of what pods can have.
    #[arg(long)]
    show_capacity: bool,
    /// Accepted as kubectl's: there is one node.
    #[arg(long, value_name = "RESOURCE")]
    sort_by: Option<SortBy>,
    /// Only this node.
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &TopArgs) -> Result<u8, CliError> {
    match &args.what {
        What::Pod(args) => pods(args).await,
        What::Node(args) => node(args).await,
    }
}

async fn pods(args: &PodArgs) -> Result<u8, CliError> {
    let mut client = Client::connect(&args.client).await?;
    let request = UsageRequest {
        namespace: if args.scope.all_namespaces { String::new() } else { args.scope.namespace.clone() },
        pod: args.name.clone().unwrap_or_default(),
        label_selector: args.scope.selector.clone(),
        node: false,
    };
    let UsageResponse { pods, .. } = client.streams.usage(request).await.map_err(session::refused)?.into_inner();
    if pods.is_empty() {
        if let Some(name) = &args.name {
            return Err(CliError::Server {
                reason: "NotFound",
                message: format!("podmetrics.metrics.k8s.io \"{}/{name}\" not found", args.scope.namespace),
            });
        }
        complain(&nothing_found(&[Kind::Pod], &args.scope.namespace, args.scope.all_namespaces));
        return Ok(0);
    }
    let view = View {
        namespace: args.scope.all_namespaces,
        containers: args.containers,
        headerless: args.no_headers,
        sum: args.sum,
        sort_by: args.sort_by,
    };
    put(table::pods(pods, view))?;
    Ok(0)
}

async fn node(args: &NodeArgs) -> Result<u8, CliError> {
    let mut client = Client::connect(&args.client).await?;
    let scope = ScopeArgs { namespace: String::new(), all_namespaces: true, selector: String::new() };
    let nodes = client.list(scope.request(Kind::Node, args.name.as_slice())).await?.objects;
    let Some(Object::Node(node)) = nodes.first() else {
        let name = args.name.as_deref().unwrap_or_default();
        return Err(CliError::Server { reason: "NotFound", message: format!("nodes \"{name}\" not found") });
    };
    let status = node.status.clone().unwrap_or_default();
    let amounts = if args.show_capacity { status.capacity } else { status.allocatable }.unwrap_or_default();
    let amount = |name: &str| amounts.get(name).and_then(|q| quantity::parse(&q.0).ok()).map(|q| i128::from(q.milli_value()));
    let request = UsageRequest { node: true, ..Default::default() };
    let usage = client.streams.usage(request).await.map_err(session::refused)?.into_inner().node;
    let Some(usage) = usage else {
        return Err(CliError::local("metrics not available yet: the node's cgroups cannot be read"));
    };
    put(table::node(&usage, Available { cpu_millis: amount("cpu"), memory_millis: amount("memory") }, args.no_headers))?;
    Ok(0)
}
