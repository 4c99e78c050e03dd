//! `make bench`: how fast and how small the built agent is, as ratios against containerd's own floor in the same run.
//!
//! Guarantees: prints one table with the targets beside the figures; leaves nothing behind, told to end before or not; ends within [`LIMIT`]; exits with 1 if something
//! could not be measured, never because a target is missed. Leaves the judgement of a figure on a busy machine to the reader: what it is
//! compared with ran in between, so that noise hits all alike. `BENCH_FULL=1` runs the Job of 200 pods instead of 60;
//! `BENCH_ONLY=one,jobs` runs these sections only (rest, one, many, jobs, scale).
//! Must run as root, with containerd, runc and busybox-static installed, on an otherwise quiet machine.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../../tests/lab/mod.rs"]
mod lab;

mod floor;
mod jobs;
mod manifest;
mod marks;
mod process;
mod rest;
mod scale;
mod stage;
mod start;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use stage::Stage;
use table::Table;
use tokio::signal::unix::{SignalKind, signal};

/// The whole run without its cleaning.
const LIMIT: Duration = Duration::from_secs(400);
/// The same with `BENCH_FULL=1`.
const FULL_LIMIT: Duration = Duration::from_secs(670);

fn main() -> ExitCode {
    // `cargo test --benches` and `cargo bench -- --list` must not start a measurement.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut table = Table::default();
    let limit = if is_full() { FULL_LIMIT } else { LIMIT };
    let measured = runtime.block_on(async {
        // What is dropped unfinished takes its agent, its containerd and its files with it.
        tokio::select! {
            measured = tokio::time::timeout(limit, measure(&mut table)) => {
                measured.unwrap_or_else(|_| Err(anyhow::anyhow!("it took longer than {} s", limit.as_secs())))
            }
            signal = asked_to_stop() => Err(anyhow::anyhow!("stopped by {signal}")),
        }
    });
    println!("\n{table}");
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: not everything could be measured: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for a signal that asks the process to end, and names it.
async fn asked_to_stop() -> &'static str {
    let listen = |kind| signal(kind).unwrap();
    let (mut terminate, mut interrupt, mut hangup) =
        (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::hangup()));
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        _ = hangup.recv() => "SIGHUP",
    }
}

fn is_full() -> bool {
    std::env::var("BENCH_FULL").is_ok_and(|value| value == "1")
}

async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let outcome = sections(&mut stage, table).await;
    if outcome.is_err() {
        eprintln!("--- the agent's log ends:\n{}", stage.log_tail());
    }
    outcome.and(stage.close().await)
}

async fn sections(stage: &mut Stage, table: &mut Table) -> anyhow::Result<()> {
    if wanted("rest") {
        println!("at rest without pods …");
        rest::without_pods(stage, table).await?;
    }
    if wanted("one") {
        println!("one manifest …");
        start::one_manifest(stage, table, true).await?;
        start::one_manifest(stage, table, false).await?;
    }
    if wanted("many") {
        println!("many manifests at once …");
        start::many_manifests(stage, table).await?;
    }
    if wanted("jobs") {
        println!("Jobs …");
        jobs::throughput(stage, table).await?;
    }
    if wanted("rest") {
        println!("at rest with pods …");
        rest::with_pods(stage, table).await?;
    }
    if wanted("scale") {
        println!("ten thousand manifests …");
        scale::ten_thousand(stage, table).await?;
    }
    Ok(())
}

/// Whether `BENCH_ONLY`, a list like `one,jobs`, names this section; all are wanted where it is not set.
fn wanted(section: &str) -> bool {
    std::env::var("BENCH_ONLY").map_or(true, |only| only.split(',').any(|name| name == section))
}
