//! One run: the scenario's events on time, restarts after each death, then quiet until everything has come to rest.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use jiff::SignedDuration;
use minik8s::agent::manifests::ManifestSet;
use minik8s::api::{Object, well_known};
use minik8s::runtime::{RuntimeEvent, TaskState};
use minik8s::store::Op;
use minik8s::store::mirror::Batch;
use tokio::time::Instant;

use super::agent::Agent;
use super::referee::{self, Violation};
use super::scenario::{Event, Scenario};
use super::workloads::{self, Workload};
use super::world::World;

/// How long things may take to come to rest: back-offs of ten minutes, several in a row.
const PATIENCE: Duration = Duration::from_secs(12 * 3600);

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub violation: Option<Violation>,
    /// The last steps, if they were asked for.
    pub trace: Vec<String>,
    /// Calls of drivers: how much went on.
    pub calls: u64,
    pub lives: u64,
    pub pods: usize,
}

/// A manifest as it is now.
struct File {
    name: String,
    workload: Workload,
    present: bool,
    broken: bool,
    /// What was last asked for, to tell an edit from another object.
    identity: Option<String>,
    /// The workload as it was read: the manifests room, too, reads a file once.
    object: Option<Arc<Object>>,
}

impl File {
    fn object(&mut self) -> Arc<Object> {
        let (name, workload) = (&self.name, &self.workload);
        self.object.get_or_insert_with(|| workload.object(name)).clone()
    }

    fn becomes(&mut self, workload: Workload) {
        if self.workload != workload {
            (self.workload, self.object) = (workload, None);
        }
    }
}

/// Runs the scenario in `dir`, on a runtime of its own with virtual time.
pub fn run(scenario: &Scenario, dir: &Path, traced: bool) -> Outcome {
    note_panics();
    PANIC.take();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let outcome = runtime.block_on(async {
        let world = World::new(scenario.seed, dir, scenario.slow_calls, scenario.faults, traced);
        let mut run = Run::new(scenario, world.clone());
        let rest = run.play().await;
        let state = world.state();
        let violation =
            PANIC.take().map(|text| Violation { property: "no panic", text }).or_else(|| state.referee.verdict().cloned()).or(rest);
        let (calls, lives) = (state.calls, state.life);
        let pods = state.referee.pods_seen();
        drop(state);
        Outcome { violation, trace: world.trace(), calls, lives, pods }
    });
    drop(runtime);
    let _ = std::fs::remove_dir_all(dir);
    outcome
}

/// Panics of tasks are tokio's to catch; the hook remembers them for the thread that runs the scenario.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANIC.with_borrow_mut(|p| p.get_or_insert_with(|| info.to_string()).len());
            if std::thread::current().name() != Some("simulation") {
                before(info);
            }
        }));
    });
}

struct Run<'s> {
    scenario: &'s Scenario,
    world: Arc<World>,
    agent: Option<Agent>,
    /// When the agent is started again.
    up_at: Option<Instant>,
    down: Duration,
    files: Vec<File>,
    node: (&'static str, Option<&'static str>, bool),
    /// What ends by itself: an outage, a full disk, a burst of faults.
    ends: Vec<(Instant, Ends)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Containerd,
    DiskFull,
    Faults,
}

