//! Which run is meant, and the plain reader on real files.

use serde_json::json;

use super::*;
use crate::pod::attempt::status_id;
use crate::pod::status as pod_status;

fn pod(status: serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"containerStatuses": [status]},
    }))
    .unwrap()
}

/// The end of a run, by its number; `None`: of none that ever was.
fn end(run: Option<u32>) -> serde_json::Value {
    let id = run.map(|run| status_id(&container_id("u", "c", run)));
    json!({"terminated": {"exitCode": 1, "containerID": id}})
}

fn status(restarts: i32, state: &serde_json::Value, last: &serde_json::Value) -> serde_json::Value {
    json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": restarts, "state": state, "lastState": last})
}

#[test]
fn the_run_is_chosen_as_the_kubelet_does() {
    let (running, none) = (json!({"running": {}}), json!({}));
    let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
    let both = |restarts, state: serde_json::Value, last: &serde_json::Value| {
        [false, true].map(|previous| attempt(&pod(status(restarts, &state, last)), "c", previous))
    };
    let no = |text: &str| Err(text.to_owned());
    let no_previous = || no("previous terminated container \"c\" in pod \"p\" not found");
    let waits = |why: &str| no(&format!("container \"c\" in pod \"p\" is waiting to start{why}"));
    let is_terminated = || no("container \"c\" in pod \"p\" is terminated");
    assert_eq!(both(0, running.clone(), &none), [Ok(0), no_previous()]);
    assert_eq!(both(2, running, &end(Some(1))), [Ok(2), Ok(1)]);
    assert_eq!(both(2, waiting("CrashLoopBackOff"), &end(Some(2))), [Ok(2), Ok(2)]);
    // The next run is announced, and is not yet or cannot be made.
    for reason in ["ContainerCreating", "ImagePullBackOff", "CreateContainerError"] {
        assert_eq!(both(3, waiting(reason), &end(Some(2))), [Ok(2), Ok(2)], "{reason}");
    }
    assert_eq!(both(1, end(Some(1)), &end(Some(0))), [Ok(1), Ok(0)]);
    assert_eq!(both(1, end(None), &end(Some(0))), [Ok(0), Ok(0)], "the last one never ran");
    assert_eq!(both(0, end(None), &none), [is_terminated(), no_previous()]);
    assert_eq!(both(0, waiting("ContainerCreating"), &end(None)), [is_terminated(), no_previous()]);
    assert_eq!(both(0, waiting("ContainerCreating"), &none), [waits(": ContainerCreating"), no_previous()]);
    assert_eq!(both(0, waiting("ImagePullBackOff"), &none), [waits(": trying and failing to pull image"), no_previous()]);
    assert_eq!(both(0, waiting("ErrImagePull"), &none), [waits(": image can't be pulled"), no_previous()]);
    assert_eq!(both(0, none.clone(), &none), [waits(" - no logs yet"), no_previous()]);
    assert_eq!(attempt(&pod(status(0, &none, &none)), "d", false), no("container \"d\" in pod \"p\" is not available"));
}

#[test]
fn what_the_worker_writes_of_a_crash_leads_to_the_log_of_the_run_that_ended() {
    let mut pod = pod(status(0, &json!({}), &json!({})));
    let finished = Timestamp::UNIX_EPOCH;
    pod_status::announce(&mut pod, "c", 0);
    assert!(attempt(&pod, "c", false).unwrap_err().ends_with("is waiting to start: ContainerCreating"));
    for run in 0..3 {
        pod_status::started(&mut pod, "c", finished);
        let end = pod_status::Ended { code: 1, reason: "Error".into(), message: String::new(), started: None, finished };
        pod_status::ended(&mut pod, "c", end, std::time::Duration::from_secs(300)).unwrap();
        assert_eq!(attempt(&pod, "c", false), Ok(run));
        pod_status::announce(&mut pod, "c", u32::try_from(run).unwrap() + 1);
        assert_eq!([false, true].map(|previous| attempt(&pod, "c", previous)), [Ok(run), Ok(run)]);
    }
}

#[test]
fn the_container_must_be_named_where_there_are_several() {
    let two: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
    }))
    .unwrap();
    let ask =
        |container: &str, all| containers(&two, &LogsRequest { container: container.into(), all_containers: all, ..Default::default() });
    assert_eq!(
        ask("", false).unwrap_err().message(),
        "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
    );
    assert_eq!(ask("x", false).unwrap_err().message(), "container x is not valid for pod p");
    assert_eq!(ask("i", false).unwrap(), ["i"]);
    assert_eq!(ask("", true).unwrap(), ["i", "a", "b"]);
}

fn part(path: PathBuf) -> LogPart {
    LogPart { path, ended: None, tail: None, since: None, timestamps: false, limit_bytes: None }
}

async fn text(stream: LogStream) -> String {
    let pieces: Vec<_> = stream.collect().await;
    String::from_utf8(pieces.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat()).unwrap()
}

#[tokio::test]
async fn lines_are_joined_cut_and_filtered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let lines = "2026-01-01T00:00:01.5Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n2026-01-01T00:00:02Z stderr F o\n2026-01-01T00:00:03Z stdout F \n";
    std::fs::write(&path, format!("{lines}2026-01-01T00:00:04Z stdout F half")).unwrap();
    let read = |part: LogPart| async { text(FileLogs.read(part).await.unwrap()).await };
    assert_eq!(read(part(path.clone())).await, "one\ntwo\n\n");
    let since = Some("2026-01-01T00:00:03Z".parse().unwrap());
    assert_eq!(read(LogPart { since, timestamps: true, ..part(path.clone()) }).await, "2026-01-01T00:00:03Z \n");
    // The line being written is the last one; it is shown when it is whole.
    assert_eq!(read(LogPart { tail: Some(2), ..part(path.clone()) }).await, "\n");
    assert_eq!(read(LogPart { limit_bytes: Some(2), ..part(path) }).await, "on");
}

#[tokio::test]
async fn following_ends_with_the_container_and_loses_no_line() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    std::fs::write(&path, "2026-01-01T00:00:01Z stdout F one\n").unwrap();
    let (end, ended) = watch::channel(false);
    let mut stream = FileLogs.read(LogPart { ended: Some(ended), ..part(path.clone()) }).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), b"one\n");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"2026-01-01T00:00:02Z stdout F two\n").unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), b"two\n");
    file.write_all(b"2026-01-01T00:00:03Z stdout F three\n").unwrap();
    end.send_replace(true);
    assert_eq!(text(stream).await, "three\n");
}
