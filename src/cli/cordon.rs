//! `minik8s cordon` and `uncordon`, in kubectl's words (staging/src/k8s.io/kubectl/pkg/cmd/drain), and what edits of the node share.

use k8s_openapi::api::core::v1::Node;

use super::client::{Client, ClientArgs, object};
use super::dry_run::DryRun;
use super::error::CliError;
use super::output::put;
use crate::grpc::pb::{EditNodeRequest, EditNodeResponse, Item};

/// Mark the node as unschedulable, or as schedulable again. What runs goes on running.
#[derive(Clone, Debug, clap::Args)]
pub struct CordonArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The node; this one if not given.
    node: Option<String>,
    #[command(flatten)]
    dry_run: DryRun,
}

/// Runs `cordon` (`unschedulable`) or `uncordon`. Returns the exit code.
pub async fn run(args: &CordonArgs, unschedulable: bool) -> Result<u8, CliError> {
    let mut client = Client::connect(&args.client).await?;
    let name = node_name(&mut client, args.node.as_deref()).await?;
    cordon(&mut client, &name, unschedulable, args.dry_run).await?;
    Ok(0)
}

/// Cordons or uncordons, and says what that changed.
pub(super) async fn cordon(client: &mut Client, name: &str, unschedulable: bool, dry_run: DryRun) -> Result<(), CliError> {
    let request = EditNodeRequest {
        name: name.to_owned(),
        unschedulable: Some(unschedulable),
        dry_run: dry_run.is_on(),
        ..EditNodeRequest::default()
    };
    let (before, _) = edit(client, request).await?;
    let was = before.spec.and_then(|s| s.unschedulable) == Some(true);
    let already = if was == unschedulable { "already " } else { "" };
    let verb = if unschedulable { "cordoned" } else { "uncordoned" };
    put(format!("node/{name} {already}{verb}{}\n", dry_run.said()))
}

/// The node meant: this one where none is named (`node/` before the name is allowed).
pub(super) async fn node_name(client: &mut Client, given: Option<&str>) -> Result<String, CliError> {
    match given {
        Some(name) => Ok(["node/", "nodes/", "no/"].iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or(name).to_owned()),
        None => Ok(client.info().await?.node_name),
    }
}

/// Edits the node. Returns it as it was and as it is. Errors: what kubectl would have refused by itself is worded as its own error.
pub(super) async fn edit(client: &mut Client, request: EditNodeRequest) -> Result<(Node, Node), CliError> {
    let answer: EditNodeResponse = match client.agent.edit_node(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == tonic::Code::InvalidArgument => return Err(CliError::local(status.message())),
        Err(status) => return Err(status.into()),
    };
    Ok((node(answer.before)?, node(answer.after)?))
}

fn node(item: Option<Item>) -> Result<Node, CliError> {
    let found = item.as_ref().map(object).transpose()?;
    found.as_ref().and_then(|o| o.as_node()).cloned().ok_or_else(|| CliError::local("the agent sent something else than a Node"))
}