impl<'s> Run<'s> {
    fn new(scenario: &'s Scenario, world: Arc<World>) -> Run<'s> {
        let file = |(n, w): (usize, &Workload)| {
            let (name, workload) = (format!("w{n}"), w.clone());
            File { name, workload, present: true, broken: false, identity: None, object: None }
        };
        let files = scenario.files.iter().enumerate().map(file).collect();
        Run { scenario, world, agent: None, up_at: None, down: Duration::ZERO, files, node: ("a", None, false), ends: Vec::new() }
    }

    /// The whole run. Returns what never came to rest; other violations are the referee's.
    async fn play(&mut self) -> Option<Violation> {
        self.sow();
        self.publish();
        self.agent = Some(Agent::start(&self.world));
        let began = Instant::now();
        for (at, event) in &self.scenario.events {
            if self.pass(began + *at).await {
                return None;
            }
            self.happens(event).await;
        }
        if self.pass(began + self.scenario.lasts).await {
            return None;
        }
        self.quiet().await;
        let until = Instant::now() + PATIENCE;
        loop {
            let next = Instant::now() + Duration::from_secs(15);
            if self.pass(next).await {
                return None;
            }
            // What a command has said stands until another says otherwise.
            self.cordon(&[false], Duration::ZERO);
            let left = self.unmet();
            if left.is_empty() {
                break;
            }
            if Instant::now() > until {
                return Some(Violation { property: "comes to rest", text: left.join("; ") });
            }
        }
        // What is at rest stays so.
        if self.pass(Instant::now() + Duration::from_secs(35)).await {
            return None;
        }
        let left = self.unmet();
        (!left.is_empty()).then(|| Violation { property: "comes to rest", text: format!("not for long: {}", left.join("; ")) })
    }

    fn unmet(&mut self) -> Vec<String> {
        let asked = |f: &mut File| (f.name.clone(), f.present.then(|| (f.workload.clone(), f.object())));
        let files: Vec<_> = self.files.iter_mut().map(asked).collect();
        let mut left = referee::unmet(&self.world.state(), &files);
        if self.agent.as_ref().is_none_or(Agent::has_stopped) {
            left.push("the agent does not run".into());
        }
        left
    }

    /// The seed of names is stored, as a first start would have done.
    fn sow(&self) {
        let mut state = self.world.state();
        let mut batch = Batch::after(0);
        let seed = self.scenario.seed.to_be_bytes().to_vec();
        batch.add(&state.mirror, vec![Op::Record { name: well_known::SEED.to_owned(), value: Some(seed) }]).unwrap();
        state.mirror.apply(&batch);
    }

    /// Lets time pass until then, starting the agent again after each death. True: the run is over.
    async fn pass(&mut self, until: Instant) -> bool {
        let world = self.world.clone();
        loop {
            if PANIC.with_borrow(Option::is_some) || world.state().referee.verdict().is_some() {
                return true;
            }
            let next = self.ends.iter().map(|(at, _)| *at).chain(self.up_at).chain([until]).min().unwrap_or(until);
            tokio::select! {
                biased;
                () = world.failed.notified() => return true,
                () = world.died.notified() => self.died().await,
                () = tokio::time::sleep_until(next) => {
                    self.end_what_is_over();
                    if self.up_at.is_some_and(|at| at <= Instant::now()) {
                        self.up_at = None;
                        self.agent = Some(Agent::start(&world));
                    }
                    if Instant::now() >= until {
                        return false;
                    }
                }
            }
        }
    }

    async fn died(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.kill(&self.world).await;
            self.up_at = Some(Instant::now() + self.down);
        }
    }

    fn end_what_is_over(&mut self) {
        let now = Instant::now();
        let over: Vec<Ends> = self.ends.iter().filter(|(at, _)| *at <= now).map(|(_, what)| *what).collect();
        self.ends.retain(|(at, _)| *at > now);
        for what in over {
            self.end(what);
        }
    }

    fn end(&mut self, what: Ends) {
        let mut state = self.world.state();
        match what {
            Ends::Containerd => state.away = false,
            Ends::DiskFull => state.disk_full = false,
            Ends::Faults => state.faults = self.scenario.faults,
        }
        drop(state);
        if what == Ends::Containerd {
            self.world.note(|| "containerd is back".into());
            let _ = self.world.events.send(RuntimeEvent::Connected);
            self.world.changed.notify_waiters();
        }
    }

