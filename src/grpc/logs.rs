//! Logs: which run of which container is meant (as the kubelet decides it), and its output as a stream.
//!
//! Reading the files themselves is [`LogReader`]'s; [`FileLogs`] is a plain one.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use tonic::Status;

use super::ApiState;
use super::pb::{LogsChunk, LogsRequest};
use super::status::not_found;
use crate::api::{Key, Kind, Object};
use crate::store::Store;

/// A log's lines (each with its end), in pieces of bounded size.
pub type LogStream = Pin<Box<dyn Stream<Item = std::io::Result<Vec<u8>>> + Send>>;

/// Which part of which log file.
#[derive(Clone)]
pub struct LogPart {
    /// The file as the container writes it now; rotated ones stand beside it.
    pub path: PathBuf,
    /// Go on as it grows, while this says that the container still runs.
    pub follow: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
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
            path: log_path(&state.paths.pod_logs, pod, &container, run),
            follow: (request.follow && !request.previous).then(|| still_running(state.store.clone(), key.clone(), container.clone(), run)),
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

/// Which run's log is meant, as `pkg/kubelet/kubelet_pods.go` (validateContainerLogStatus) decides. Errors: the kubelet's message.
fn attempt(pod: &Pod, container: &str, previous: bool) -> Result<i32, String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let Some(status) = status_of(pod, container) else {
        return Err(format!("container \"{container}\" in pod \"{name}\" is not available"));
    };
    let state = status.state.clone().unwrap_or_default();
    let has_last = status.last_state.as_ref().is_some_and(|s| s.terminated.is_some());
    let now = state.running.is_some() || state.terminated.is_some();
    match (previous, now, has_last) {
        (true, _, false) => Err(format!("previous terminated container \"{container}\" in pod \"{name}\" not found")),
        (true, true, true) => Ok((status.restart_count - 1).max(0)),
        // Waiting for a restart: the run that ended last is the one with this count.
        (true, false, true) | (false, false, true) | (false, true, _) => Ok(status.restart_count),
        (false, false, false) => {
            let reason = state.waiting.and_then(|w| w.reason).unwrap_or_default();
            let why = match reason.as_str() {
                "ErrImagePull" => "image can't be pulled",
                "ImagePullBackOff" => "trying and failing to pull image",
                "" => "ContainerCreating",
                other => other,
            };
            Err(format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}"))
        }
    }
}

fn log_path(pod_logs: &Path, pod: &Pod, container: &str, attempt: i32) -> PathBuf {
    let meta = &pod.metadata;
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    pod_logs
        .join(format!("{}_{}_{}", part(&meta.namespace), part(&meta.name), part(&meta.uid)))
        .join(container)
        .join(format!("{attempt}.log"))
}

/// Whether this run of the container still goes on.
fn still_running(store: Arc<dyn Store>, key: Key, container: String, run: i32) -> Arc<dyn Fn() -> bool + Send + Sync> {
    Arc::new(move || {
        let object = store.get(&key);
        let status = object.as_deref().and_then(Object::as_pod).and_then(|pod| status_of(pod, &container));
        status.is_some_and(|s| s.restart_count == run && s.state.as_ref().is_some_and(|state| state.running.is_some()))
    })
}

/// Reads the current file alone, line by line. The containerd room's reader (rotated files, inotify) takes its place.
pub struct FileLogs;

/// How often a followed file is looked at.
const LOOK: Duration = Duration::from_millis(200);

#[async_trait]
impl LogReader for FileLogs {
    async fn read(&self, part: LogPart) -> std::io::Result<LogStream> {
        let text = tokio::fs::read(&part.path).await?;
        let end = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let mut lines: Vec<Vec<u8>> = text[..end].split_inclusive(|b| *b == b'\n').filter_map(|line| shown(line, &part)).collect();
        if let Some(tail) = part.tail {
            lines.drain(..lines.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX)));
        }
        let mut first = lines.concat();
        first.truncate(part.limit_bytes.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
        let first = futures::stream::iter((!first.is_empty()).then_some(Ok(first)));
        Ok(if part.follow.is_some() { Box::pin(first.chain(follow(part, end as u64))) } else { Box::pin(first) })
    }
}

fn follow(part: LogPart, from: u64) -> impl Stream<Item = std::io::Result<Vec<u8>>> + Send {
    futures::stream::unfold((part, from), |(part, mut at)| async move {
        loop {
            let running = part.follow.as_ref().is_some_and(|running| running());
            match grown(&part, &mut at).await {
                Ok(Some(data)) => return Some((Ok(data), (part, at))),
                Ok(None) if running => tokio::time::sleep(LOOK).await,
                Ok(None) => return None,
                Err(cause) => return Some((Err(cause), (part, at))),
            }
        }
    })
}

/// The whole lines written since; 1 MiB at most at a time.
async fn grown(part: &LogPart, at: &mut u64) -> std::io::Result<Option<Vec<u8>>> {
    use tokio::io::{AsyncReadExt, AsyncSeekExt};
    let mut file = tokio::fs::File::open(&part.path).await?;
    if file.metadata().await?.len() < *at {
        *at = 0;
    }
    file.seek(std::io::SeekFrom::Start(*at)).await?;
    let mut text = Vec::new();
    file.take(1 << 20).read_to_end(&mut text).await?;
    let end = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    *at += end as u64;
    let lines: Vec<Vec<u8>> = text[..end].split_inclusive(|b| *b == b'\n').filter_map(|line| shown(line, part)).collect();
    Ok((!lines.is_empty()).then(|| lines.concat()))
}

/// A CRI line (`<time> <stream> F|P <text>`) as it is shown, if it is meant. A partial line is shown without its end.
fn shown(line: &[u8], part: &LogPart) -> Option<Vec<u8>> {
    let mut fields = line.splitn(4, |b| *b == b' ');
    let (time, _, tag, text) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if let Some(since) = part.since {
        let written: Timestamp = std::str::from_utf8(time).ok()?.parse().ok()?;
        if written < since {
            return None;
        }
    }
    let text = if tag == b"P" { text.strip_suffix(b"\n").unwrap_or(text) } else { text };
    Some(if part.timestamps { [time, b" ", text].concat() } else { text.to_vec() })
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
