//! minik8s: the command line. `minik8s agent` is the daemon, the rest talks to it or works offline.

use std::process::ExitCode;

use clap::Parser;
use minik8s::cli::{self, Cli, Command};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Agent(args) => {
            let hostname = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            match args.resolve(&hostname) {
                Ok(_) => eprintln!("error: the agent is not wired into this build yet"),
                Err(message) => eprintln!("error: {message}"),
            }
            ExitCode::FAILURE
        }
        command => cli::run(command),
    }
}
