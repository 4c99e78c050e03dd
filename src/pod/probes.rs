//! Probes of one running container as a state machine: results in; `started`, `ready` and "end it" out (pkg/kubelet/prober/worker.go).
//!
//! ```text
//!   running ─ startup probe (if any) ─ passes ─▶ started ─▶ liveness: fails ─▶ to be ended
//!                     └─ fails ─▶ to be ended         └───▶ readiness: passes ⇄ fails
//! ```
//!
//! Guarantees: a probe is due only while the container runs, after its initial delay, and never twice at once; liveness and readiness wait for
//! the startup probe; after a failure that ends the container nothing is probed until there is a new one. Ours: the first probe comes at the end
//! of the initial delay, not at the next turn of a clock that began with the Pod. Leaves to others: running a probe, and time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Probe};

use super::actions::Probed;

/// The three probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// startupProbe.
    Startup,
    /// livenessProbe.
    Liveness,
    /// readinessProbe.
    Readiness,
}

impl ProbeKind {
    /// As the kubelet's events name it.
    pub fn name(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        }
    }

    /// The container's probe of this kind.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            ProbeKind::Startup => container.startup_probe.as_ref(),
            ProbeKind::Liveness => container.liveness_probe.as_ref(),
            ProbeKind::Readiness => container.readiness_probe.as_ref(),
        }
    }

    const ALL: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];
}

/// The probes of one running attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Probes(Vec<Track>);

#[derive(Clone, Debug, PartialEq)]
struct Track {
    kind: ProbeKind,
    period: Duration,
    success_threshold: u32,
    failure_threshold: u32,
    /// Not before.
    due: Timestamp,
    /// It is being run.
    running: bool,
    /// The last result, and how many of them came in a row.
    last: Option<(bool, u32)>,
    /// What the thresholds let count.
    passes: bool,
    /// It failed for good: nothing more until there is a new container.
    held: bool,
}

impl Probes {
    /// The probes of an attempt that has just started, or was found running (`known`: what its status says, which stays until a probe says
    /// otherwise; its probes are spread over their periods by `spread`, in thousandths). `None`: it has none.
    pub fn begin(container: &Container, started: Timestamp, now: Timestamp, known: Option<Probed>, spread: u32) -> Option<Probes> {
        let track = |kind: ProbeKind| {
            let probe = kind.of(container)?;
            let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
            let delayed = after(started, seconds(probe.initial_delay_seconds, 0));
            let passes = match kind {
                ProbeKind::Startup => known.is_some_and(|k| k.started),
                ProbeKind::Liveness => true,
                ProbeKind::Readiness => known.is_some_and(|k| k.ready),
            };
            let from = if known.is_some() { after(now, period.saturating_mul(spread.min(1000)) / 1000) } else { now };
            Some(Track {
                kind,
                period,
                success_threshold: threshold(probe.success_threshold, 1),
                failure_threshold: threshold(probe.failure_threshold, 3),
                due: delayed.max(from),
                running: false,
                last: None,
                passes,
                held: false,
            })
        };
        let tracks: Vec<Track> = ProbeKind::ALL.into_iter().filter_map(track).collect();
        (!tracks.is_empty()).then_some(Probes(tracks))
    }

    /// What the probes have come to say.
    pub fn probed(&self) -> Probed {
        let passes = |kind| self.track(kind).is_none_or(|t| t.passes);
        Probed { started: passes(ProbeKind::Startup), ready: passes(ProbeKind::Readiness) }
    }

    /// Which probe has failed so that the container is to be ended.
    pub fn failed(&self) -> Option<ProbeKind> {
        self.0.iter().find(|t| t.held).map(|t| t.kind)
    }

    /// When the next probe is due; `None`: nothing to wait for but results.
    pub fn next(&self) -> Option<Timestamp> {
        self.0.iter().filter(|t| self.waits(t)).map(|t| t.due).min()
    }

    /// The probes to run now; each counts as running until its [`Self::result`] comes.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<ProbeKind> {
        let due: Vec<ProbeKind> = self.0.iter().filter(|t| self.waits(t) && t.is_due(now)).map(|t| t.kind).collect();
        for track in self.0.iter_mut().filter(|t| due.contains(&t.kind)) {
            track.running = true;
            track.due = after(now, track.period);
        }
        due
    }

    /// A probe that ran has passed or failed; `None`: it could not be run, which counts for nothing.
    pub fn result(&mut self, kind: ProbeKind, passed: Option<bool>, now: Timestamp) {
        let Some(track) = self.0.iter_mut().find(|t| t.kind == kind) else { return };
        track.running = false;
        track.due = track.due.max(now);
        if let Some(passed) = passed {
            track.count(passed);
        }
    }

    /// The Pod is being stopped: only readiness is still told.
    pub fn stop_judging(&mut self) {
        self.0.retain(|t| t.kind == ProbeKind::Readiness || (t.kind == ProbeKind::Startup && t.passes));
    }

    fn track(&self, kind: ProbeKind) -> Option<&Track> {
        self.0.iter().find(|t| t.kind == kind)
    }

    fn waits(&self, track: &Track) -> bool {
        let its_turn = (track.kind == ProbeKind::Startup) != self.probed().started;
        its_turn && !track.running && self.failed().is_none()
    }
}

impl Track {
    /// A clock that was set back holds no probe for longer than its period.
    fn is_due(&self, now: Timestamp) -> bool {
        let stepped_back = self.last.is_some() && self.due > after(now, self.period);
        self.due <= now || stepped_back
    }

    fn count(&mut self, passed: bool) {
        let run = match self.last {
            Some((last, run)) if last == passed => run.saturating_add(1),
            _ => 1,
        };
        self.last = Some((passed, run));
        let needed = if passed { self.success_threshold } else { self.failure_threshold };
        if run < needed {
            return;
        }
        self.passes = passed;
        self.held = !passed && self.kind != ProbeKind::Readiness;
    }
}

/// How long a probe may take.
pub fn timeout(probe: &Probe) -> Duration {
    seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1))
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.map_or(default, |v| u64::try_from(v).unwrap_or(0)))
}

fn threshold(value: Option<i32>, default: u32) -> u32 {
    value.map_or(default, |v| u32::try_from(v).unwrap_or(1)).max(1)
}

fn after(at: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| at.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}
