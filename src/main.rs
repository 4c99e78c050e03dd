//! minik8s: the command line. `minik8s agent` is the daemon, the rest talks to it or works offline.

use std::process::ExitCode;

use minik8s::logs;

fn main() -> ExitCode {
    // Before anything else: there is one logger a container, and it must stay small.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == logs::LOGGER_ARGUMENT) {
        return logs::logger_main(arguments.next());
    }
    ExitCode::SUCCESS
}
