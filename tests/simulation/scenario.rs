//! What happens in one run, as a value: drawn from the seed, and cut down by the shrinker.

use std::time::Duration;

use super::dice::Dice;
use super::workloads::Workload;

/// Something that happens to the agent or around it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// kill -9 at the agent's n-th call of a driver from now, before or after its effect; it is started again `down` later.
    Kill { calls: u64, after: bool, down: Duration },
    /// SIGTERM and a new start.
    Restart { down: Duration },
    /// The host goes down and comes up again: nothing runs, `/run` is empty.
    Reboot { down: Duration },
    /// containerd goes and comes back; perhaps some shims die with it.
    Containerd { down: Duration, shims_die: bool },
    /// The wall clock is set.
    Clock { seconds: i64 },
    /// A manifest is edited.
    Edit { file: usize, to: Workload },
    /// A manifest is removed, or comes back as it last was.
    Toggle { file: usize },
    /// A manifest is broken by an editor, or mended.
    Break { file: usize },
    /// The Node's manifest changes.
    Node { zone: &'static str, taint: Option<&'static str>, cordoned: bool },
    /// The node is cordoned and uncordoned by command, again and again; each sync takes this long from now on, so that something is under way.
    Cordon { every: Duration, takes: Duration },
    /// No space is left for so long.
    DiskFull { lasts: Duration },
    /// Each sync takes this long from now on.
    Disk { takes: Duration },
    /// So many of a thousand calls fail, for so long.
    Faults { permille: u64, lasts: Duration },
    /// Somebody else kills a container.
    Murder { which: u64 },
    /// More events of the runtime than anybody listens to.
    Flood,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub seed: u64,
    pub files: Vec<Workload>,
    /// In order of time, each so long after the start.
    pub events: Vec<(Duration, Event)>,
    /// Of a thousand calls so many take a while.
    pub slow_calls: u64,
    /// Of a thousand calls so many fail, all the time.
    pub faults: u64,
    /// How long the eventful part lasts.
    pub lasts: Duration,
}

impl Scenario {
    /// The scenario of this seed.
    pub fn draw(seed: u64) -> Scenario {
        let mut dice = Dice::new(seed);
        let files: Vec<Workload> = (0..dice.pick(&[1, 1, 2, 3])).map(|_| Workload::draw(&mut dice)).collect();
        let lasts = Duration::from_secs(dice.pick(&[30, 60, 150, 400]));
        let mut newest = files.clone();
        let mut times: Vec<u64> = (0..dice.between(0, 9)).map(|_| moment(&mut dice, lasts)).collect();
        times.sort_unstable();
        let events = times.into_iter().map(|at| (Duration::from_millis(at), event(&mut dice, &mut newest))).collect();
        Scenario { seed, files, events, slow_calls: dice.pick(&[0, 50, 400]), faults: dice.pick(&[0, 0, 10, 60]), lasts }
    }
}

/// Half of all things happen in the first seconds, where most is going on.
fn moment(dice: &mut Dice, lasts: Duration) -> u64 {
    let longest = if dice.chance(500) { 20_000 } else { u64::try_from(lasts.as_millis()).unwrap() };
    dice.below(longest)
}

fn event(dice: &mut Dice, newest: &mut [Workload]) -> Event {
    let file = usize::try_from(dice.below(newest.len() as u64)).unwrap();
    let down = |dice: &mut Dice| Duration::from_millis(dice.pick(&[1, 50, 2_000, 45_000]));
    match dice.below(100) {
        0..30 => Event::Kill { calls: dice.between(1, 40), after: dice.chance(500), down: down(dice) },
        30..33 => Event::Restart { down: down(dice) },
        33..39 => Event::Reboot { down: down(dice) },
        39..46 => Event::Containerd { down: down(dice), shims_die: dice.chance(300) },
        46..54 => Event::Clock { seconds: clock_step(dice) },
        54..66 => {
            newest[file] = newest[file].edited(dice);
            Event::Edit { file, to: newest[file].clone() }
        }
        66..73 => Event::Toggle { file },
        73..76 => Event::Break { file },
        76..82 => Event::Node {
            zone: dice.pick(&["a", "a", "b"]),
            taint: dice.pick(&[None, None, Some("NoSchedule"), Some("NoExecute")]),
            cordoned: dice.chance(150),
        },
        82..86 => Event::DiskFull { lasts: down(dice) },
        86..89 => Event::Disk { takes: Duration::from_millis(dice.pick(&[0, 5, 300])) },
        89..94 => Event::Faults { permille: dice.pick(&[100, 300, 700]), lasts: down(dice) },
        94..96 => {
            let every = Duration::from_millis(dice.between(20, 600));
            Event::Cordon { every, takes: Duration::from_millis(dice.pick(&[0, 5, 300])) }
        }
        96..98 => Event::Murder { which: dice.roll() },
        _ => Event::Flood,
    }
}

fn clock_step(dice: &mut Dice) -> i64 {
    let size = dice.pick(&[2, 90, 4_000, 90_000, 40_000_000]);
    if dice.chance(500) { size } else { -size }
}
