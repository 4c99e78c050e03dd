//! What comes back to a worker from the tasks it began.

use super::configuration::RefreshError;
use super::exit::AttemptRef;
use super::hooks::HookResult;
use super::start::{Failure, Started};
use crate::agent::prober;
use crate::pod::probes::ProbeKind;
use crate::pod::status::Ended;
use crate::runtime::RuntimeError;

/// What a task of this worker has come to.
pub(super) enum Done {
    /// A start by its serial number, to its end.
    Start(u64, AttemptRef, Result<Box<Started>, Failure>),
    /// A container ended, or cannot be waited for.
    Exit(AttemptRef, Result<Ended, RuntimeError>),
    /// An ended attempt's task, record and snapshot are gone, or not.
    Removed(AttemptRef, Result<(), RuntimeError>),
    /// What the Pod held is given back, or not.
    Released(Result<(), String>),
    /// Configuration volumes are up to date, or not.
    Refreshed(Result<(), RefreshError>),
    /// Why the pod takes too much of the disk, if it does.
    Measured(Result<Option<String>, String>),
    /// What came of a probe.
    Probed(AttemptRef, ProbeKind, prober::Outcome),
    /// A preStop hook is over.
    PreStopped(AttemptRef, HookResult),
}
