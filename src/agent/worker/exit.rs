//! Waiting for a container's end and gathering what is known of it while its task is still there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{Shared, files};
use crate::api::{Key, Object};
use crate::logs;
use crate::pod::attempt;
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

/// Waits for the attempt's end. The task is left in place: it is deleted only after the end is recorded.
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
    let code = i32::try_from(exit.code).unwrap_or(255);
    let oom_killed = match drivers.cgroups.oom_kills(&drivers.cgroups.container_path(pod, &of.id)) {
        Some(kills) => kills > 0,
        None => shared.ooms.told_of(&of.id, if exit.code == KILLED { OOM_EVENT_LAG } else { Duration::ZERO }).await,
    };
    let mut message = drivers.volumes.termination_message(attempt::uid(pod), &of.name, of.number).await;
    if message.is_empty() && code != 0 && falls_back_to_logs(pod, &of.name) {
        message = log_tail(files::log_path(&drivers.paths, pod, &of.name, of.number)).await;
    }
    Ended { code, reason: Ended::reason_for(code, oom_killed).to_owned(), message, started, finished: exit.at }
}

fn falls_back_to_logs(pod: &Pod, name: &str) -> bool {
    let container = attempt::containers(pod).find(|(_, c)| c.name == name);
    container.is_some_and(|(_, c)| c.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"))
}

async fn log_tail(log: PathBuf) -> String {
    tokio::task::spawn_blocking(move || logs::tail(&log, MESSAGE_LOG_LINES, MESSAGE_LOG_BYTES)).await.unwrap_or_default()
}
