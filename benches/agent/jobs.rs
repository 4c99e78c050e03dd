//! How many pods of a Job end per second, beside bare create → exit → delete.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};

use crate::floor::Model;
use crate::stage::Stage;
use crate::start::{MODEL, model};
use crate::table::Table;

const LIMIT: Duration = Duration::from_secs(90);

pub async fn throughput(stage: &Stage, table: &mut Table) -> anyhow::Result<()> {
    let model = model(stage, true).await?;
    for (parallelism, pods) in [(1, 20), (8, if crate::is_full() { 200 } else { 60 })] {
        // The floor before and after: what drifts meanwhile is shared.
        let before = raw(stage, &model, "before", parallelism, pods).await?;
        let took = job(stage, parallelism, pods).await?;
        let after = raw(stage, &model, "after", parallelism, pods).await?;
        let (measured, floor) = (pods as f64 / took.as_secs_f64(), 2.0 * pods as f64 / (before + after).as_secs_f64());
        let what = format!("Job of {pods} × /bin/true, parallelism {parallelism}");
        let (figure, beside) = (format!("{measured:.1} pods/s"), format!("floor {floor:.1} pods/s; {:.2} × floor", measured / floor));
        match parallelism {
            8 => table.judged(what, figure, beside, "≥ 0.9 × floor", measured >= 0.9 * floor),
            _ => table.told(what, figure, beside),
        }
    }
    stage.keep_only(&[]).await
}

/// From the rename until the Job's condition Complete can be read.
async fn job(stage: &Stage, parallelism: usize, pods: usize) -> anyhow::Result<Duration> {
    let name = format!("job-{parallelism}");
    let template = serde_json::json!({"spec": stage.pod_spec(true, &["/bin/true"], "Never")});
    let manifest = serde_json::json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"completions": pods, "parallelism": parallelism, "template": template},
    });
    let begun = stage.drop_in(&[manifest])?;
    loop {
        let job = stage.object("Job", &name).await?;
        let conditions = job["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        if conditions.iter().any(|c| c["type"] == "Complete" && c["status"] == "True") {
            break;
        }
        anyhow::ensure!(begun.elapsed() < LIMIT, "{name} does not end: {}", job["status"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    stage.keep_only(&[MODEL]).await?;
    Ok(took)
}

async fn raw(stage: &Stage, model: &Model, when: &str, at_once: usize, pods: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    futures::stream::iter(0..pods)
        .map(|n| async move { stage.floor.run_to_its_end(model, &format!("{when}-{at_once}-{n}"), &["/bin/true"]).await })
        .buffer_unordered(at_once)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(begun.elapsed())
}
