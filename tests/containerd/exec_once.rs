//! One command in a running container: its code, its output, its limits.

use std::time::{Duration, Instant};

use minik8s::runtime::{EXEC_OUTPUT_LIMIT, ExecOnce, Runtime, RuntimeError};

use crate::lab::eventually;
use crate::stage::Stage;

fn command(words: &[&str], timeout: Option<Duration>) -> ExecOnce {
    ExecOnce { command: words.iter().map(|w| (*w).to_owned()).collect(), timeout }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_with_their_code_and_leave_nothing() {
    let stage = Stage::new().await;
    stage.start(&stage.container("c", &["sleep", "1000"])).await;
    let run = |words: &'static [&'static str], timeout: u64| {
        let runtime = &stage.runtime;
        async move { runtime.exec_once("c", &command(words, Some(Duration::from_secs(timeout)))).await }
    };
    let done = run(&["sh", "-c", "echo err >&2; echo out; exit 3"], 20).await.unwrap();
    assert_eq!((done.code, String::from_utf8(done.output).unwrap().as_str()), (Some(3), "out\nerr\n"));
    let done = run(&["sh", "-c", "head -c 1000000 /dev/zero"], 20).await.unwrap();
    assert_eq!((done.code, done.output.len()), (Some(0), EXEC_OUTPUT_LIMIT), "a talkative command is not held up");
    let missing = run(&["/no/such/program"], 20).await;
    assert!(matches!(&missing, Err(RuntimeError::Failed { cause, .. }) if cause.contains("/no/such/program")), "{missing:?}");
    let began = Instant::now();
    let done = run(&["sh", "-c", "echo begun; sleep 1000"], 1).await.unwrap();
    assert_eq!((done.code, String::from_utf8(done.output).unwrap().as_str()), (None, "begun\n"));
    assert!(began.elapsed() < Duration::from_secs(15));

    // Nobody waits for it any more.
    let abandoned = command(&["sleep", "2000"], None);
    let _ = tokio::time::timeout(Duration::from_secs(1), stage.runtime.exec_once("c", &abandoned)).await;
    let pids = || stage.lab.ctr(&["tasks", "ps", "c"]).lines().count();
    eventually("the commands are killed", || pids() == 2);
    let fifos = stage.lab.config().run_dir.join("exec");
    eventually("no FIFO is left", || std::fs::read_dir(&fifos).unwrap().count() == 0);

    let gone = stage.runtime.exec_once("nobody", &command(&["true"], None)).await;
    assert!(matches!(gone, Err(RuntimeError::NotFound { .. })), "{gone:?}");
    stage.runtime.remove("c").await.unwrap();
    stage.assert_nothing_left();
}
