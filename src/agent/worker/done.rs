//! What comes back to a worker from the tasks it began.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

use super::configuration::RefreshError;
use super::exit::AttemptRef;
use super::hooks::HookResult;
use super::release::NotReleased;
use super::start::{Failure, Started};
use crate::agent::prober;
use crate::pod::probes::ProbeKind;
use crate::pod::status::Ended;
use crate::runtime::RuntimeError;

/// What a task says that panicked: a fault of this program, whose place the panic itself has told.
pub(super) const PANICKED: &str = "a task of the agent panicked";

/// What a task of this worker has come to.
pub(super) enum Done {
    /// A start by its serial number, to its end.
    Start(u64, AttemptRef, Result<Box<Started>, Failure>),
    /// A container ended, or cannot be waited for.
    Exit(AttemptRef, Result<Ended, RuntimeError>),
    /// An ended attempt's task, record and snapshot are gone, or not.
    Removed(AttemptRef, Result<(), RuntimeError>),
    /// What the Pod held is given back, or not.
    Released(Result<(), NotReleased>),
    /// What is wrong with the network of a Pod that was found running, if anything is.
    Checked(Option<String>),
    /// Configuration volumes are up to date, or not.
    Refreshed(Result<(), RefreshError>),
    /// Why the pod takes too much of the disk, if it does.
    Measured(Result<Option<String>, String>),
    /// What came of a probe.
    Probed(AttemptRef, ProbeKind, prober::Outcome),
    /// A preStop hook is over.
    PreStopped(AttemptRef, HookResult),
}

impl Done {
    /// What `job` comes to; `instead` if it panics. So a panic is one more failure of its kind, and nothing waits for a task that is no more.
    pub(super) async fn of(job: impl Future<Output = Done>, instead: Done) -> Done {
        // Nothing of the job is looked at any more but what stands behind locks, which are used in spite of a panic.
        AssertUnwindSafe(job).catch_unwind().await.unwrap_or(instead)
    }

    /// The attempt cannot be waited for any more.
    pub(super) fn unwatched(of: AttemptRef) -> Done {
        let error = panicked("wait for", &of);
        Done::Exit(of, Err(error))
    }

    /// The attempt may be there still.
    pub(super) fn not_removed(of: AttemptRef) -> Done {
        let error = panicked("remove", &of);
        Done::Removed(of, Err(error))
    }
}

fn panicked(action: &'static str, of: &AttemptRef) -> RuntimeError {
    RuntimeError::Failed { action, id: of.id.clone(), cause: PANICKED.to_owned() }
}
