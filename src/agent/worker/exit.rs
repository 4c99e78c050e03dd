//! Waiting for a container's end and gathering what is known of it while its task is still there.

use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::files;
use crate::agent::Drivers;
use crate::api::{Key, Object};
use crate::logs;
use crate::pod::attempt;
use crate::pod::status::Ended;
use crate::runtime::{Exit, RuntimeError};

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
pub(super) async fn wait(drivers: Drivers, key: &Key, of: &AttemptRef) -> Result<Ended, RuntimeError> {
    let exit = drivers.runtime.wait(&of.id).await?;
    // Read only now: a copy kept by each waiting task would be a large part of what a running pod takes. A Pod that is gone from the Store
    // is not asked for its end any more.
    let pod = drivers.store.get(key).as_deref().and_then(Object::as_pod).cloned().unwrap_or_default();
    Ok(Box::pin(gather(&drivers, &pod, of, &exit, None)).await)
}

/// What an exit means: the reason (the cgroup is asked about memory, never guessed from 137) and the termination message.
pub(super) async fn gather(drivers: &Drivers, pod: &Pod, of: &AttemptRef, exit: &Exit, started: Option<Timestamp>) -> Ended {
    let code = i32::try_from(exit.code).unwrap_or(255);
    let cgroup = drivers.cgroups.container_path(pod, &of.id);
    let oom_killed = drivers.cgroups.oom_kills(&cgroup) > 0;
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
