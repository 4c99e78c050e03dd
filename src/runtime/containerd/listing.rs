//! What is there: containers joined with their tasks, in two calls however many there are.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use containerd_client::services::v1::{Container, GetContainerRequest, ListContainersRequest, ListTasksRequest};
use containerd_client::types::v1::{Process, Status as TaskStatus};
use jiff::Timestamp;
use tonic::{Code, Status};

use super::Containerd;
use super::connection::{QUICK, SLOW, answer};
use super::errors::{Subject, is_shim_gone};
use super::timestamps;
use crate::clock::{Clock as _, SystemClock};
use crate::runtime::{ContainerState, Exit, RuntimeError, TaskState};

impl Containerd {
    pub(super) async fn list_containers(&self) -> Result<Vec<ContainerState>, RuntimeError> {
        let subject = Subject::new(&self.connection, "list", "");
        // Records first: a container made in between is missing here rather than seen without its task.
        let mut states = self.records().await.map_err(|status| subject.error(status))?;
        let request = self.connection.request(ListTasksRequest { filter: String::new() });
        let reply = answer(SLOW, self.connection.tasks().list(request)).await.map_err(|status| subject.error(status))?;
        let mut tasks: HashMap<String, Process> = reply.tasks.into_iter().map(|task| (task.id.clone(), task)).collect();
        for state in &mut states {
            if let Some(process) = tasks.remove(&state.id) {
                state.task = self.task_state(&state.id, &process).await;
            }
        }
        for id in tasks.keys() {
            tracing::debug!(container = %id, "a task without a record");
        }
        Ok(states)
    }

    /// Streamed one by one, so that the specs of many containers are never in memory together.
    async fn records(&self) -> Result<Vec<ContainerState>, Status> {
        let request = self.connection.request(ListContainersRequest { filters: Vec::new() });
        let mut stream = answer(QUICK, self.connection.containers().list_stream(request)).await?;
        let mut states = Vec::new();
        while let Some(message) = next(&mut stream).await? {
            states.extend(message.container.map(taskless));
        }
        Ok(states)
    }

    pub(super) async fn inspect_container(&self, id: &str) -> Result<ContainerState, RuntimeError> {
        let subject = Subject::new(&self.connection, "inspect", id);
        let request = self.connection.request(GetContainerRequest { id: id.to_owned() });
        let reply = answer(QUICK, self.connection.containers().get(request)).await.map_err(|status| subject.error(status))?;
        let container = reply.container.ok_or_else(|| RuntimeError::NotFound { id: id.to_owned() })?;
        let mut state = taskless(container);
        match self.task(id).await {
            Ok(process) => state.task = self.task_state(id, &process).await,
            Err(status) if status.code() == Code::NotFound || is_shim_gone(&status) => {}
            Err(status) => return Err(subject.error(status)),
        }
        Ok(state)
    }

    async fn task_state(&self, id: &str, process: &Process) -> TaskState {
        match TaskStatus::try_from(process.status).unwrap_or(TaskStatus::Unknown) {
            TaskStatus::Created => TaskState::Created,
            TaskStatus::Running | TaskStatus::Paused | TaskStatus::Pausing => TaskState::Running { pid: process.pid },
            TaskStatus::Stopped => match timestamps::from_proto(process.exited_at.as_ref()) {
                Some(at) => TaskState::Exited(Exit { code: process.exit_status, at }),
                // Seen between the death and its record: Wait has both.
                None => match tokio::time::timeout(Duration::from_secs(2), self.wait_task(id)).await {
                    Ok(Ok(exit)) => TaskState::Exited(exit),
                    _ => TaskState::Exited(Exit { code: process.exit_status, at: SystemClock.now() }),
                },
            },
            TaskStatus::Unknown => TaskState::None,
        }
    }
}

async fn next<T>(stream: &mut tonic::Streaming<T>) -> Result<Option<T>, Status> {
    match tokio::time::timeout(QUICK, stream.message()).await {
        Ok(result) => result,
        Err(_) => Err(Status::deadline_exceeded("the list of containers stalled")),
    }
}

/// The record alone.
fn taskless(container: Container) -> ContainerState {
    ContainerState {
        created_at: timestamps::from_proto(container.created_at.as_ref()).unwrap_or(Timestamp::UNIX_EPOCH),
        labels: container.labels.into_iter().collect::<BTreeMap<_, _>>(),
        id: container.id,
        task: TaskState::None,
    }
}
