//! `minik8s exec`, as kubectl's (`staging/src/k8s.io/kubectl/pkg/cmd/exec/exec.go`): exits as the command does.

use super::client::Client;
use super::error::CliError;
use super::output::complain;
use super::pod_target::{self, ContainerArgs};
use super::session::{self, Call, Ended, TerminalArgs};
use crate::grpc::pb::ExecStart;

/// Run a command in a container. Exits with the command's exit code.
#[derive(Clone, Debug, clap::Args)]
pub struct ExecArgs {
    #[command(flatten)]
    place: ContainerArgs,
    #[command(flatten)]
    terminal: TerminalArgs,
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
    let mut client = Client::connect(&args.place.client).await?;
    let pod = pod_target::pod_of(&mut client, &args.place.namespace, target).await?.name;
    let container = args.place.container_of(&mut client, &args.place.namespace, &pod, args.terminal.quiet).await?;
    let start = ExecStart {
        namespace: args.place.namespace.clone(),
        pod,
        container,
        command: args.command.clone(),
        stdin: args.terminal.stdin,
        tty: session::can_be_tty(args.terminal.stdin, args.terminal.tty, args.terminal.quiet),
        size: None,
    };
    Ok(match session::interactive(&mut client, Call::Exec, start).await? {
        Ended::Exit(Some(0) | None) => 0,
        Ended::Exit(Some(code)) => {
            if !args.terminal.quiet {
                complain(&format!("command terminated with exit code {code}"));
            }
            u8::try_from(code).unwrap_or(1)
        }
        Ended::Signalled(signal) => u8::try_from(128 + signal).unwrap_or(1),
    })
}
