//! Which containers the runtime said ran out of memory, for hosts whose cgroups cannot be asked once a container has ended: under systemd its
//! scope is gone with the last process, and v1 counts nothing of it anywhere else. containerd's CRI plugin goes by this event alone
//! (internal/cri/server/events.go, TaskOOM).
//!
//! Leaves out what happened while nobody listened: the agent or containerd was away. Bounded: of too many the oldest are forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;

/// Ends are gathered within moments; more than these are not awaited at once.
const KEPT: usize = 1024;

/// The ids of attempts; each is one making of one container, so that none is ever told of another's.
pub(super) struct Ooms(watch::Sender<VecDeque<String>>);

impl Default for Ooms {
    fn default() -> Ooms {
        Ooms(watch::Sender::new(VecDeque::new()))
    }
}

impl Ooms {
    /// The runtime said it of this attempt.
    pub(super) fn tell(&self, id: String) {
        self.0.send_modify(|told| {
            if told.contains(&id) {
                return;
            }
            if told.len() >= KEPT {
                told.pop_front();
            }
            told.push_back(id);
        });
    }

    /// Whether it was said of this attempt, or is within `patience`.
    pub(super) async fn told_of(&self, id: &str, patience: Duration) -> bool {
        let mut told = self.0.subscribe();
        tokio::time::timeout(patience, told.wait_for(|told| told.iter().any(|t| t == id))).await.is_ok_and(|found| found.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_told_and_what_is_told_in_time() {
        let ooms = Ooms::default();
        ooms.tell("a".into());
        assert!(ooms.told_of("a", Duration::ZERO).await);
        assert!(!ooms.told_of("b", Duration::from_millis(200)).await);
        let later = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            ooms.tell("b".into());
        };
        assert!(tokio::join!(ooms.told_of("b", Duration::from_millis(200)), later).0);
        (0..KEPT).for_each(|n| ooms.tell(n.to_string()));
        assert!(!ooms.told_of("a", Duration::ZERO).await, "the oldest is forgotten");
    }
}