    async fn happens(&mut self, event: &Event) {
        self.world.note(|| format!("--- {event:?}"));
        match event {
            Event::Kill { calls, after, down } => {
                self.down = *down;
                let mut state = self.world.state();
                state.death = Some((state.calls + calls, *after));
            }
            Event::Restart { down } => {
                if let Some(agent) = self.agent.take() {
                    agent.stop(&self.world).await;
                    self.up_at = Some(Instant::now() + *down);
                }
            }
            Event::Reboot { down } => self.reboot(*down).await,
            Event::Containerd { down, shims_die } => {
                self.world.state().away = true;
                if *shims_die {
                    let seed = self.world.state().dice.roll();
                    self.world.lose(|c| crate::dice::of_text(seed, &c.uid).is_multiple_of(2));
                }
                let _ = self.world.events.send(RuntimeEvent::Disconnected);
                self.world.changed.notify_waiters();
                self.ends.push((Instant::now() + *down, Ends::Containerd));
            }
            Event::Clock { seconds } => {
                self.world.state().offset += SignedDuration::from_secs(*seconds);
                self.world.clock_set.notify_waiters();
            }
            Event::Edit { .. } | Event::Toggle { .. } | Event::Break { .. } | Event::Node { .. } => self.edit(event),
            Event::Cordon { every, takes } => {
                self.world.state().disk_takes = *takes;
                self.cordon(&[true, false].repeat(4), *every);
            }
            Event::DiskFull { lasts } => {
                self.world.state().disk_full = true;
                self.ends.push((Instant::now() + *lasts, Ends::DiskFull));
            }
            Event::Disk { takes } => self.world.state().disk_takes = *takes,
            Event::Faults { permille, lasts } => {
                self.world.state().faults = *permille;
                self.ends.push((Instant::now() + *lasts, Ends::Faults));
            }
            Event::Murder { which } => self.murder(*which),
            Event::Flood => (0..40).for_each(|_| drop(self.world.events.send(RuntimeEvent::Changed { id: "x".into() }))),
        }
    }

    fn murder(&self, which: u64) {
        let running: Vec<String> = {
            let state = self.world.state();
            let running = |c: &&super::world::Container| matches!(c.state.task, TaskState::Running { .. });
            state.containers.values().filter(running).map(|c| c.state.id.clone()).collect()
        };
        if let Some(id) = usize::try_from(which).ok().and_then(|n| running.get(n % running.len().max(1))) {
            self.world.exit(id, 137);
        }
    }

    async fn reboot(&mut self, down: Duration) {
        if let Some(agent) = self.agent.take() {
            agent.kill(&self.world).await;
        }
        self.world.lose(|_| true);
        let mut state = self.world.state();
        state.boot += 1;
        state.away = false;
        state.namespaces.clear();
        state.cgroups.clear();
        drop(state);
        let _ = std::fs::remove_dir_all(self.world.dir.join("run"));
        self.up_at = Some(Instant::now() + down);
    }

    fn cordon(&mut self, on: &[bool], every: Duration) {
        if let Some(agent) = &mut self.agent {
            agent.cordon(on.to_vec(), every);
        }
    }

    fn edit(&mut self, event: &Event) {
        match event {
            Event::Edit { file, to } => self.files[*file].becomes(to.clone()),
            Event::Toggle { file } => self.files[*file].present = !self.files[*file].present,
            Event::Break { file } => self.files[*file].broken = !self.files[*file].broken,
            Event::Node { zone, taint, cordoned } => self.node = (zone, *taint, *cordoned),
            _ => {}
        }
        self.publish();
    }

    /// Tells the agent what the directory holds.
    fn publish(&mut self) {
        let mut set = ManifestSet { objects: vec![workloads::node(self.node.0, self.node.1, self.node.2)], ..ManifestSet::default() };
        let mut keep = BTreeSet::new();
        for file in &mut self.files {
            if !file.present {
                file.identity = None;
                continue;
            }
            if file.broken {
                keep.insert(format!("{}.yaml", file.name));
                continue;
            }
            let identity = Some(file.workload.identity());
            if file.identity != identity {
                file.identity = identity;
                self.world.state().referee.asked(&file.name);
            }
            set.objects.push(file.object());
        }
        set.keep = keep;
        self.world.sets.send_replace(Some(Arc::new(set)));
    }

    /// No more faults, no more edits; CronJobs are suspended, and what is suspended or tainted may go on.
    async fn quiet(&mut self) {
        self.world.note(|| "--- quiet".into());
        self.ends.clear();
        self.end(Ends::Containerd);
        {
            let mut state = self.world.state();
            (state.disk_full, state.disk_takes) = (false, Duration::ZERO);
            (state.faults, state.slow_calls, state.death) = (0, 0, None);
        }
        if self.agent.is_none() && self.up_at.is_none() {
            self.up_at = Some(Instant::now());
        }
        for file in &mut self.files {
            file.broken = false;
            file.becomes(file.workload.quiet());
        }
        self.node = ("a", None, false);
        self.publish();
    }
}
