//! At rest: the agent's memory, processor time and wake-ups, what a pod takes beside it, and how soon a killed agent is back.

use std::collections::HashSet;
use std::time::Duration;

use crate::process::{Used, command_line, pss};
use crate::stage::Stage;
use crate::start::model;
use crate::table::{Table, mebibytes, millis};

const PODS: usize = 50;
const BARE: usize = 5;
const WATCHED: Duration = Duration::from_secs(20);
/// After so long nothing that was begun is under way any more.
const SETTLE: Duration = Duration::from_secs(3);
const MIB: u64 = 1 << 20;

/// A fresh agent.
pub async fn without_pods(stage: &Stage, table: &mut Table) -> anyhow::Result<()> {
    tokio::time::sleep(SETTLE).await;
    let memory = pss(stage.agent_pid())?;
    table.judged("agent's PSS, 0 pods, fresh", mebibytes(memory), String::new(), "≤ 12 MiB", memory <= 12 * MIB);
    at_rest(stage, table, "CPU at rest, 0 pods").await
}

/// After everything else was measured, so with whatever that left.
pub async fn with_pods(stage: &mut Stage, table: &mut Table) -> anyhow::Result<()> {
    tokio::time::sleep(SETTLE).await;
    table.told("agent's PSS, 0 pods, after the above", mebibytes(pss(stage.agent_pid())?), String::new());
    let names: Vec<String> = (0..PODS).map(|n| format!("p{n}")).collect();
    stage.drop_in(&names.iter().map(|name| stage.pod(name, true)).collect::<Vec<_>>())?;
    stage.marks.wait(&names, Duration::from_secs(60))?;
    tokio::time::sleep(SETTLE).await;
    let memory = pss(stage.agent_pid())?;
    table.judged(format!("agent's PSS, {PODS} pods"), mebibytes(memory), String::new(), "≤ 25 MiB with 100", memory <= 25 * MIB);
    at_rest(stage, table, &format!("CPU at rest, {PODS} pods")).await?;
    beside_the_agent(stage, table).await?;
    restart(stage, table).await
}

async fn at_rest(stage: &Stage, table: &mut Table, what: &str) -> anyhow::Result<()> {
    let (share, beside) = watched(stage).await?;
    table.judged(what, format!("{share:.3} % of a core"), beside, "≤ 0.1 % with 100", share <= 0.1);
    Ok(())
}

/// The agent's share of a core in per cent while nothing happens, and how often it woke up.
pub async fn watched(stage: &Stage) -> anyhow::Result<(f64, String)> {
    let before = Used::of(stage.agent_pid())?;
    tokio::time::sleep(WATCHED).await;
    let (time, wakes) = Used::of(stage.agent_pid())?.since(&before);
    Ok((100.0 * time.as_secs_f64() / WATCHED.as_secs_f64(), format!("{} wake-ups in {} s", wakes, WATCHED.as_secs())))
}

/// Shim and logger of the pods against bare shims that run beside them.
async fn beside_the_agent(stage: &Stage, table: &mut Table) -> anyhow::Result<()> {
    let pods: HashSet<i32> = stage.lab.shims().into_iter().collect();
    let model = model(stage, true).await?.without_log();
    let with_model: HashSet<i32> = stage.lab.shims().into_iter().collect();
    for n in 0..BARE {
        stage.floor.run(&model, &format!("bare{n}"), &["sleep", "100000"]).await?;
    }
    let mean = |pids: &[i32]| -> anyhow::Result<u64> {
        let sizes = pids.iter().map(|pid| pss(*pid)).collect::<anyhow::Result<Vec<u64>>>()?;
        Ok(sizes.iter().sum::<u64>() / sizes.len().max(1) as u64)
    };
    let bare: Vec<i32> = stage.lab.shims().into_iter().filter(|pid| !with_model.contains(pid)).collect();
    anyhow::ensure!(
        pods.len() == PODS && bare.len() == BARE,
        "{} shims for {PODS} pods, {} for {BARE} bare containers",
        pods.len(),
        bare.len()
    );
    let children = stage.lab.shim_children();
    let loggers: Vec<i32> = children.into_iter().filter(|pid| command_line(*pid).contains(minik8s::logs::LOGGER_ARGUMENT)).collect();
    let (shim, logger, floor) = (mean(&pods.iter().copied().collect::<Vec<_>>())?, mean(&loggers)?, mean(&bare)?);
    let over = (shim + logger) as f64 / floor as f64;
    let beside = format!("shim {} + logger {}; bare shim {}; {over:.2} ×", mebibytes(shim), mebibytes(logger), mebibytes(floor));
    table.judged("per pod beside the agent (PSS)", mebibytes(shim + logger), beside, "≤ 1.2 × a bare shim", over <= 1.2);
    for n in 0..BARE {
        stage.floor.end(&format!("bare{n}")).await?;
    }
    Ok(())
}

/// kill -9, start: every container keeps its process.
async fn restart(stage: &mut Stage, table: &mut Table) -> anyhow::Result<()> {
    let before = stage.floor.tasks().await?;
    stage.kill_agent()?;
    let took = stage.start_agent().await?;
    tokio::time::sleep(SETTLE).await;
    let after = stage.floor.tasks().await?;
    let kept = after.iter().filter(|(id, pid)| before.get(*id) == Some(*pid)).count();
    let (figure, beside) = (millis(took), format!("{kept} of {} containers untouched", before.len()));
    let met = took <= Duration::from_secs(1) && before == after;
    table.judged(format!("kill -9 → all {} adopted", before.len()), figure, beside, "≤ 1 s with 100, none touched", met);
    table.told("agent's PSS after the restart", mebibytes(pss(stage.agent_pid())?), format!("{} pods", before.len()));
    Ok(())
}
