//! A Pod's life as a pure function: [`actions::compute_pod_actions`] says, from the Pod, what was observed and the time, what to do next.
//!
//! ```text
//!               bound (spec.nodeName)
//!                       │
//!                       ▼            init containers, one after another, each to completion
//!   ┌──────────────▶ Pending ──┐     (a sidecar: until it has started)
//!   │ init restarts     │      │
//!   └───────────────────┤      │ init failed and will not restart
//!                       ▼      │
//!   ┌──────────────▶ Running ──┤ deletionTimestamp, activeDeadlineSeconds: Stopping
//!   │ restartPolicy     │      │   SIGTERM ─ grace ─▶ SIGKILL; sidecars last, in reverse
//!   └─ back-off ────────┤      │
//!                       ▼      ▼
//!                 Succeeded   Failed     the status is terminal: nothing is ever started again
//!                       │      │
//!                       ▼      ▼
//!                      Released          tasks, namespaces, volumes, cgroup are gone; object and logs stay
//!                          │ deletionTimestamp and no finalizer left
//!                          ▼
//!                        Gone            object and logs are gone
//! ```
//!
//! One *attempt* is one making of one container; its number is the restartCount and its id follows from (uid, name, number):
//!
//! ```text
//!   Never ─ intent committed (containerID, waiting) ─▶ Open ─ terminated state committed ─▶ Over ─▶ next attempt, or the end
//! ```
//!
//! What a crash leaves of an Open attempt is judged by [`recover::examine`]: made again only if it surely never ran.
//!
//! Guarantees: no attempt is started twice, none before its back-off has passed, none of a terminal Pod.
//! Leaves to `agent::worker`: effects, durability, the order of commit and effect. Leaves to others: admission, the running of probes and hooks.

pub mod actions;
pub mod attempt;
pub mod backoff;
pub mod conditions;
pub mod events;
pub mod phase;
pub mod probes;
pub mod qos;
pub mod recover;
pub mod restart;
pub mod restart_all;
pub mod signals;
pub mod spam;
pub mod status;
pub mod stopping;
pub mod storage;
#[cfg(test)]
mod tests;

pub use actions::{End, Eviction, Kill, Live, Observed, PodActions, Probed, Retry, Signalled, Start, compute_pod_actions};
pub use attempt::{Attempt, Role, container_id};
