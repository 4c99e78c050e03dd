//! minik8s: the command line. `minik8s agent` is the daemon, the rest talks to it or works offline.
//!
//! Started as `minik8s minik8s-logger …` by a shim it is a container's logger, and as `minik8s minik8s-pod-init …` by the agent the first process
//! of a pod whose containers share theirs, as `minik8s minik8s-user-namespace …` what makes a pod's user namespace, before anything else is set up.
//! Started by a shim under another name it becomes the OCI runtime with a container's input.

mod daemon;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use minik8s::cli::agent_args::{AgentArgs, AgentConfig};
use minik8s::cli::{self, Cli, Command, settings_file};
use minik8s::network::pod_init::{POD_INIT_ARGUMENT, pod_init_main};
use minik8s::network::user_namespace::{USER_NAMESPACE_ARGUMENT, user_namespace_main};
use minik8s::runtime::stdin_front::{front_main, is_front};
use minik8s::{logs, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long what hangs may hold up the process' end.
const HANGING: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    if is_front(&program) {
        return front_main(&program, arguments);
    }
    match arguments.next() {
        Some(first) if first == logs::LOGGER_ARGUMENT => return logs::logger_main(arguments.next()),
        Some(first) if first == POD_INIT_ARGUMENT => return pod_init_main(arguments),
        Some(first) if first == USER_NAMESPACE_ARGUMENT => return user_namespace_main(arguments),
        _ => {}
    }
    match Cli::parse().command {
        Command::Agent(args) => agent(*args),
        command => cli::run(command),
    }
}

/// The daemon, to its end. Exit codes: 0 stopped as asked, 1 cannot run, 2 wrong flags.
fn agent(args: AgentArgs) -> ExitCode {
    let hostname = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let log_format = args.log_format;
    let config = match args.resolve(&hostname) {
        Ok(config) => config,
        Err(message) => return complain(2, &message),
    };
    if let Err(error) = telemetry::init(log_format) {
        return complain(1, &format!("{:#}", anyhow::Error::from(error)));
    }
    let variables: Vec<String> = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    for sentence in settings_file::unknown(variables.iter().map(String::as_str)) {
        tracing::warn!("the environment (/etc/default/minik8s): {sentence}; it has no effect");
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: AgentConfig) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            // Cancel-safe: signals are not lost, and the first one ends the wait.
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.send_replace(true);
        });
        daemon::run(config, stopped).await
    });
    // A call that hangs in a file system must not hold the end up; what it would do is no longer wanted.
    runtime.shutdown_timeout(HANGING);
    outcome
}

fn complain(code: u8, message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(code)
}
