//! A process that leads a group of its own, and what it started: they end together.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Kills the group when dropped, so also where its caller is cancelled.
pub(crate) struct KillGroup(Option<u32>);

impl KillGroup {
    /// Of the process with this id, which leads its group; `None`: it has ended already.
    pub(crate) fn of(leader: Option<u32>) -> KillGroup {
        KillGroup(leader)
    }

    /// It has ended and was waited for: its id is no longer ours.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for KillGroup {
    fn drop(&mut self) {
        if let Some(pid) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            // Gone already is all there is to expect here.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
