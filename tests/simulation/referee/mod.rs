//! Watches every commit and every effect, and knows what really happened. The first property that is violated ends the run.
//!
//! | property | never |
//! |---|---|
//! | `parallelism` | more active pods of a Job than its parallelism, or than are still wanted |
//! | `index once` | an index with two active pods, or run again after it is counted |
//! | `counted as it was` | a success lost, doubled or made up |
//! | `finished stays finished` | a finished Job that runs or is unfinished again |
//! | `runs once per manifest` | a Job made again though its manifest neither went nor changed |
//! | `slot once` | a CronJob's slot run twice |
//! | `forbid overlaps` | two Jobs of a Forbid CronJob at once, in the Store or in containers |
//! | `one daemon pod` | more daemon pods than one and the surge |
//! | `one static pod` | two pods of one static pod's file |
//! | `bound by the Node as it is` | a pod given to a node that is cordoned, tainted or labelled against it by then |
//! | `terminated stays terminated` | a pod with another phase after its terminal one, or with a new container |
//! | `durable before acted on` | a container without a stored intent, an ended task removed before its end is stored |
//! | `attempt once` | a process started twice for one (uid, container, attempt) |
//! | `ends as they were` | a stored exit code that is not the process's own |
//! | `stopped for a reason` | a signal to a container of a pod that nobody wants stopped |
//! | `ids are one pod's` | two pods that hold a place or run with one range of the host's ids |
//! | `owner goes last` | an object removed before what it owns, a pod before its containers |
//! | `comes to rest` | work that can be finished and is not, or anything left behind, once all is quiet |

mod commits;
mod effects;
mod rest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minik8s::api::Object;

pub use rest::unmet;

/// A property and how it was violated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub property: &'static str,
    pub text: String,
}

/// What really happened to one attempt.
#[derive(Clone, Debug, Default)]
struct Attempt {
    started: u32,
    exit: Option<u32>,
    /// Its task is gone without anybody knowing its end.
    lost: bool,
    not_startable: bool,
    /// What the Store says of its end.
    recorded: Option<i32>,
}

#[derive(Clone, Debug, Default)]
struct PodMemory {
    terminal: Option<String>,
    seen: bool,
    bound: bool,
}

#[derive(Clone, Debug, Default)]
struct JobMemory {
    pods: BTreeSet<String>,
    /// Pods that succeeded while their Job still wanted to count them.
    owed: BTreeSet<String>,
    finished: bool,
    succeeded: i32,
    /// Its CronJob forbade others when it was made.
    alone: bool,
}

/// The one who watches.
#[derive(Default)]
pub struct Referee {
    violation: Option<Violation>,
    /// The Node as it was last stored.
    node: Option<Arc<Object>>,
    attempts: BTreeMap<String, Attempt>,
    pods: BTreeMap<String, PodMemory>,
    jobs: BTreeMap<String, JobMemory>,
    slots: BTreeSet<(String, String)>,
    /// DaemonSets that had two pods by right.
    surged: BTreeSet<String>,
    /// By name: how many different Jobs the manifests have asked for, and how many were made.
    asked: BTreeMap<String, usize>,
    made: BTreeMap<String, usize>,
}

impl Referee {
    /// The first violation.
    pub fn verdict(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// A property does not hold.
    pub fn fail(&mut self, property: &'static str, text: String) {
        self.violation.get_or_insert(Violation { property, text });
    }

    fn hold(&mut self, property: &'static str, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.fail(property, text());
        }
    }

    /// How many pods there were.
    pub fn pods_seen(&self) -> usize {
        self.pods.len()
    }

    /// The manifests ask for a Job that they did not ask for before.
    pub fn asked(&mut self, name: &str) {
        *self.asked.entry(name.to_owned()).or_default() += 1;
    }
}
