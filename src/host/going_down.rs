//! Whether the host is going down: systemd is asked, whoever asked it to (reboot, poweroff, a power button, kexec, soft-reboot).

use std::process::Stdio;
use std::time::Duration;

/// systemd answers this at once or never will.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Asks once. Without systemd, or an answer, it is not: an agent that is merely stopped leaves its pods alone.
pub async fn going_down() -> bool {
    let mut ask = tokio::process::Command::new("systemctl");
    ask.arg("is-system-running").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(ANSWERS_WITHIN, ask.output()).await {
        Ok(Ok(output)) => says_so(&output.stdout),
        Ok(Err(_)) => false,
        Err(_) => {
            tracing::warn!("systemd does not say whether the host goes down; the pods are left alone");
            false
        }
    }
}

/// systemctl(1), is-system-running: "stopping" from the moment the shutdown is queued.
fn says_so(words: &[u8]) -> bool {
    words.trim_ascii() == b"stopping"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_that_is_stopping_goes_down() {
        assert!(says_so(b"stopping\n"));
        for words in ["running\n", "degraded\n", "maintenance\n", "starting\n", "offline\n", "unknown\n", ""] {
            assert!(!says_so(words.as_bytes()), "{words}");
        }
    }
}
