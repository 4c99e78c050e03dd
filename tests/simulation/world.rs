//! The host: what is there whether an agent lives or not, and the one gate that every driver call goes through.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use minik8s::agent::manifests::ManifestSet;
use minik8s::runtime::{ContainerState, Exit, RuntimeEvent, TaskState};
use minik8s::store::mirror::{Batch, Mirror};
use tokio::sync::{Notify, broadcast, watch};

use super::dice::Dice;
use super::referee::Referee;

/// More calls than this in one run: the agent goes round in circles.
const MOST_CALLS: u64 = 150_000;
/// Lines of the trace that are shown.
pub const TRACE: usize = 120;

/// A container, and what its program is going to do.
pub struct Container {
    pub state: ContainerState,
    pub uid: String,
    pub longest: u64,
    pub fails: u64,
    pub stubborn: bool,
}

/// Everything that changes.
pub struct State {
    pub seed: u64,
    pub dice: Dice,
    /// Which agent lives: calls of earlier ones have no effect and never answer.
    pub life: u64,
    pub dead: bool,
    pub calls: u64,
    /// How often the watchdog was fed.
    pub beats: u64,
    /// When the agent dies: at which call, and whether after its effect.
    pub death: Option<(u64, bool)>,
    pub boot: u64,
    /// containerd does not answer.
    pub away: bool,
    pub disk_full: bool,
    pub disk_takes: Duration,
    /// Written, but the agent was told that it was not.
    pub limbo: Option<Batch>,
    pub offset: SignedDuration,
    pub slow_calls: u64,
    pub faults: u64,
    pub containers: BTreeMap<String, Container>,
    pub namespaces: BTreeSet<String>,
    pub addresses: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
    pub cgroups: BTreeSet<String>,
    pub mirror: Mirror,
    pub referee: Referee,
    trace: Option<std::collections::VecDeque<String>>,
}

/// The host and what wakes whom.
pub struct World {
    state: Mutex<State>,
    pub dir: PathBuf,
    traced: bool,
    began: tokio::time::Instant,
    /// The agent died at a call.
    pub died: Notify,
    /// A property was violated.
    pub failed: Notify,
    /// A container or containerd changed: who waits looks again.
    pub changed: Notify,
    pub clock_set: Notify,
    pub events: broadcast::Sender<RuntimeEvent>,
    pub sets: watch::Sender<Option<Arc<ManifestSet>>>,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    FailsBefore,
    FailsAfter,
}

impl World {
    pub fn new(seed: u64, dir: &Path, slow_calls: u64, faults: u64, traced: bool) -> Arc<World> {
        let state = State {
            seed,
            dice: Dice::new(seed ^ 0xD1CE),
            life: 0,
            dead: false,
            calls: 0,
            beats: 0,
            death: None,
            boot: 1,
            away: false,
            disk_full: false,
            disk_takes: Duration::ZERO,
            limbo: None,
            offset: SignedDuration::ZERO,
            slow_calls,
            faults,
            containers: BTreeMap::new(),
            namespaces: BTreeSet::new(),
            addresses: BTreeSet::new(),
            volumes: BTreeSet::new(),
            cgroups: BTreeSet::new(),
            mirror: Mirror::default(),
            referee: Referee::default(),
            trace: traced.then(Default::default),
        };
        Arc::new(World {
            state: Mutex::new(state),
            dir: dir.to_owned(),
            traced,
            began: tokio::time::Instant::now(),
            died: Notify::new(),
            failed: Notify::new(),
            changed: Notify::new(),
            clock_set: Notify::new(),
            events: broadcast::Sender::new(32),
            sets: watch::Sender::new(None),
        })
    }

