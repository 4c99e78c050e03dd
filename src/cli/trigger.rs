//! `minik8s trigger cronjob/NAME`: a Job of the CronJob now, as `kubectl create job JOB --from=cronjob/NAME` makes it.

use super::client::{Client, ClientArgs, object};
use super::dry_run::DryRun;
use super::error::CliError;
use super::output::{Format, put, structured};
use super::{kinds, targets};
use crate::api::Kind;
use crate::grpc::pb::TriggerRequest;

/// Run a CronJob's Job now, whatever its schedule, concurrencyPolicy or suspend say. The Job is the CronJob's own from then on.
#[derive(Clone, Debug, clap::Args)]
pub struct TriggerArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The namespace.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// The CronJob, as cronjob/NAME.
    #[arg(value_name = "cronjob/NAME")]
    what: String,
    /// The Job's name [default: <cronjob>-manual-<5 characters>].
    #[arg(long, value_name = "JOB")]
    name: Option<String>,
    #[command(flatten)]
    dry_run: DryRun,
    /// How to print the Job.
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &TriggerArgs) -> Result<u8, CliError> {
    let (kind, name) = targets::one(&args.what)?;
    if kind != Kind::CronJob {
        return Err(CliError::local(format!("from must be an existing cronjob, not {}", kinds::slashed(kind, &name))));
    }
    if args.name.as_deref() == Some("") {
        return Err(CliError::local("--name must not be empty; without it, a name is generated"));
    }
    let mut client = Client::connect(&args.client).await?;
    let request = TriggerRequest {
        namespace: args.namespace.clone(),
        name,
        job_name: args.name.clone().unwrap_or_default(),
        dry_run: args.dry_run.is_on(),
    };
    let answer = client.agent.trigger(request).await?.into_inner();
    let job = object(&answer.job.ok_or_else(|| CliError::local("the agent did not say what it made"))?)?;
    match args.output {
        Some(format) if format != Format::Wide => put(structured(format, &[job], true))?,
        _ => {
            let name = job.meta().name.as_deref().unwrap_or_default();
            put(format!("{} created{}\n", kinds::slashed(Kind::Job, name), args.dry_run.said()))?;
        }
    }
    Ok(0)
}
