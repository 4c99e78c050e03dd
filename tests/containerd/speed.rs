//! How long the driver takes beside the bare calls. Prints; asserts only what no load can blur.

use std::time::{Duration, Instant};

use minik8s::runtime::Runtime;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bare::Bare;
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
    let bare = Bare::new(&stage.lab).await;
    let mut floor = Vec::new();
    for n in 0..15 {
        let config = stage.container(&format!("b{n}"), &["sleep", "1000"]);
        let begun = Instant::now();
        bare.run(&config).await;
        floor.push(begun.elapsed());
        stage.runtime.remove(&config.id).await.unwrap();
    }
    let mut ctr = Vec::new();
    for n in 0..5 {
        let begun = Instant::now();
        stage.lab.ctr(&["run", "-d", "docker.io/library/busybox:latest", &format!("r{n}"), "sleep", "1000"]);
        ctr.push(begun.elapsed());
        stage.runtime.remove(&format!("r{n}")).await.unwrap();
    }
    println!(
        "create → running p50 {:?} (bare calls without a log {:?}, ctr run -d {:?}); create → gone p50 {:?}",
        p50(running),
        p50(floor),
        p50(ctr),
        p50(gone)
    );
    stage.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logger_is_small() {
    let stage = Stage::new().await;
    stage.start(&stage.container("quiet", &["sleep", "1000"])).await;
    let loggers: Vec<i32> = stage.lab.shim_children().into_iter().filter(|pid| command(*pid).contains("minik8s-logger")).collect();
    assert_eq!(loggers.len(), 1);
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", loggers[0])).unwrap();
    let field = |name: &str| rollup.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    println!("logger (this build): {} {} {}", field("Pss:"), field("Private_Dirty:"), field("Rss:"));
    let threads = std::fs::read_dir(format!("/proc/{}/task", loggers[0])).unwrap().count();
    assert_eq!(threads, 1);
    // Signals do not end it, the container's end does.
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
        kill(Pid::from_raw(loggers[0]), signal).unwrap();
    }
    stage.runtime.kill("quiet", 9, true).await.unwrap();
    stage.wait("quiet").await;
    stage.runtime.remove("quiet").await.unwrap();
    stage.assert_nothing_left();
}

fn command(pid: i32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).into_owned()
}
