//! Starting, signalling, awaiting and deleting a container's task.

use std::time::Duration;

use containerd_client::services::v1::{DeleteTaskRequest, GetRequest, KillRequest, StartRequest, WaitRequest};
use containerd_client::types::v1::{Process, Status as TaskStatus};
use tonic::{Code, Status};

use super::Containerd;
use super::connection::{QUICK, SLOW, accept, answer};
use super::errors::{Subject, is_away, is_shim_gone};
use super::timestamps;
use crate::clock::{Clock as _, SystemClock};
use crate::runtime::{Exit, RuntimeError};

/// SIGKILL's number on every Linux.
const SIGKILL: u32 = 9;

/// How long a killed container may take to be gone (processes in uninterruptible sleep) before `remove` gives up for now.
const DEATH: Duration = Duration::from_secs(30);

impl Containerd {
    pub(super) async fn start_task(&self, id: &str) -> Result<u32, RuntimeError> {
        let request = self.connection.request(StartRequest { container_id: id.to_owned(), exec_id: String::new() });
        match answer(SLOW, self.connection.tasks().start(request)).await {
            Ok(reply) => Ok(reply.pid),
            Err(status) => match self.task(id).await {
                // A repeated call: it runs already.
                Ok(process) if process.status == TaskStatus::Running as i32 => Ok(process.pid),
                _ => Err(Subject::new(&self.connection, "start", id).error(status)),
            },
        }
    }

    pub(super) async fn wait_task(&self, id: &str) -> Result<Exit, RuntimeError> {
        let subject = Subject::new(&self.connection, "wait for", id);
        let request = self.connection.request(WaitRequest { container_id: id.to_owned(), exec_id: String::new() });
        match self.connection.tasks().wait(request).await.map(tonic::Response::into_inner) {
            Ok(reply) => {
                let at = timestamps::from_proto(reply.exited_at.as_ref()).unwrap_or_else(|| SystemClock.now());
                Ok(Exit { code: reply.exit_status, at })
            }
            // The shim was killed, and the container with it: how it ended nobody knows.
            Err(status) if is_shim_gone(&status) => match self.task(id).await {
                Err(gone) if gone.code() == Code::NotFound || is_shim_gone(&gone) => Err(RuntimeError::NotFound { id: id.to_owned() }),
                _ => Err(subject.error(status)),
            },
            Err(status) => Err(subject.error(status)),
        }
    }

    pub(super) async fn kill_task(&self, id: &str, signal: i32, all: bool) -> Result<(), RuntimeError> {
        let subject = Subject::new(&self.connection, "kill", id);
        let Ok(signal) = u32::try_from(signal) else {
            return Err(subject.failed(format!("{signal} is not a signal")));
        };
        match self.signal(id, signal, all).await {
            Err(status) if status.code() == Code::NotFound => match self.task(id).await {
                Ok(_) => Ok(()),
                Err(_) => Err(subject.error(status)),
            },
            other => other.map_err(|status| subject.error(status)),
        }
    }

    pub(super) async fn delete_stopped_task(&self, id: &str) -> Result<(), RuntimeError> {
        let result = self.delete_task_once(id).await;
        accept(result, Code::NotFound).map_err(|status| Subject::new(&self.connection, "delete the task of", id).error(status))
    }

    /// Leaves no task and no shim: deletes it, killing it before if it still runs.
    pub(super) async fn end_task(&self, id: &str) -> Result<(), RuntimeError> {
        let subject = Subject::new(&self.connection, "remove", id);
        match accept(self.delete_task_once(id).await, Code::NotFound) {
            Ok(()) => return Ok(()),
            Err(status) if is_away(&status) => return Err(subject.error(status)),
            // It runs ("cannot delete a running process: unknown": the code does not tell), or its shim is ill.
            Err(_) => {}
        }
        if let Err(status) = self.signal(id, SIGKILL, true).await
            && status.code() != Code::NotFound
            && !is_shim_gone(&status)
        {
            return Err(subject.error(status));
        }
        match tokio::time::timeout(DEATH, self.wait_task(id)).await {
            Err(_) => return Err(subject.failed(format!("it did not end within {} s of SIGKILL", DEATH.as_secs()))),
            Ok(Err(error @ RuntimeError::Unavailable { .. })) => return Err(error),
            Ok(_) => {}
        }
        accept(self.delete_task_once(id).await, Code::NotFound).map_err(|status| subject.error(status))
    }

    async fn signal(&self, id: &str, signal: u32, all: bool) -> Result<(), Status> {
        let request = KillRequest { container_id: id.to_owned(), exec_id: String::new(), signal, all };
        answer(SLOW, self.connection.tasks().kill(self.connection.request(request))).await.map(drop)
    }

    async fn delete_task_once(&self, id: &str) -> Result<(), Status> {
        let request = self.connection.request(DeleteTaskRequest { container_id: id.to_owned() });
        answer(SLOW, self.connection.tasks().delete(request)).await.map(drop)
    }

    /// The init process as the shim knows it.
    pub(super) async fn task(&self, id: &str) -> Result<Process, Status> {
        let request = self.connection.request(GetRequest { container_id: id.to_owned(), exec_id: String::new() });
        let reply = answer(QUICK, self.connection.tasks().get(request)).await?;
        reply.process.ok_or_else(|| Status::not_found("no process"))
    }
}
