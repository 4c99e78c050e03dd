//! What manifests will do, played in virtual time: the same controllers and the same pod state machine as the agent's, on a node whose
//! containers only run for a while and exit.
//!
//! ```text
//! wishes ─▶ sync ─▶ controllers ─▶ binding ─▶ compute_pod_actions ─▶ virtual containers ─┐
//!              ▲                                                                         │ starts, exits, wakes:
//!              └───────────────── the clock jumps to whatever comes first ◀──────────────┘ a calendar
//! ```
//!
//! Guarantees: pure and deterministic: the same [`Settings`] and [`Change`]s give the same [`Outcome`]; bounded in rows and turns, and says
//! where it stopped; no rule of Kubernetes is written here. Left to others: reading files and printing (the command line).
//! Assumptions: probes pass, hooks take no time, and nothing crashes but by exit code and [`Change::Reboot`].

mod changes;
mod containers;
pub mod scenario;
mod timeline;
mod world;

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::api::Object;

pub use timeline::{Entry, elapsed};

/// How the virtual node and its containers behave.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node. A taint without timeAdded counts from the start.
    pub node: Node,
    /// The time zone of schedules without one.
    pub zone: TimeZone,
    /// When it starts.
    pub from: Timestamp,
    /// How long it goes on at most.
    pub until: SignedDuration,
    /// How long a container runs. Init containers end at once with 0.
    pub run_time: SignedDuration,
    /// From a pod's binding to the start of its first container; restarts take no time.
    pub start_time: SignedDuration,
    /// How long a container takes to end once it is asked to; SIGKILL is at once.
    pub stop_time: SignedDuration,
    /// Until so long after the start no image can be had.
    pub no_images_for: SignedDuration,
    /// Exit codes of a container's runs in the order they start, counted for each Job, DaemonSet or static pod; the last one repeats. Empty:
    /// 0, and what has restartPolicy Always runs for ever.
    pub exit_codes: Vec<i32>,
    /// Cap of the restart back-off.
    pub backoff_cap: Duration,
}

/// Something done from outside.
#[derive(Clone, Debug)]
pub enum Change {
    /// The manifests directory holds these now (made by [`crate::controllers::sync::sourced`]).
    Manifests(Vec<Object>),
    /// The wall clock is set by so much; what runs is not touched.
    Clock(SignedDuration),
    /// The host goes down and is up again at once: nothing runs.
    Reboot,
    /// The node gets a taint.
    Taint(Taint),
    /// The node's taints with this key go.
    Untaint(String),
    /// A label of the node is set, or goes.
    Label(String, Option<String>),
    /// `spec.unschedulable` of the node.
    Cordon(bool),
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing would ever happen again.
    Quiet,
    /// `until` was reached.
    Until,
    /// The timeline has more rows than are kept ([`MAX_ENTRIES`]).
    TooLong,
    /// The controllers do not come to rest at one instant: a fault of minik8s.
    Restless,
}

/// Rows kept of a timeline.
pub const MAX_ENTRIES: usize = 10_000;

/// What happened.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In order.
    pub timeline: Vec<Entry>,
    /// What is there at the end, in order of key.
    pub objects: Vec<Object>,
    /// Why it ended.
    pub ending: Ending,
    /// How long it went on.
    pub elapsed: SignedDuration,
    /// What the wall clock showed at the end.
    pub now: Timestamp,
}

/// Plays `changes`, each after so long, to the end.
pub fn run(settings: &Settings, changes: Vec<(SignedDuration, Change)>) -> Outcome {
    let mut world = world::World::new(settings, changes);
    let ending = world.play();
    world.outcome(ending)
}
