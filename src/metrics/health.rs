//! `/healthz` and `/readyz`: is the agent alive, and does it do its work (as the API server's, staging/src/k8s.io/apiserver/pkg/server/healthz). Pure.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

use crate::runtime::presence::Presence;

/// The reconcile loop turns every 15 s at the least; one that has not for so long is stuck.
const STUCK: SignedDuration = SignedDuration::from_secs(60);

/// What is known of the agent's health.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// Now.
    pub now: Timestamp,
    /// When the agent started.
    pub started: Timestamp,
    /// When the reconcile loop last turned.
    pub last_turn: Option<Timestamp>,
    /// What is known of containerd.
    pub containerd: Presence,
    /// Whether what ran before was taken over.
    pub adopted: bool,
}

/// One thing that must hold: its name, and why it does not.
type Check = (&'static str, Option<&'static str>);

/// Whether it is alive, and the text that says so.
pub fn healthz(vitals: &Vitals) -> (bool, String) {
    told("healthz", &[turning(vitals)])
}

/// Whether pods are started, and the text that says so.
pub fn readyz(vitals: &Vitals) -> (bool, String) {
    let containerd = match vitals.containerd {
        Presence::Awaited => Some("containerd has not answered yet"),
        Presence::Up(_) => None,
        Presence::Down => Some("containerd has not answered for 30 s"),
    };
    let adopted = (!vitals.adopted).then_some("what runs has not been taken over yet");
    told("readyz", &[turning(vitals), ("containerd", containerd), ("adoption", adopted)])
}

fn turning(vitals: &Vitals) -> Check {
    let late = vitals.now.duration_since(vitals.last_turn.unwrap_or(vitals.started)) > STUCK;
    ("reconcile", late.then_some("the loop has not turned for a minute"))
}

fn told(name: &str, checks: &[Check]) -> (bool, String) {
    if checks.iter().all(|(_, fault)| fault.is_none()) {
        return (true, "ok".to_owned());
    }
    let mut text = String::new();
    for (check, fault) in checks {
        // Into memory: it cannot fail.
        let _ = match fault {
            None => writeln!(text, "[+]{check} ok"),
            Some(why) => writeln!(text, "[-]{check} failed: {why}"),
        };
    }
    let _ = writeln!(text, "{name} check failed");
    (false, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alive_while_it_turns_and_ready_once_it_has_taken_over() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut vitals = Vitals { now: at(100), started: at(50), last_turn: None, containerd: Presence::Awaited, adopted: false };
        assert_eq!(healthz(&vitals), (true, "ok".to_owned()));
        let text = "[+]reconcile ok\n[-]containerd failed: containerd has not answered yet\n[-]adoption failed: what runs has not been taken over yet\nreadyz check failed\n";
        assert_eq!(readyz(&vitals), (false, text.to_owned()));
        (vitals.containerd, vitals.adopted) = (Presence::Up("containerd://1".to_owned()), true);
        assert!(readyz(&vitals).0);
        vitals.containerd = Presence::Down;
        let text = "[+]reconcile ok\n[-]containerd failed: containerd has not answered for 30 s\n[+]adoption ok\nreadyz check failed\n";
        assert_eq!(readyz(&vitals), (false, text.to_owned()), "not only at the start");
        assert!(healthz(&vitals).0, "the agent itself lives: nobody is to restart it for that");
        vitals.containerd = Presence::Up("containerd://1".to_owned());
        vitals.now = at(111);
        assert!(!healthz(&vitals).0 && !readyz(&vitals).0);
        vitals.last_turn = Some(at(90));
        assert!(healthz(&vitals).0);
    }
}
