//! Waiting for a container's end and gathering what is known of it while its task is still there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tracing::warn;

use super::{Shared, files};
use crate::agent::Drivers;
use crate::api::{Key, Object};
use crate::logs;
use crate::pod::attempt;
use crate::pod::recover::NotedEnd;
use crate::pod::status::Ended;
use crate::runtime::{Exit, RuntimeError};

/// How long an OOM event may lag behind the end it explains: containerd tells the two by different ways.
const OOM_EVENT_LAG: Duration = Duration::from_millis(200);
/// What a process killed by SIGKILL, as the kernel's OOM killer does, ends with.
const KILLED: u32 = 137;
/// FallbackToLogsOnError: so much of the log's end (kubecontainer, MaxContainerTerminationMessageLogLength/Lines).
const MESSAGE_LOG_LINES: u64 = 80;
const MESSAGE_LOG_BYTES: usize = 2048;

/// One attempt, as the tasks of a worker name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AttemptRef {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) id: String,
}

/// Waits for the attempt's end. The task is deleted only after the end is recorded, or (for its last words) noted in the attempt's marker.
pub(super) async fn wait(shared: Arc<Shared>, key: &Key, of: &AttemptRef) -> Result<Ended, RuntimeError> {
    let exit = shared.drivers.runtime.wait(&of.id).await?;
    // Read only now: a copy kept by each waiting task would be a large part of what a running pod takes. A Pod that is gone from the Store
    // is not asked for its end any more.
    let pod = shared.drivers.store.get(key).as_deref().and_then(Object::as_pod).cloned().unwrap_or_default();
    Ok(Box::pin(gather(&shared, &pod, of, &exit, None)).await)
}

/// What an exit means: the reason (the cgroup or the runtime is asked about memory, never guessed from 137) and the termination message.
pub(super) async fn gather(shared: &Shared, pod: &Pod, of: &AttemptRef, exit: &Exit, started: Option<Timestamp>) -> Ended {
    let drivers = &shared.drivers;
    let oom_killed = match drivers.cgroups.oom_kills(&drivers.cgroups.container_path(pod, &of.id)) {
        Some(kills) => kills > 0,
        None => shared.ooms.told_of(&of.id, if exit.code == KILLED { OOM_EVENT_LAG } else { Duration::ZERO }).await,
    };
    describe(drivers, pod, of, NotedEnd { code: exit.code, at: exit.at, oom_killed }, started).await
}

/// The same where the exit is known and memory has been asked about.
pub(super) async fn describe(drivers: &Drivers, pod: &Pod, of: &AttemptRef, end: NotedEnd, started: Option<Timestamp>) -> Ended {
    let code = i32::try_from(end.code).unwrap_or(255);
    let mut message = drivers.volumes.termination_message(attempt::uid(pod), &of.name, of.number).await;
    if message.is_empty() && code != 0 && falls_back_to_logs(pod, &of.name) {
        message = last_words(drivers, pod, of, &end).await;
    }
    Ended { code, reason: Ended::reason_for(code, end.oom_killed).to_owned(), message, started, finished: end.at }
}

/// The log's end, when the logger has written all of it: it ends with the task. How the container ended is noted before, so that a kill
/// of the agent between the two loses nothing. Where the task cannot be deleted now, what is written so far must do.
async fn last_words(drivers: &Drivers, pod: &Pod, of: &AttemptRef, end: &NotedEnd) -> String {
    match files::note_end(&drivers.paths, attempt::uid(pod), &of.name, of.number, end) {
        Ok(()) => {
            if let Err(error) = drivers.runtime.delete_task(&of.id).await {
                warn!(container = of.name, %error, "its log may lack the last lines in its termination message");
            }
        }
        Err(error) => warn!(container = of.name, %error, "its end cannot be noted; its termination message may lack the last lines"),
    }
    log_tail(files::log_path(&drivers.paths, pod, &of.name, of.number)).await
}

fn falls_back_to_logs(pod: &Pod, name: &str) -> bool {
    let container = attempt::containers(pod).find(|(_, c)| c.name == name);
    container.is_some_and(|(_, c)| c.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"))
}

async fn log_tail(log: PathBuf) -> String {
    tokio::task::spawn_blocking(move || logs::tail(&log, MESSAGE_LOG_LINES, MESSAGE_LOG_BYTES)).await.unwrap_or_default()
}
