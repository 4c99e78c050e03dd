//! Which run is meant, and the plain reader on real files.

use serde_json::json;

use super::*;

fn pod(status: serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"containerStatuses": [status]},
    }))
    .unwrap()
}

fn status(restarts: i32, state: serde_json::Value, last: bool) -> serde_json::Value {
    let last = if last { json!({"terminated": {"exitCode": 1}}) } else { json!({}) };
    json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": restarts, "state": state, "lastState": last})
}

#[test]
fn the_run_is_chosen_as_the_kubelet_does() {
    let running = json!({"running": {}});
    let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
    let run = |s: serde_json::Value, previous| attempt(&pod(s), "c", previous);
    assert_eq!(run(status(0, running.clone(), false), false), Ok(0));
    assert_eq!(run(status(2, running.clone(), true), true), Ok(1));
    assert_eq!(run(status(2, waiting("CrashLoopBackOff"), true), false), Ok(2));
    assert_eq!(run(status(2, waiting("CrashLoopBackOff"), true), true), Ok(2));
    assert_eq!(run(status(1, json!({"terminated": {"exitCode": 0}}), true), false), Ok(1));
    let no = |text: &str| Err(text.to_owned());
    assert_eq!(run(status(0, running, false), true), no("previous terminated container \"c\" in pod \"p\" not found"));
    assert_eq!(
        run(status(0, waiting("ImagePullBackOff"), false), false),
        no("container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image")
    );
    assert_eq!(
        run(status(0, waiting("ContainerCreating"), false), false),
        no("container \"c\" in pod \"p\" is waiting to start: ContainerCreating")
    );
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
