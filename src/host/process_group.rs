//! A process that leads a group of its own, and what it started: they end together.

use std::io;
use std::pin::pin;
use std::process::Output;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::oneshot;

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

/// Runs `command`, whose output goes to pipes, in a group of its own and waits for the end of all that have its output; `None` if there was none within `limit`.
///
/// After `limit`, or where the caller is cancelled, the group is killed. `held` is dropped once it is gone, however it ended: nothing of the group
/// does anything after that. Nobody waits for the end of what was killed: the kernel may keep a process in a call for long.
///
/// Errors: the program cannot be run.
pub(crate) async fn output_of_group<T: Send + 'static>(command: &mut Command, limit: Duration, held: T) -> io::Result<Option<Output>> {
    let child = command.process_group(0).kill_on_drop(true).spawn()?;
    let group = KillGroup::of(child.id());
    let (mut answer, answered) = oneshot::channel();
    tokio::spawn(async move {
        let _held = held;
        let mut output = pin!(child.wait_with_output());
        // Cancel-safe: the output is awaited below from where it stood.
        let done = tokio::select! {
            biased;
            done = &mut output => Some(done),
            () = answer.closed() => None,
            () = tokio::time::sleep(limit) => None,
        };
        // That nobody waits for the answer is no matter.
        if let Some(done) = done {
            group.disarm();
            let _ = answer.send(done.map(Some));
        } else {
            drop(group);
            let _ = answer.send(Ok(None));
            let _ = output.await;
        }
    });
    answered.await.unwrap_or_else(|_| Err(io::Error::other("given up")))
}
