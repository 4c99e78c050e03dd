//! `minik8s attach`, as kubectl's (`staging/src/k8s.io/kubectl/pkg/cmd/attach/attach.go`).

use k8s_openapi::api::core::v1::Container;

use super::client::Client;
use super::error::CliError;
use super::output::complain;
use super::pod_target::{self, ContainerArgs};
use super::session::{self, Call, Ended, TerminalArgs};
use crate::grpc::pb::ExecStart;
use crate::pod::attempt;

/// Connect to a running container: its output from now on, and its input if its spec has `stdin: true`.
#[derive(Clone, Debug, clap::Args)]
pub struct AttachArgs {
    #[command(flatten)]
    place: ContainerArgs,
    #[command(flatten)]
    terminal: TerminalArgs,
    /// POD, or TYPE/NAME.
    #[arg(value_name = "POD|TYPE/NAME")]
    target: String,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &AttachArgs) -> Result<u8, CliError> {
    let mut client = Client::connect(&args.place.client).await?;
    let name = pod_target::pod_of(&mut client, &args.place.namespace, &args.target).await?.name;
    let container = args.place.container_of(&mut client, &args.place.namespace, &name, args.terminal.quiet).await?;
    let pod = pod_target::pod(&mut client, &args.place.namespace, &name).await?;
    let spec = attempt::containers(&pod).map(|(_, c)| c).find(|c| container.is_empty() || c.name == container);
    let (wants_tty, refused) = terminal(spec, args.terminal.tty);
    if let Some(refused) = refused.filter(|_| !args.terminal.quiet) {
        complain(&refused);
    }
    if args.terminal.stdin && !args.terminal.quiet {
        complain("If you don't see a command prompt, try pressing enter.");
    }
    let start = ExecStart {
        namespace: args.place.namespace.clone(),
        pod: name,
        container,
        command: Vec::new(),
        stdin: args.terminal.stdin,
        tty: session::can_be_tty(args.terminal.stdin, wants_tty, args.terminal.quiet),
        size: None,
    };
    Ok(match session::interactive(&mut client, Call::Attach, start).await? {
        Ended::Exit(_) => 0,
        Ended::Signalled(signal) => u8::try_from(128 + signal).unwrap_or(1),
    })
}

/// Whether a terminal is used: a container that has one is attached to as one; one that has none cannot be, which is said.
fn terminal(container: Option<&Container>, asked: bool) -> (bool, Option<String>) {
    match container {
        Some(container) if container.tty == Some(true) => (true, None),
        Some(container) if asked => {
            (false, Some(format!("error: Unable to use a TTY - container {} did not allocate one", container.name)))
        }
        _ => (false, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_used_where_the_container_has_one() {
        let with = |tty| Container { name: "c".into(), tty, ..Default::default() };
        assert_eq!(terminal(Some(&with(Some(true))), false), (true, None));
        assert_eq!(terminal(Some(&with(None)), false), (false, None));
        let refused = "error: Unable to use a TTY - container c did not allocate one".to_owned();
        assert_eq!(terminal(Some(&with(Some(false))), true), (false, Some(refused)));
        assert_eq!(terminal(None, true), (false, None));
    }
}
