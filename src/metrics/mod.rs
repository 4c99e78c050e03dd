//! `/metrics`, `/healthz` and `/readyz`: what the agent tells monitoring, collected only when asked for.
//!
//! ```text
//! Store, faults, /proc ─▶ pods, containers, workloads, agent (pure: objects → families) ─▶ exposition (pure: families → text) ─▶ server
//! ```
//!
//! Names and units are the kubelet's where it has them, kube-state-metrics' for workloads, and `minik8s_*` for what only exists here. Guarantees:
//! nothing of a Secret or ConfigMap is told; clients are bounded in number and time.

mod agent;
mod containers;
mod exposition;
mod health;
mod labels;
mod pods;
mod server;
pub mod starts;
mod workloads;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use self::exposition::{Family, text};
use self::health::Vitals;
use self::starts::Starts;
use crate::api::{Kind, Object};
use crate::clock::Clock;
use crate::grpc::ApiState;

pub use server::{router, serve};

/// What the agent's loops leave for monitoring to see.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Milliseconds since 1970 at the last turn of the reconcile loop; 0 before the first.
    last_turn: AtomicI64,
    /// Whether what ran before was taken over.
    pub adopted: Arc<AtomicBool>,
    /// How long pods took to start.
    pub starts: Arc<Mutex<Starts>>,
}

impl Pulse {
    /// The reconcile loop has turned.
    pub fn beat(&self, clock: &dyn Clock) {
        self.last_turn.store(clock.now().as_millisecond(), Ordering::Relaxed);
    }

    fn last_turn(&self) -> Option<Timestamp> {
        let millis = self.last_turn.load(Ordering::Relaxed);
        (millis != 0).then(|| Timestamp::from_millisecond(millis).ok()).flatten()
    }
}

/// All of /metrics.
fn metrics(state: &ApiState) -> String {
    let list = |kind| state.store.list(kind);
    let (pods, sets, jobs, crons) = (list(Kind::Pod), list(Kind::DaemonSet), list(Kind::Job), list(Kind::CronJob));
    let (nodes, statics) = (list(Kind::Node), list(Kind::StaticPod));
    let pod_refs: Vec<_> = pods.iter().filter_map(|o| o.as_pod()).collect();
    let mut families: Vec<Family> = Vec::new();
    families.extend(self::pods::families(&pod_refs));
    families.extend(workloads::daemon_sets(&sets.iter().filter_map(|o| o.as_daemon_set()).collect::<Vec<_>>()));
    families.extend(workloads::jobs(&jobs.iter().filter_map(|o| o.as_job()).collect::<Vec<_>>()));
    let cron_jobs: Vec<_> = crons.iter().filter_map(|o| o.as_cron_job()).collect();
    families.extend(workloads::cron_jobs(&cron_jobs, &jiff::tz::TimeZone::system()));
    let all = [&sets, &jobs, &crons, &statics];
    families.push(workloads::not_admitted(all.into_iter().flatten().map(|o| &**o)));
    families.extend(nodes.iter().filter_map(|o: &Arc<Object>| o.as_node()).flat_map(agent::node));
    families.extend(agent::kubelet(&pod_refs, &state.node_name));
    families.push(state.pulse.starts.lock().unwrap_or_else(PoisonError::into_inner).family());
    let containerd = state.containerd.borrow().clone();
    let own = agent::Own {
        faults: &state.faults.borrow(),
        containerd: containerd.version(),
        adopted: state.pulse.adopted.load(Ordering::Relaxed),
        events: list(Kind::Event).len(),
        last_turn: state.pulse.last_turn(),
    };
    families.extend(agent::own(&own));
    families.extend(process(state.started_at));
    text(&families)
}

/// What cannot be read is 0.
fn process(started: Timestamp) -> Vec<Family> {
    let file = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let conf = |name| nix::unistd::sysconf(name).ok().flatten();
    let (ticks, page) = (conf(nix::unistd::SysconfVar::CLK_TCK).unwrap_or(100), conf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap_or(4096));
    agent::process(&file("stat"), open, &file("limits"), ticks as f64, page as f64, started)
}

fn vitals(state: &ApiState) -> Vitals {
    Vitals {
        now: state.clock.now(),
        started: state.started_at,
        last_turn: state.pulse.last_turn(),
        containerd: state.containerd.borrow().clone(),
        adopted: state.pulse.adopted.load(Ordering::Relaxed),
    }
}

#[cfg(test)]
mod tests;
