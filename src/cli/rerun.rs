//! `minik8s rerun job/NAME`: a finished Job of a manifest once more, without an edit of its file.
//!
//! The wish is durable when the agent has answered; waiting only shows that it came true, so that a `wait` after it sees the new run.

use std::future::Future;
use std::time::Duration;

use super::client::{Client, ClientArgs, ScopeArgs, object};
use super::delete::limit;
use super::error::CliError;
use super::output::put;
use super::{kinds, targets};
use crate::api::Kind;
use crate::grpc::pb::{RerunRequest, WatchRequest};

/// Run a finished Job again: it is deleted with its pods and their logs, and made anew from its manifest, with a new uid.
#[derive(Clone, Debug, clap::Args)]
pub struct RerunArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The namespace.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// The Job, as job/NAME.
    #[arg(value_name = "job/NAME")]
    what: String,
    /// Also while it runs: its pods are stopped by their grace.
    #[arg(long)]
    force: bool,
    /// Wait until the new Job is there.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    wait: bool,
    /// The longest wait: 5s, 2m; 0s for no limit.
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    timeout: String,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &RerunArgs) -> Result<u8, CliError> {
    let (kind, name) = targets::one(&args.what)?;
    if kind != Kind::Job {
        return Err(CliError::local(format!("only jobs run again: {}", kinds::slashed(kind, &name))));
    }
    let limit = limit(&args.timeout)?;
    let mut client = Client::connect(&args.client).await?;
    let request = RerunRequest { namespace: args.namespace.clone(), name: name.clone(), force: args.force };
    let before = client.agent.rerun(request).await?.into_inner().uid;
    if args.wait {
        within(limit, made_again(&mut client, args, &name, &before), &name).await?;
    }
    put(format!("{} rerun\n", kinds::slashed(Kind::Job, &name)))?;
    Ok(0)
}

async fn within(limit: Option<Duration>, wait: impl Future<Output = Result<(), CliError>>, name: &str) -> Result<(), CliError> {
    let Some(limit) = limit else { return wait.await };
    let late = || CliError::local(format!("timed out waiting for the condition on jobs/{name}: it runs again when the run before is gone"));
    tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| Err(late()))
}

/// Until a Job of this name has another uid.
async fn made_again(client: &mut Client, args: &RerunArgs, name: &str, before: &str) -> Result<(), CliError> {
    let scope = ScopeArgs { namespace: args.namespace.clone(), all_namespaces: false, selector: String::new() };
    let what = Some(scope.request(Kind::Job, &[name.to_owned()]));
    let mut events = client.agent.watch(WatchRequest { what }).await?.into_inner();
    while let Some(event) = events.message().await? {
        let Some(item) = &event.item else { continue };
        if object(item)?.uid() != before {
            return Ok(());
        }
    }
    Err(CliError::local("the watch has ended: the agent went away; the Job runs again all the same"))
}
