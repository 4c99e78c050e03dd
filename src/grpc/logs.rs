//! Logs: which run of which container is meant (as the kubelet decides it), and its output as a stream.
//!
//! Reading the files themselves is [`crate::logs`]'; [`FileLogs`] asks it.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::ApiState;
use super::pb::{LogsChunk, LogsRequest};
use super::status::not_found;
use crate::api::{Key, Kind, Object};
use crate::logs::{LogOptions, container_log_path};
use crate::pod::attempt::{bare_id, container_id, uid};
use crate::store::Store;

/// A log's lines (each with its end), in pieces of bounded size.
pub type LogStream = Pin<Box<dyn Stream<Item = std::io::Result<Vec<u8>>> + Send>>;

/// Which part of which log file.
#[derive(Clone)]
pub struct LogPart {
    /// The file as the container writes it now; rotated ones stand beside it.
    pub path: PathBuf,
    /// Go on as it grows, until this says that the container has ended.
    pub ended: Option<watch::Receiver<bool>>,
    /// Only so many lines from the end.
    pub tail: Option<u64>,
    /// Only lines written from then on.
    pub since: Option<Timestamp>,
    /// Keep the time in front of each line.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
}

/// Reads log files in CRI format.
#[async_trait]
pub trait LogReader: Send + Sync + 'static {
    /// Opens the log. Errors: it cannot be read.
    async fn read(&self, part: LogPart) -> std::io::Result<LogStream>;
}

/// Starts a stream of the logs asked for. Errors: NOT_FOUND, or INVALID_ARGUMENT in the API server's words.
pub async fn logs(state: &ApiState, request: LogsRequest) -> Result<Pin<Box<dyn Stream<Item = Result<LogsChunk, Status>> + Send>>, Status> {
    let key = Key::new(Kind::Pod, &request.namespace, &request.pod);
    let object = state.store.get(&key).ok_or_else(|| not_found(Kind::Pod, &request.pod))?;
    let pod = object.as_pod().ok_or_else(|| not_found(Kind::Pod, &request.pod))?;
    let since = since(&request, state.clock.now())?;
    let mut streams = Vec::new();
    for container in containers(pod, &request)? {
        let run = match attempt(pod, &container, request.previous) {
            Ok(run) => run,
            Err(_) if request.all_containers && request.follow => continue,
            Err(message) => return Err(Status::invalid_argument(message)),
        };
        let part = LogPart {
            path: container_log_path(&state.paths.pod_logs, pod, &container, u32::try_from(run).unwrap_or_default()),
            ended: (request.follow && !request.previous).then(|| ended(state.store.clone(), key.clone(), container.clone(), run)),
            tail: request.tail_lines,
            since,
            timestamps: request.timestamps,
            limit_bytes: request.limit_bytes,
        };
        let stream = state
            .logs
            .read(part)
            .await
            .map_err(|cause| Status::not_found(format!("the log of container {container} cannot be read: {cause}")))?;
        streams.push(stream.map(move |piece| match piece {
            Ok(data) => Ok(LogsChunk { container: container.clone(), data }),
            Err(cause) => Err(Status::internal(format!("the log of container {container} cannot be read: {cause}"))),
        }));
    }
    // Following, all at once; else one after the other, as kubectl prints them.
    Ok(if request.follow { Box::pin(futures::stream::select_all(streams)) } else { Box::pin(futures::stream::iter(streams).flatten()) })
}

fn since(request: &LogsRequest, now: Timestamp) -> Result<Option<Timestamp>, Status> {
    if !request.since_time.is_empty() {
        let parsed =
            request.since_time.parse().map_err(|cause| Status::invalid_argument(format!("since_time {:?}: {cause}", request.since_time)));
        return parsed.map(Some);
    }
    Ok(request.since_seconds.map(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN)))
}

/// The containers meant, in the words of `pkg/registry/core/pod/strategy.go` (LogLocation) where they cannot be told.
fn containers(pod: &Pod, request: &LogsRequest) -> Result<Vec<String>, Status> {
    let spec = pod.spec.clone().unwrap_or_default();
    let inits: Vec<String> = spec.init_containers.unwrap_or_default().into_iter().map(|c| c.name).collect();
    let mains: Vec<String> = spec.containers.into_iter().map(|c| c.name).collect();
    let all: Vec<String> = inits.iter().chain(&mains).cloned().collect();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if request.all_containers {
        return Ok(all);
    }
    match (request.container.as_str(), mains.as_slice(), inits.is_empty()) {
        ("", [only], true) => Ok(vec![only.clone()]),
        ("", _, no_inits) => {
            let also = if no_inits { String::new() } else { format!(" or one of the init containers: [{}]", inits.join(" ")) };
            Err(Status::invalid_argument(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]{also}",
                mains.join(" ")
            )))
        }
        (asked, _, _) if all.iter().any(|c| c == asked) => Ok(vec![asked.to_owned()]),
        (asked, _, _) => Err(Status::invalid_argument(format!("container {asked} is not valid for pod {name}"))),
    }
}

