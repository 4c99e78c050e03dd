//! Making and removing a container: record, snapshot and task, in the one order that containerd's garbage collector leaves alone.

use std::collections::HashMap;

use containerd_client::services::v1::container::Runtime as ShimRuntime;
use containerd_client::services::v1::snapshots::{PrepareSnapshotRequest, RemoveSnapshotRequest};
use containerd_client::services::v1::{
    Container, CreateContainerRequest, CreateTaskRequest, DeleteContainerRequest, GetContainerRequest, ListTasksRequest,
};
use containerd_client::types::Mount;
use oci_spec::runtime::{RootBuilder, Spec};
use tonic::{Code, Status};

use super::Containerd;
use super::connection::{QUICK, SLOW, accept, answer};
use super::errors::Subject;
use super::logger_uri::logger_uri;
use super::options::runc_options;
use super::root;
use crate::logs;
use crate::runtime::{ContainerConfig, RuntimeError};

/// The type under which containerd hands a spec to the shim.
const SPEC_TYPE_URL: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

impl Containerd {
    pub(super) async fn create_container(&self, config: &ContainerConfig) -> Result<(), RuntimeError> {
        let subject = Subject::new(&self.connection, "create", &config.id);
        let spec = spec_bytes(&config.spec).map_err(|cause| subject.failed(cause))?;
        self.create_record(self.record(config, spec)).await.map_err(|status| subject.error(status))?;
        match self.create_snapshot_and_task(config).await {
            Ok(()) => Ok(()),
            // A task without a record was in the way (pitfall 5). Now it has one, and `remove` can reach it.
            Err(status) if status.code() == Code::AlreadyExists => Err(subject.error(status)),
            Err(status) => {
                if let Err(undo) = self.remove_container(&config.id).await {
                    tracing::warn!(container = %config.id, error = %undo, "what a failed create left behind could not be removed");
                }
                Err(self.creation_error(&config.id, status))
            }
        }
    }

    /// `NotFound` here means the image's snapshot, never the container.
    fn creation_error(&self, id: &str, status: Status) -> RuntimeError {
        let subject = Subject::new(&self.connection, "create", id);
        if status.code() == Code::NotFound {
            self.images.forget_all();
            return subject.failed(format!("the image's file system is gone: {}", status.message()));
        }
        subject.error(status)
    }

    fn record(&self, config: &ContainerConfig, spec: Vec<u8>) -> Container {
        Container {
            id: config.id.clone(),
            labels: config.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            image: config.image.name.clone(),
            runtime: Some(ShimRuntime { name: self.config.runtime.clone(), options: Some(runc_options(&self.config, owner(config))) }),
            spec: Some(prost_types::Any { type_url: SPEC_TYPE_URL.to_owned(), value: spec }),
            snapshotter: self.config.snapshotter.clone(),
            snapshot_key: config.id.clone(),
            ..Default::default()
        }
    }

    async fn create_record(&self, container: Container) -> Result<(), Status> {
        let request = self.connection.request(CreateContainerRequest { container: Some(container) });
        answer(QUICK, self.connection.containers().create(request)).await.map(drop)
    }

    async fn create_snapshot_and_task(&self, config: &ContainerConfig) -> Result<(), Status> {
        let rootfs = match self.prepare_snapshot(config).await {
            // Without a record it was nobody's; it may hold another attempt's files.
            Err(status) if status.code() == Code::AlreadyExists => {
                self.remove_snapshot(&config.id).await?;
                self.prepare_snapshot(config).await
            }
            other => other,
        }?;
        let layers = self.config.run_dir.join("layers").join(&config.id);
        let (rootfs, mounted) = root::with_ids(rootfs, config.user_namespace.clone(), layers).await.map_err(Status::internal)?;
        let log = logger_uri(&self.config.logger_binary, &config.log, owner(config));
        let request = self.connection.request(CreateTaskRequest {
            container_id: config.id.clone(),
            rootfs,
            stdout: log.clone(),
            stderr: if config.tty { String::new() } else { log },
            terminal: config.tty,
            stdin: stdin(config),
            ..Default::default()
        });
        let created = answer(SLOW, self.connection.tasks().create(request)).await.map(drop);
        // The overlay has layers of its own now.
        mounted.release().await;
        created
    }

