//! lifecycle.stopSignal: by its full name, and only for a pod that says which system it is for (validateStopSignal).

use super::field::{Faults, Path};

/// The signals by name, but for the real-time ones.
const NAMES: [&str; 36] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMIN",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// Checks one. `os`: spec.os.name.
pub(super) fn stop_signal(signal: &str, os: Option<&str>, path: &Path, faults: &mut Faults) {
    match os {
        None => faults.forbidden(path, "may not be set for containers with empty `spec.os.name`"),
        Some("windows") if !["SIGKILL", "SIGTERM"].contains(&signal) => faults.not_supported(path, signal, &["SIGKILL", "SIGTERM"]),
        Some("linux") if !known(signal) => faults.not_supported(path, signal, &NAMES),
        Some(_) => {}
    }
}

fn known(signal: &str) -> bool {
    let offset = |prefix: &str, most: u8| {
        let rest = signal.strip_prefix(prefix).filter(|rest| !rest.starts_with('0'));
        rest.and_then(|rest| rest.parse::<u8>().ok()).is_some_and(|n| (1..=most).contains(&n))
    };
    NAMES.contains(&signal) || offset("SIGRTMIN+", 15) || offset("SIGRTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_with_and_without_a_system() {
        for (signal, os, refused) in [
            ("SIGUSR1", Some("linux"), false),
            ("SIGXFSZ", Some("linux"), false),
            ("SIGRTMIN+15", Some("linux"), false),
            ("SIGRTMIN+16", Some("linux"), true),
            ("SIGRTMAX-14", Some("linux"), false),
            ("SIGRTMAX-01", Some("linux"), true),
            ("USR1", Some("linux"), true),
            ("10", Some("linux"), true),
            ("SIGHELLO", Some("linux"), true),
            ("SIGUSR1", Some("windows"), true),
            ("SIGTERM", None, true),
        ] {
            let mut faults = Faults::default();
            stop_signal(signal, os, &Path::new("stopSignal"), &mut faults);
            assert_eq!(!faults.is_empty(), refused, "{signal} {os:?}");
        }
    }
}