fn status_of<'p>(pod: &'p Pod, container: &str) -> Option<&'p ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.into_iter().find(|s| s.name == container)
}

/// Which run's log is meant, as `pkg/kubelet/kubelet_pods.go` (validateContainerLogStatus) decides: of a container whose restart is announced only, the
/// run that ended last. Errors: the kubelet's message.
fn attempt(pod: &Pod, container: &str, previous: bool) -> Result<i32, String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let of = format!("container \"{container}\" in pod \"{name}\"");
    let status = status_of(pod, container).ok_or_else(|| format!("{of} is not available"))?;
    let state = status.state.clone().unwrap_or_default();
    let last = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let run = |end: Option<&ContainerStateTerminated>| end.and_then(|end| run_of(pod, status, end));
    let terminated = || format!("{of} is terminated");
    match (previous, state.running, state.terminated, last, state.waiting) {
        (true, ..) => run(last).ok_or_else(|| format!("previous terminated {of} not found")),
        (_, Some(_), ..) => Ok(status.restart_count),
        // One that never ran has no log; what ran before it has.
        (_, _, Some(end), ..) => run(Some(&end)).or_else(|| run(last)).ok_or_else(terminated),
        (_, _, _, Some(last), _) => run(Some(last)).ok_or_else(terminated),
        (.., Some(waiting)) => {
            let reason = waiting.reason.unwrap_or_default();
            let why = match reason.as_str() {
                "ErrImagePull" => "image can't be pulled",
                "ImagePullBackOff" => "trying and failing to pull image",
                other => other,
            };
            Err(format!("{of} is waiting to start: {why}"))
        }
        _ => Err(format!("{of} is waiting to start - no logs yet")),
    }
}

/// The number of the run that ended so, told by its id; `None` where it has none, so never was.
fn run_of(pod: &Pod, status: &ContainerStatus, end: &ContainerStateTerminated) -> Option<i32> {
    let id = bare_id(end.container_id.as_deref()?);
    let number = |run: &i32| u32::try_from(*run).is_ok_and(|run| container_id(uid(pod), &status.name, run) == id);
    (0..=status.restart_count).rev().find(number)
}

/// Tells when this run of the container has ended, from the Store's changes.
pub(super) fn ended(store: Arc<dyn Store>, key: Key, container: String, run: i32) -> watch::Receiver<bool> {
    let (tell, ended) = watch::channel(false);
    let mut changes = store.watch();
    tokio::spawn(async move {
        let running = || {
            let object = store.get(&key);
            let status = object.as_deref().and_then(Object::as_pod).and_then(|pod| status_of(pod, &container));
            status.is_some_and(|s| s.restart_count == run && s.state.as_ref().is_some_and(|state| state.running.is_some()))
        };
        while running() {
            // Cancel-safe: a change that is lost was only a hint to look.
            tokio::select! {
                () = tell.closed() => return,
                change = changes.recv() => if matches!(change, Err(RecvError::Closed)) { break },
            }
        }
        tell.send_replace(true);
    });
    ended
}

/// Reads the files with [`crate::logs`]: rotated ones too, following by inotify.
pub struct FileLogs;

/// Pieces that wait for a slow client.
const PIECES: usize = 4;

#[async_trait]
impl LogReader for FileLogs {
    async fn read(&self, part: LogPart) -> std::io::Result<LogStream> {
        let options = LogOptions { tail: part.tail, since: part.since, timestamps: part.timestamps, limit_bytes: part.limit_bytes };
        let (pieces, received) = mpsc::channel(PIECES);
        let reading = match part.ended {
            Some(ended) => tokio::spawn(crate::logs::Follow::open(part.path, options).await?.run(ended, pieces)),
            None => {
                // That a log is missing is only known by looking; the reader takes it for empty.
                tokio::fs::metadata(&part.path).await?;
                tokio::task::spawn_blocking(move || read_all(&part.path, options, &pieces))
            }
        };
        let outcome = futures::stream::once(reading)
            .filter_map(|outcome| async { outcome.unwrap_or_else(|cause| Err(std::io::Error::other(cause))).err().map(Err) });
        Ok(Box::pin(ReceiverStream::new(received).map(Ok).chain(outcome)))
    }
}

/// Sends all there is; ends early when nobody receives any more.
fn read_all(path: &Path, options: LogOptions, pieces: &mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
    let mut reader = crate::logs::LogReader::open(path, options)?;
    loop {
        let piece = reader.read()?;
        let last = piece.is_empty();
        let piece = if last { reader.finish() } else { piece };
        if !piece.is_empty() && pieces.blocking_send(piece).is_err() || last {
            return Ok(());
        }
    }
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
