//! Scenarios: each `tests/scenarios/<name>.txt` (settings, changes, manifests) against its timeline `<name>.timeline`, on the simulation of
//! `minik8s simulate`. `UPDATE_GOLDEN=1` writes the timelines anew (read the diff!).

use std::path::{Path, PathBuf};

use minik8s::cli::simulate::shown;
use minik8s::simulation::{Outcome, run, scenario};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn play(path: &Path) -> Outcome {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (settings, changes) = scenario::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    run(&settings, changes)
}

#[test]
fn every_scenario_has_its_timeline() {
    let entries = std::fs::read_dir(directory()).expect("the scenarios are there").map(|e| e.expect("an entry").path());
    let mut paths: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "txt")).collect();
    paths.sort();
    assert!(paths.len() > 10, "too few scenarios");
    let mut wrong = Vec::new();
    for path in paths {
        let (golden, output) = (path.with_extension("timeline"), shown(&play(&path)));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &output).expect("a golden file can be written");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if output != expected {
            wrong.push(format!("{}\n--- expected\n{expected}+++ is\n{output}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

/// SEMANTICS §3's check, measured on Kubernetes 1.34: gaps of 20, 80 and 320 s, 8 failed pods, 9 m 06 s in all.
#[test]
fn the_job_of_the_specification_takes_nine_minutes_and_six_seconds() {
    let outcome = play(&directory().join("job-backoff-9m06s.txt"));
    let at = |reason: &str| outcome.timeline.iter().filter(|e| e.reason == reason).map(|e| e.elapsed.as_millis()).collect::<Vec<_>>();
    assert_eq!(at("Failed=True"), [546_000]);
    let (made, failed) = (at("SuccessfulCreate"), at("Error"));
    assert_eq!((made.len(), failed.len()), (8, 8));
    let gaps: Vec<_> = (1..4).map(|round| made[2 * round] - failed[2 * round - 1]).collect();
    assert_eq!(gaps, [20_000, 80_000, 320_000]);
}

#[test]
fn the_same_scenario_plays_the_same() {
    let path = directory().join("cronjob-forbid.txt");
    assert_eq!(shown(&play(&path)), shown(&play(&path)));
}