    async fn prepare_snapshot(&self, config: &ContainerConfig) -> Result<Vec<Mount>, Status> {
        let request = self.connection.request(PrepareSnapshotRequest {
            snapshotter: self.config.snapshotter.clone(),
            key: config.id.clone(),
            parent: config.image.chain_id.clone(),
            labels: HashMap::new(),
        });
        answer(QUICK, self.connection.snapshots().prepare(request)).await.map(|reply| reply.mounts)
    }

    async fn remove_snapshot(&self, key: &str) -> Result<(), Status> {
        let request = RemoveSnapshotRequest { snapshotter: self.config.snapshotter.clone(), key: key.to_owned() };
        let result = answer(SLOW, self.connection.snapshots().remove(self.connection.request(request))).await;
        accept(result.map(drop), Code::NotFound)
    }

    pub(super) async fn remove_container(&self, id: &str) -> Result<(), RuntimeError> {
        let subject = Subject::new(&self.connection, "remove", id);
        if !self.record_exists(id).await.map_err(|s| subject.error(s))? && !self.adopt_orphan(id).await.map_err(|s| subject.error(s))? {
            return self.remove_snapshot(id).await.map_err(|status| subject.error(status));
        }
        self.end_task(id).await?;
        self.remove_snapshot(id).await.map_err(|status| subject.error(status))?;
        let request = self.connection.request(DeleteContainerRequest { id: id.to_owned() });
        let result = answer(QUICK, self.connection.containers().delete(request)).await.map(drop);
        accept(result, Code::NotFound).map_err(|status| subject.error(status))
    }

    async fn record_exists(&self, id: &str) -> Result<bool, Status> {
        let request = self.connection.request(GetContainerRequest { id: id.to_owned() });
        match answer(QUICK, self.connection.containers().get(request)).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status),
        }
    }

    /// Gives a task without a record (pitfall 5) a record again, so that it can be ended. Whether there was such a task.
    async fn adopt_orphan(&self, id: &str) -> Result<bool, Status> {
        let request = self.connection.request(ListTasksRequest { filter: String::new() });
        let tasks = answer(SLOW, self.connection.tasks().list(request)).await?.tasks;
        if !tasks.iter().any(|task| task.id == id) {
            return Ok(false);
        }
        let record = Container {
            id: id.to_owned(),
            runtime: Some(ShimRuntime { name: self.config.runtime.clone(), options: Some(runc_options(&self.config, None)) }),
            spec: Some(prost_types::Any { type_url: SPEC_TYPE_URL.to_owned(), value: b"{}".to_vec() }),
            snapshotter: self.config.snapshotter.clone(),
            snapshot_key: id.to_owned(),
            ..Default::default()
        };
        accept(self.create_record(record).await, Code::AlreadyExists).map(|()| true)
    }
}

/// Who is root in the container, where that is not the host's root.
fn owner(config: &ContainerConfig) -> Option<u32> {
    config.user_namespace.as_ref().map(|users| users.ids.first())
}

/// The pipe of a terminal's input, where one stands beside the log. Without a terminal the shim knows no input beside a logger.
fn stdin(config: &ContainerConfig) -> String {
    let has = config.tty && logs::has_stdin(&config.log.path);
    if has { logs::stdin_path(&config.log.path).display().to_string() } else { String::new() }
}

/// The spec as JSON, with the root where the shim mounts the snapshot.
fn spec_bytes(spec: &Spec) -> Result<Vec<u8>, String> {
    let mut spec = spec.clone();
    let readonly = spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false);
    let root = RootBuilder::default().path("rootfs").readonly(readonly).build().map_err(|e| e.to_string())?;
    spec.set_root(Some(root));
    serde_json::to_vec(&spec).map_err(|e| format!("the OCI spec cannot be written: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_bundles_and_keeps_readonly() {
        let mut spec = Spec::default();
        spec.set_root(Some(RootBuilder::default().path("/elsewhere").readonly(true).build().unwrap()));
        let json: serde_json::Value = serde_json::from_slice(&spec_bytes(&spec).unwrap()).unwrap();
        assert_eq!(json["root"], serde_json::json!({"path": "rootfs", "readonly": true}));
    }
}
