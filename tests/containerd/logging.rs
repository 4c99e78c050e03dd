//! The logger as the shim runs it, and reading what it wrote.

use std::time::Instant;

use minik8s::logs::{LogOptions, LogReader, tail};
use minik8s::runtime::Runtime;

use crate::stage::Stage;

fn entries(log: &str) -> Vec<(&str, &str, &str)> {
    log.lines()
        .map(|line| {
            let mut parts = line.splitn(4, ' ');
            let time = parts.next().unwrap();
            assert!(time.parse::<jiff::Timestamp>().is_ok() && time.len() == 30 && time.ends_with('Z'), "{time}");
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_streams_whole_and_partial_lines() {
    let stage = Stage::new().await;
    let script = "echo out; echo err >&2; sleep 0.2; head -c 20000 /dev/zero | tr '\\0' x; echo; printf 'no newline'";
    stage.run("log", &["sh", "-c", script]).await;
    // Deleting the task waits for the logger: from here on the log is complete.
    stage.runtime.delete_task("log").await.unwrap();
    let log = stage.log("log");
    let mut stdout: Vec<_> = entries(&log);
    let at = stdout.iter().position(|entry| entry.0 == "stderr").unwrap();
    assert_eq!(stdout.remove(at), ("stderr", "F", "err"));
    let (head, rest) = ("x".repeat(16384), "x".repeat(20000 - 16384));
    assert_eq!(stdout, [("stdout", "F", "out"), ("stdout", "P", &head[..]), ("stdout", "F", &rest[..]), ("stdout", "P", "no newline")]);
    let text = tail(&stage.log_path("log"), 2, 20);
    assert_eq!(text, format!("{}\nno newline", "x".repeat(9)));
    stage.runtime.remove("log").await.unwrap();
    stage.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_is_rotated_and_blocks_nobody() {
    let stage = Stage::new().await;
    let mut config = stage.container("much", &["sh", "-c", "seq 1 6000000; echo done >&2"]);
    config.log.max_bytes = 64 << 20;
    config.log.max_files = 10;
    let begun = Instant::now();
    stage.start(&config).await;
    assert_eq!(stage.wait("much").await.code, 0);
    stage.runtime.delete_task("much").await.unwrap();
    let took = begun.elapsed();
    let mut reader = LogReader::open(&stage.log_path("much"), LogOptions::default()).unwrap();
    let (mut bytes, mut last) = (0, Vec::new());
    loop {
        let piece = reader.read().unwrap();
        if piece.is_empty() {
            break;
        }
        bytes += piece.len();
        last = piece;
    }
    let expected: usize = (1..=6_000_000u32).map(|n| n.to_string().len() + 1).sum::<usize>() + "done\n".len();
    assert_eq!(bytes, expected);
    let files = std::fs::read_dir(stage.log_path("much").parent().unwrap()).unwrap().count();
    assert!(files > 1, "{files} files");
    assert!(String::from_utf8_lossy(&last).contains("6000000\n"));
    println!("{} MB of output ({files} files) in {took:?}", bytes >> 20);
    stage.runtime.remove("much").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_log_directory_and_a_terminal() {
    let stage = Stage::new().await;
    let mut tty = stage.container("tty", &["sh", "-c", "test -t 1 && echo terminal"]);
    tty.tty = true;
    let mut process = tty.spec.process().clone().unwrap();
    process.set_terminal(Some(true));
    tty.spec.set_process(Some(process));
    stage.start(&tty).await;
    assert_eq!(stage.wait("tty").await.code, 0);
    stage.runtime.delete_task("tty").await.unwrap();
    assert!(stage.log("tty").contains(" stdout F terminal"), "{:?}", stage.log("tty"));

    stage.start(&stage.container("gone", &["sh", "-c", "echo one; sleep 2; echo two"])).await;
    crate::lab::eventually("one", || stage.log("gone").contains("one"));
    std::fs::remove_dir_all(stage.log_path("gone").parent().unwrap()).unwrap();
    stage.wait("gone").await;
    stage.runtime.delete_task("gone").await.unwrap();
    assert!(stage.log("gone").ends_with(" stdout F two\n"), "{:?}", stage.log("gone"));
    for id in ["tty", "gone"] {
        stage.runtime.remove(id).await.unwrap();
    }
    stage.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_lines_but_not_the_container() {
    let stage = Stage::new().await;
    let directory = stage.log_path("full").parent().unwrap().to_path_buf();
    std::fs::create_dir_all(&directory).unwrap();
    nix::mount::mount(Some("tmpfs"), &directory, Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=4m")).unwrap();
    // Too little room for the lines with the filler, enough without it.
    let filler = directory.join("filler");
    std::fs::write(&filler, vec![0; 3800 << 10]).unwrap();
    let script = "seq 1 50000; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo after";
    let pid = stage.start(&stage.container("full", &["sh", "-c", script])).await;
    // All was taken from the container: its shell goes on to sleep.
    let children = format!("/proc/{pid}/task/{pid}/children");
    crate::lab::eventually("the container waits", || {
        let child = std::fs::read_to_string(&children).unwrap_or_default();
        std::fs::read_to_string(format!("/proc/{}/cmdline", child.trim())).is_ok_and(|line| line.starts_with("sleep"))
    });
    std::fs::remove_file(&filler).unwrap();
    std::fs::write(format!("/proc/{pid}/root/tmp/go"), "").unwrap();
    assert_eq!(stage.wait("full").await.code, 0);
    stage.runtime.delete_task("full").await.unwrap();
    let log = stage.log("full");
    let entries = entries(&log);
    let notes: Vec<_> = entries.iter().filter(|entry| entry.2.starts_with("minik8s: ")).collect();
    for note in &notes {
        assert!(note.0 == "stderr" && note.2.ends_with(" log lines were lost here: No space left on device (os error 28)"), "{note:?}");
    }
    let lost: usize = notes.iter().map(|note| note.2.split(' ').nth(1).unwrap().parse::<usize>().unwrap()).sum();
    // Every line is either there or counted.
    assert!(!notes.is_empty() && lost > 0);
    assert_eq!(entries.len() - notes.len() - "after".lines().count() + lost, 50_000);
    assert_eq!(entries.last().unwrap().2, "after");
    stage.runtime.remove("full").await.unwrap();
}