    /// A run has one thread: whoever finds it locked would wait for itself.
    pub fn state(&self) -> MutexGuard<'_, State> {
        match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("the state is locked already"),
        }
    }

    /// How long the run has lasted.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// What the wall clock shows.
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.elapsed()).unwrap() + self.state().offset;
        // A Tuesday, half a minute before the full hour.
        Timestamp::from_second(1_767_697_170).unwrap() + passed
    }

    /// Writes a line of the trace, if this run keeps one.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if !self.traced {
            return;
        }
        let (at, wall) = (self.elapsed(), self.now());
        let mut state = self.state();
        let life = state.life;
        if let Some(trace) = &mut state.trace {
            trace.push_back(format!("{:>10.3}s {} agent {life}: {}", at.as_secs_f64(), wall.strftime("%Y-%m-%d %H:%M:%S"), line()));
            if trace.len() > TRACE {
                trace.pop_front();
            }
        }
    }

    pub fn trace(&self) -> Vec<String> {
        self.state().trace.iter().flatten().cloned().collect()
    }

    /// Whether this agent lives.
    pub fn lives(&self, life: u64) -> bool {
        let state = self.state();
        state.life == life && !state.dead
    }

    /// The agent dies now, whatever it does.
    pub fn die(&self) {
        let mut state = self.state();
        state.dead = true;
        state.death = None;
        drop(state);
        self.died.notify_one();
    }

    /// Counts a call; whether the agent dies here, before (`false`) or after (`true`) its effect.
    pub fn count(&self) -> Option<bool> {
        let mut state = self.state();
        state.calls += 1;
        let calls = state.calls;
        if calls == MOST_CALLS {
            state.referee.fail("no livelock", format!("{MOST_CALLS} calls of drivers"));
        }
        state.death.filter(|(at, _)| *at <= calls).map(|(_, after)| after)
    }

    /// Every asynchronous call of a driver: takes its time, fails, has its effect, or is the last thing an agent does.
    pub async fn call<T, E: std::fmt::Display>(
        &self,
        life: u64,
        what: (&'static str, &str),
        effect: impl FnOnce(&mut State) -> Result<T, E>,
        error: impl FnOnce() -> E,
    ) -> Result<T, E> {
        let (fate, before, after) = self.weather();
        sleep(before).await;
        if !self.lives(life) {
            return std::future::pending().await;
        }
        let dies = self.count();
        if dies == Some(false) {
            self.note(|| format!("dies before {} {}", what.0, what.1));
            self.die();
            return std::future::pending().await;
        }
        let answer = match fate {
            Fate::FailsBefore => Err(error()),
            Fate::Fine => effect(&mut self.state()),
            Fate::FailsAfter => effect(&mut self.state()).and_then(|_| Err(error())),
        };
        self.note(|| format!("{} {}{}", what.0, what.1, answer.as_ref().err().map(|e| format!(" -> {e}")).unwrap_or_default()));
        self.changed.notify_waiters();
        self.report();
        if dies == Some(true) {
            self.note(|| format!("dies after {} {}", what.0, what.1));
            self.die();
            return std::future::pending().await;
        }
        sleep(after).await;
        if !self.lives(life) {
            return std::future::pending().await;
        }
        answer
    }

    fn weather(&self) -> (Fate, Duration, Duration) {
        let mut state = self.state();
        let (faults, slow) = (state.faults, state.slow_calls);
        let dice = &mut state.dice;
        let fate = match dice.chance(faults) {
            false => Fate::Fine,
            true => dice.pick(&[Fate::FailsBefore, Fate::FailsAfter]),
        };
        let mut wait = || if dice.chance(slow) { Duration::from_millis(dice.pick(&[1, 2, 20, 20, 700, 5000])) } else { Duration::ZERO };
        (fate, wait(), wait())
    }

    /// Ends the run if a property was violated.
    pub fn report(&self) {
        if self.state().referee.verdict().is_some() {
            self.failed.notify_one();
        }
    }

    /// A container ends.
    pub fn exit(&self, id: &str, code: u32) {
        let at = self.now();
        let mut state = self.state();
        let Some(container) = state.containers.get_mut(id).filter(|c| matches!(c.state.task, TaskState::Running { .. })) else { return };
        container.state.task = TaskState::Exited(Exit { code, at });
        state.referee.ended(id, code);
        drop(state);
        self.note(|| format!("container {} exits {code}", short(id)));
        self.changed.notify_waiters();
    }

    /// The tasks of these containers are lost with their shims.
    pub fn lose(&self, which: impl Fn(&Container) -> bool) {
        let mut state = self.state();
        let lost: Vec<String> =
            state.containers.iter().filter(|(_, c)| c.state.task != TaskState::None && which(c)).map(|(id, _)| id.clone()).collect();
        for id in &lost {
            if let Some(c) = state.containers.get_mut(id) {
                c.state.task = TaskState::None;
            }
            state.referee.lost(id);
        }
        drop(state);
        self.note(|| format!("{} tasks are lost", lost.len()));
        self.changed.notify_waiters();
    }
}

async fn sleep(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

/// The beginning of an id or uid, for people.
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
