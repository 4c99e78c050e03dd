//! The whole agent in virtual time: the real loop, workers, recovery and controllers on stand-in drivers, with faults drawn from a seed.
//!
//! `SEED=n cargo nextest run --test simulation one_seed` repeats a run and shows its last steps; `make soak SECONDS=60` tries more seeds. The
//! properties are named in `referee`; which deliberate bugs they caught stands in `MUTATIONS.md`.
//!
//! MUST be a function of the seed alone: no real time, no threads within a run, no order of a HashMap. MUST NOT need root or containerd.

#![allow(missing_docs, clippy::unwrap_used)]

mod agent;
mod dice;
mod drivers;
mod mutations;
mod referee;
mod run;
mod scenario;
mod shrink;
mod watchdog;
mod workloads;
mod world;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use run::{Outcome, run};
use scenario::Scenario;

/// What `make test` tries.
const SEEDS: u64 = 10_000;

/// Markers and log directories are real files: in memory, where there is room.
fn scratch() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("minik8s-simulation-").tempdir_in(base).unwrap()
}

fn try_seed(seed: u64, base: &std::path::Path, traced: bool) -> Outcome {
    run(&Scenario::draw(seed), &base.join(seed.to_string()), traced)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Tries seeds from `first` on, on all cores, until one fails, `seeds` are done or the time is over. How many were played to their end.
fn try_many(first: u64, seeds: u64, lasts: Duration) -> u64 {
    let (next, stop, began) = (AtomicU64::new(first), AtomicBool::new(false), Instant::now());
    let [done, calls, lives, pods] = [const { AtomicU64::new(0) }; 4];
    let failed = std::sync::Mutex::new(None);
    let work = || {
        let base = scratch();
        while !stop.load(Ordering::Relaxed) && began.elapsed() < lasts {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first.saturating_add(seeds) {
                return;
            }
            let outcome = try_seed(seed, base.path(), false);
            for (sum, n) in [(&done, 1), (&calls, outcome.calls), (&lives, outcome.lives), (&pods, outcome.pods as u64)] {
                sum.fetch_add(n, Ordering::Relaxed);
            }
            let Some(violation) = outcome.violation else { continue };
            println!("seed {seed} violates \"{}\": {}", violation.property, violation.text);
            if std::env::var_os("SURVEY").is_none() {
                stop.store(true, Ordering::Relaxed);
            }
            failed.lock().unwrap().get_or_insert(seed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            std::thread::Builder::new().name("simulation".into()).spawn_scoped(scope, work).unwrap();
        }
    });
    let [done, calls, lives, pods] = [done, calls, lives, pods].map(AtomicU64::into_inner);
    println!("{done} seeds from {first} in {:.1?}: {lives} agents, {pods} pods, {calls} calls of drivers", began.elapsed());
    if let Some(seed) = failed.into_inner().unwrap() {
        panic!("{}", explain(seed));
    }
    done
}

/// What there is to say of a seed that fails: the property, the smallest scenario found that still violates it, and its last steps.
fn explain(seed: u64) -> String {
    let base = scratch();
    let Some(violation) = try_seed(seed, base.path(), false).violation else {
        return format!("seed {seed} failed once and does not fail again: the simulation is not deterministic");
    };
    let small = shrink::shrink(Scenario::draw(seed), violation.property, |s| run(s, &base.path().join("small"), false).violation);
    let outcome = run(&small, &base.path().join("traced"), true);
    let text = outcome.violation.map(|v| v.text).unwrap_or_default();
    format!(
        "seed {seed} violates \"{}\": {}\nsmallest scenario found: {text}\n{small:#?}\nits last steps:\n{}\n\nrepeat it: SEED={seed} cargo nextest run --test simulation one_seed",
        violation.property,
        violation.text,
        outcome.trace.join("\n")
    )
}

#[test]
fn ten_thousand_seeds() {
    let (seeds, most) = (number("SEEDS").unwrap_or(SEEDS), Duration::from_secs(600));
    let done = try_many(number("FIRST").unwrap_or(0), seeds, most);
    assert_eq!(done, seeds, "too slow: not all seeds were tried within {most:?}");
}

/// `SEED=n`: that run, with its trace where it fails.
#[test]
fn one_seed() {
    let seed = number("SEED").unwrap_or(1);
    let outcome = try_seed(seed, scratch().path(), false);
    assert!(outcome.violation.is_none(), "{}", explain(seed));
}

/// `make soak SECONDS=n`.
#[test]
#[ignore = "as long as SECONDS says: make soak"]
fn soak() {
    let first = number("FIRST").unwrap_or_else(|| u64::from(std::process::id()) << 32);
    let done = try_many(first, u64::MAX, Duration::from_secs(number("SECONDS").unwrap_or(60)));
    assert!(done > 0, "no seed was played to its end");
}

#[test]
fn a_seed_is_the_whole_story() {
    let base = scratch();
    for seed in 0..40 {
        let (one, two) = (try_seed(seed, base.path(), true), try_seed(seed, base.path(), true));
        let differs = one.trace.iter().zip(&two.trace).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed} went two ways");
        assert_eq!((one.calls, one.trace.len()), (two.calls, two.trace.len()), "seed {seed} went two ways");
    }
}
