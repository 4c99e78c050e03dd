//! How long the driver takes beside the bare calls. Prints; asserts only what no load can blur.

use std::time::{Duration, Instant};

use minik8s::runtime::Runtime;

use crate::stage::Stage;

fn p50(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn create_to_running() {
    let stage = Stage::new().await;
    let (mut running, mut gone) = (Vec::new(), Vec::new());
    for n in 0..15 {
        let config = stage.container(&format!("c{n}"), &["sleep", "1000"]);
        let begun = Instant::now();
        stage.start(&config).await;
        running.push(begun.elapsed());
        stage.runtime.remove(&config.id).await.unwrap();
        gone.push(begun.elapsed());
    }
    let mut ctr = Vec::new();
    for n in 0..5 {
        let begun = Instant::now();
        stage.lab.ctr(&["run", "-d", "docker.io/library/busybox:latest", &format!("r{n}"), "sleep", "1000"]);
        ctr.push(begun.elapsed());
        stage.runtime.remove(&format!("r{n}")).await.unwrap();
    }
    println!("create → running p50 {:?}, create → gone p50 {:?}; ctr run -d p50 {:?}", p50(running), p50(gone), p50(ctr));
    stage.assert_nothing_left();
}
