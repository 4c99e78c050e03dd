//! Ten thousand manifests: how long a fresh agent takes to have them all, how soon one change is seen, and what they cost at rest.
//!
//! A mix that starts no container here: DaemonSets for other nodes, suspended Jobs and CronJobs. Everything is asked of the agent's API.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::pss;
use crate::rest::watched;
use crate::stage::{IMAGE, Stage};
use crate::table::{Samples, Table, mebibytes, millis};

const MANIFESTS: usize = 10_000;
const CHANGES: usize = 30;
const LIMIT: Duration = Duration::from_secs(60);
const COLD: Duration = Duration::from_secs(2);
const CHANGED: Duration = Duration::from_millis(50);
/// Files as young as this are read a second time (`TICK` in the agent's manifests room).
const SETTLE: Duration = Duration::from_secs(3);

pub async fn ten_thousand(stage: &mut Stage, table: &mut Table) -> anyhow::Result<()> {
    stage.keep_only(&[]).await?;
    stage.forget_everything()?;
    stage.drop_in(&(0..MANIFESTS).map(manifest).collect::<Vec<_>>())?;
    let begun = Instant::now();
    let answers = stage.start_agent().await?;
    let took = settled(stage).await? - begun;
    let beside = format!("the API answers after {}", millis(answers));
    table.judged(format!("{MANIFESTS} manifests, cold: decoded, judged, durable"), millis(took), beside, "≤ 2 s", took <= COLD);
    tokio::time::sleep(SETTLE).await;
    one_change(stage, table).await?;
    table.told("agent's PSS with them", mebibytes(pss(stage.agent_pid())?), String::new());
    let (share, beside) = watched(stage).await?;
    table.told("CPU at rest with them (every file is looked at each 20 s)", format!("{share:.3} % of a core"), beside);
    stage.kill_agent()?;
    let begun = Instant::now();
    stage.start_agent().await?;
    let took = settled(stage).await? - begun;
    table.told("kill -9 with them → all known again", millis(took), String::new());
    Ok(())
}

/// Every third is of one kind.
fn manifest(n: usize) -> Value {
    let name = format!("w{n:05}");
    let containers = json!([{"name": "main", "image": IMAGE, "command": ["sleep", "60"], "env": [{"name": "N", "value": n.to_string()}],
        "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}, "requests": {"cpu": "10m", "memory": "16Mi"}}}]);
    let job = json!({"restartPolicy": "Never", "containers": containers});
    match n % 3 {
        0 => json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name}, "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"nodeSelector": {"zone": "elsewhere"}, "containers": containers}}}}),
        1 => json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"suspend": true, "template": {"spec": job}}}),
        _ => json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
            "spec": {"schedule": "*/5 * * * *", "suspend": true, "jobTemplate": {"spec": {"template": {"spec": job}}}}}),
    }
}

/// Waits until every workload is stored and its controller has said what it makes of it; the instant when that was so. The last of each kind is
/// asked for first, which costs the agent nothing; then all are counted.
async fn settled(stage: &Stage) -> anyhow::Result<Instant> {
    let deadline = Instant::now() + LIMIT;
    let kinds = ["DaemonSet", "Job", "CronJob"];
    let last = |kind: usize| format!("w{:05}", (0..MANIFESTS).rev().find(|n| n % 3 == kind).unwrap_or_default());
    let known = |kind: &str, object: &Value| match kind {
        "DaemonSet" => object["status"]["observedGeneration"] == json!(1),
        "Job" => object["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|c| c["type"] == "Suspended")),
        _ => object["metadata"]["uid"].is_string(),
    };
    for (n, kind) in kinds.into_iter().enumerate() {
        while !known(kind, &stage.object(kind, &last(n)).await?) {
            anyhow::ensure!(Instant::now() < deadline, "the last {kind} is not known after {LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let mut when = Instant::now();
    for (n, kind) in kinds.into_iter().enumerate() {
        let expected = (0..MANIFESTS).filter(|m| m % 3 == n).count();
        while stage.objects(kind).await?.iter().filter(|object| known(kind, object)).count() < expected {
            when = Instant::now();
            anyhow::ensure!(when < deadline, "not every {kind} is known after {LIMIT:?}");
        }
    }
    Ok(when)
}

/// From the rename of one file to the new state in the API.
async fn one_change(stage: &Stage, table: &mut Table) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    for n in 0..CHANGES {
        let (mut changed, minute) = (manifest(3 * (n * 97 % 3333) + 2), format!("{n} 4 * * *"));
        changed["spec"]["schedule"] = json!(minute);
        let name = changed["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let begun = stage.drop_in(&[changed])?;
        while stage.object("CronJob", &name).await?["spec"]["schedule"] != json!(minute) {
            anyhow::ensure!(begun.elapsed() < LIMIT, "the change of {name} is not seen");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        samples.push(begun.elapsed());
    }
    let met = samples.p50() <= CHANGED;
    table.judged(format!("one of {MANIFESTS} manifests changed → seen (p50)"), millis(samples.p50()), samples.to_string(), "≤ 50 ms", met);
    Ok(())
}
