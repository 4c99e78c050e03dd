//! `minik8s version`.

use super::client::{Client, ClientArgs};
use super::error::CliError;
use super::output::put;

/// Show the versions of this command, of the agent and of containerd.
#[derive(Clone, Debug, clap::Args)]
pub struct VersionArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Only this command's version; no agent is asked.
    #[arg(long = "client", alias = "client-only")]
    client_only: bool,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &VersionArgs) -> Result<u8, CliError> {
    put(format!("Client Version: v{}\n", env!("CARGO_PKG_VERSION")))?;
    if args.client_only {
        return Ok(0);
    }
    let info = Client::connect(&args.client).await?.info().await?;
    let containerd = if info.containerd_version.is_empty() { "not reachable" } else { &info.containerd_version };
    put(format!(
        "Agent Version: v{}\nContainerd Version: {containerd}\nNode: {} (since {})\n",
        info.version, info.node_name, info.started_at
    ))?;
    Ok(0)
}
