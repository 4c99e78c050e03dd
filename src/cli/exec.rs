//! `minik8s exec`, as kubectl's (`staging/src/k8s.io/kubectl/pkg/cmd/exec/exec.go`): exits as the command does.

use super::client::{Client, ClientArgs};
use super::error::CliError;
use super::output::complain;
use super::pod_target;
use super::session::{self, Call, Ended};
use crate::grpc::pb::ExecStart;

/// Run a command in a container. Exits with the command's exit code.
#[derive(Clone, Debug, clap::Args)]
pub struct ExecArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The namespace.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// The container; the first, or the annotated default one, if it is not named.
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "NAME")]
    container: String,
    /// Pass standard input to the command.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Standard input is a terminal.
    #[arg(short = 't', long)]
    tty: bool,
    /// Print the command's output only.
    #[arg(short, long)]
    quiet: bool,
    /// POD, or TYPE/NAME.
    #[arg(value_name = "POD|TYPE/NAME")]
    target: Vec<String>,
    /// The command and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the command. Returns its exit code.
pub async fn run(args: &ExecArgs) -> Result<u8, CliError> {
    let target = match args.target.as_slice() {
        [] => return Err(CliError::local("pod or type/name must be specified")),
        [target] if args.command.is_empty() => {
            return Err(CliError::local(format!(
                "you must specify at least one command for the container: minik8s exec {target} -- COMMAND"
            )));
        }
        [target] => target,
        _ => {
            return Err(CliError::local("exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead"));
        }
    };
    let mut client = Client::connect(&args.client).await?;
    let pod = pod_target::pod_of(&mut client, &args.namespace, target).await?.name;
    let container = match args.container.as_str() {
        "" => pod_target::default_container(&mut client, &args.namespace, &pod, args.quiet).await?,
        named => named.to_owned(),
    };
    let start = ExecStart {
        namespace: args.namespace.clone(),
        pod,
        container,
        command: args.command.clone(),
        stdin: args.stdin,
        tty: session::can_be_tty(args.stdin, args.tty, args.quiet),
        size: None,
    };
    Ok(match session::interactive(&mut client, Call::Exec, start).await? {
        Ended::Exit(Some(0) | None) => 0,
        Ended::Exit(Some(code)) => {
            if !args.quiet {
                complain(&format!("command terminated with exit code {code}"));
            }
            u8::try_from(code).unwrap_or(1)
        }
        Ended::Signalled(signal) => u8::try_from(128 + signal).unwrap_or(1),
    })
}
