//! From the rename of manifests into the directory until their processes run, beside the floor and `ctr run`.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};

use crate::floor::Model;
use crate::marks::{INSIDE, Marks};
use crate::stage::Stage;
use crate::table::{Samples, Table, millis, ratio};

const SAMPLES: usize = 20;
const WARM_UP: usize = 2;
const MANY: usize = 30;
const ROUNDS: usize = 2;
const LIMIT: Duration = Duration::from_secs(60);
/// The model pod, whose container lends its options to the floor.
pub const MODEL: &str = "model";

/// A running pod as the floor's model.
pub async fn model(stage: &Stage, host_network: bool) -> anyhow::Result<Model> {
    stage.drop_in(&[stage.pod(MODEL, host_network)])?;
    stage.marks.wait(&[MODEL.to_owned()], LIMIT)?;
    // Running as the agent sees it too.
    tokio::time::sleep(Duration::from_millis(200)).await;
    stage.floor.model("model-bench-node").await
}

/// One manifest, again and again, in turn with the floor and ctr.
pub async fn one_manifest(stage: &Stage, table: &mut Table, host_network: bool) -> anyhow::Result<()> {
    let model = model(stage, host_network).await?;
    let (mut agent, mut floor, mut ctr) = (Samples::default(), Samples::default(), Samples::default());
    for n in 0..SAMPLES + WARM_UP {
        let times = [by_agent(stage, n, host_network).await?, by_floor(stage, &model, n).await?, by_ctr(stage, n, host_network).await?];
        if n >= WARM_UP {
            [&mut agent, &mut floor, &mut ctr].into_iter().zip(times).for_each(|(samples, time)| samples.push(time));
        }
    }
    stage.keep_only(&[]).await?;
    let over = ratio(agent.p50(), floor.p50());
    let beside = format!("floor {floor}; ctr run -d {ctr}; {over:.2} × floor");
    if host_network {
        let met = over <= 1.25 && agent.p50() < ctr.p50();
        table.judged("manifest → runs, host network", agent.to_string(), beside, "≤ 1.25 × floor, < ctr run", met);
    } else {
        table.told("manifest → runs, built-in bridge (floor and ctr without)", agent.to_string(), beside);
    }
    Ok(())
}

async fn by_agent(stage: &Stage, n: usize, host_network: bool) -> anyhow::Result<Duration> {
    let name = format!("a{n}");
    let begun = stage.drop_in(&[stage.pod(&name, host_network)])?;
    let runs = stage.marks.wait(&[name], LIMIT)?;
    // The pod's own status is written now; then it goes.
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage.keep_only(&[MODEL]).await?;
    Ok(runs - begun)
}

async fn by_floor(stage: &Stage, model: &Model, n: usize) -> anyhow::Result<Duration> {
    let name = format!("f{n}");
    let begun = Instant::now();
    stage.floor.run(model, &name, &["sh", "-c", &Marks::script(&name)]).await?;
    let runs = stage.marks.wait(std::slice::from_ref(&name), LIMIT)?;
    stage.floor.end(&name).await?;
    Ok(runs - begun)
}

async fn by_ctr(stage: &Stage, n: usize, host_network: bool) -> anyhow::Result<Duration> {
    let name = format!("c{n}");
    let (mount, script) = (format!("type=bind,src={},dst={INSIDE},options=rbind:rw", stage.marks.dir().display()), Marks::script(&name));
    let mut arguments = vec!["run", "-d", "--mount", &mount, "--memory-limit", "67108864", "--cpus", "1"];
    if host_network {
        arguments.push("--net-host");
    }
    arguments.extend(["docker.io/library/busybox:latest", &name, "sh", "-c", &script]);
    let begun = Instant::now();
    stage.lab.ctr(&arguments);
    let runs = stage.marks.wait(std::slice::from_ref(&name), LIMIT)?;
    stage.floor.end(&name).await?;
    Ok(runs - begun)
}

/// Many at once, against as many raw creates at several concurrencies; the best round of each counts.
pub async fn many_manifests(stage: &Stage, table: &mut Table) -> anyhow::Result<()> {
    let model = model(stage, true).await?;
    let mut agent = Vec::new();
    let mut floor = Vec::new();
    for round in 0..ROUNDS {
        let names: Vec<String> = (0..MANY).map(|n| format!("m{round}-{n}")).collect();
        let manifests: Vec<_> = names.iter().map(|name| stage.pod(name, true)).collect();
        let begun = stage.drop_in(&manifests)?;
        agent.push(stage.marks.wait(&names, LIMIT)? - begun);
        tokio::time::sleep(Duration::from_millis(500)).await;
        stage.keep_only(&[MODEL]).await?;
        for at_once in [2, 4, 8] {
            floor.push((many_raw(stage, &model, at_once).await?, at_once));
        }
    }
    stage.keep_only(&[]).await?;
    let took = agent.into_iter().min().unwrap_or_default();
    let (best, at_once) = floor.into_iter().min().unwrap_or_default();
    let beside = format!("{MANY} raw creates, {at_once} at once: {}; {:.2} × floor", millis(best), ratio(took, best));
    table.judged(format!("{MANY} manifests at once → all run"), millis(took), beside, "≤ 1.1 × raw creates", ratio(took, best) <= 1.1);
    Ok(())
}

async fn many_raw(stage: &Stage, model: &Model, at_once: usize) -> anyhow::Result<Duration> {
    let names: Vec<String> = (0..MANY).map(|n| format!("r{n}")).collect();
    let begun = Instant::now();
    futures::stream::iter(&names)
        .map(|name| async move { stage.floor.run(model, name, &["sh", "-c", &Marks::script(name)]).await })
        .buffer_unordered(at_once)
        .try_collect::<Vec<()>>()
        .await?;
    let took = stage.marks.wait(&names, LIMIT)? - begun;
    futures::stream::iter(&names).map(|name| stage.floor.end(name)).buffer_unordered(4).try_collect::<Vec<()>>().await?;
    Ok(took)
}
