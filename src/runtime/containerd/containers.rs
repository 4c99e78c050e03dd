//! Making and removing a container: record, snapshot and task, in the one order that containerd's garbage collector leaves alone.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use containerd_client::services::v1::container::Runtime as ShimRuntime;
use containerd_client::services::v1::snapshots::{PrepareSnapshotRequest, RemoveSnapshotRequest};
use containerd_client::services::v1::{
    Container, CreateContainerRequest, CreateTaskRequest, DeleteContainerRequest, GetContainerRequest, ListTasksRequest,
};
use containerd_client::types::Mount;
use nix::fcntl::OFlag;
use oci_spec::runtime::{RootBuilder, Spec};
use tonic::{Code, Status};

use super::connection::{QUICK, SLOW, accept, answer};
use super::errors::{Subject, is_shim_leaving};
use super::leftovers::{Leftover, in_the_way};
use super::logger_uri::logger_uri;
use super::options::runc_options;
use super::{Containerd, ContainerdConfig, root};
use crate::logs;
use crate::runtime::stdin_front::{self, STDIN_ANNOTATION};
use crate::runtime::{ContainerConfig, RuntimeError};

/// The type under which containerd hands a spec to the shim.
const SPEC_TYPE_URL: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// How long, and after which pauses, a task is asked for again while the shim of its group is on its way out (tens of milliseconds).
const LEAVING_WAIT: Duration = Duration::from_secs(1);
const LEAVING_PAUSE: Duration = Duration::from_millis(50);
/// How long, and after which pauses, containerd is left to clean up after a creation that was cut off: its own limit is 5 s, twice.
const LEFTOVER_WAIT: Duration = Duration::from_secs(12);
const LEFTOVER_PAUSE: Duration = Duration::from_millis(500);
/// A bundle, and what a runtime that outlived its shim has made meanwhile.
const MOST_CLEARED: u32 = 2;
/// How long, and how often, a shim is waited for that has yet to open a container's input.
const HELD_WAIT: Duration = Duration::from_secs(10);
const HELD_POLL: Duration = Duration::from_millis(1);

impl Containerd {
    pub(super) async fn create_container(&self, config: &ContainerConfig) -> Result<(), RuntimeError> {
        let subject = Subject::new(&self.connection, "create", &config.id);
        let stdin = stdin_of(config);
        let piped = stdin.as_deref().filter(|_| !config.tty);
        let spec = spec_bytes(&config.spec, piped).map_err(|cause| subject.failed(cause))?;
        let binary = self.runtime_binary(piped.is_some()).map_err(|cause| subject.failed(cause))?;
        self.create_record(self.record(config, spec, binary.as_deref())).await.map_err(|status| subject.error(status))?;
        match self.create_snapshot_and_task(config, stdin.as_deref()).await {
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

    /// The program the shim runs for this container: the runtime, or what stands in front of it where the container has an input.
    fn runtime_binary(&self, piped: bool) -> Result<Option<PathBuf>, String> {
        let ContainerdConfig { run_dir, logger_binary, runtime_binary, .. } = &self.config;
        if !piped {
            return Ok(runtime_binary.clone());
        }
        let made = stdin_front::front(run_dir, logger_binary, runtime_binary.as_deref());
        made.map(Some).map_err(|e| format!("cannot make what gives it its stdin, below {}: {e}", run_dir.display()))
    }

    fn record(&self, config: &ContainerConfig, spec: Vec<u8>, binary: Option<&Path>) -> Container {
        Container {
            id: config.id.clone(),
            labels: config.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            image: config.image.name.clone(),
            runtime: Some(ShimRuntime {
                name: self.config.runtime.clone(),
                options: Some(runc_options(&self.config, binary, owner(config))),
            }),
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

    async fn create_snapshot_and_task(&self, config: &ContainerConfig, stdin: Option<&Path>) -> Result<(), Status> {
        let rootfs = match self.prepare_snapshot(config).await {
            // Without a record it was nobody's; it may hold another attempt's files.
            Err(status) if status.code() == Code::AlreadyExists => {
                self.remove_snapshot(&config.id).await?;
                self.prepare_snapshot(config).await
            }
            other => other,
        }?;
        let (rootfs, mounted) =
            root::with_ids(rootfs, config.user_namespace.clone(), self.layers().join(&config.id)).await.map_err(Status::internal)?;
        let log = logger_uri(&self.config.logger_binary, &config.log, owner(config));
        let request = CreateTaskRequest {
            container_id: config.id.clone(),
            rootfs,
            stdout: log.clone(),
            stderr: if config.tty { String::new() } else { log },
            terminal: config.tty,
            stdin: stdin.map(|path| path.display().to_string()).unwrap_or_default(),
            ..Default::default()
        };
        let created = self.create_task(request).await;
        // The overlay has layers of its own now.
        mounted.release().await;
        created?;
        match stdin {
            Some(pipe) if !config.tty => held_open(pipe).await,
            _ => Ok(()),
        }
    }

    /// Asks again while the pod's shim is on its way out, or what was left of an earlier creation is in the way: neither is a failure of the
    /// container's, and both are over in a moment. What stays is taken away.
    async fn create_task(&self, request: CreateTaskRequest) -> Result<(), Status> {
        let (begun, mut cleared) = (Instant::now(), 0);
        loop {
            let created = answer(SLOW, self.connection.tasks().create(self.connection.request(request.clone()))).await.map(drop);
            let Err(status) = &created else { return created };
            match in_the_way(status, &self.config.namespace, &request.container_id).filter(|_| cleared < MOST_CLEARED) {
                Some(Leftover::Bundle(_)) if begun.elapsed() < LEFTOVER_WAIT => tokio::time::sleep(LEFTOVER_PAUSE).await,
                Some(leftover) => {
                    cleared += 1;
                    tracing::warn!(container = %request.container_id, "what is left of a creation that was cut off is taken away: {}", status.message());
                    self.clear_leftover(leftover, &request.container_id).await.map_err(Status::internal)?;
                }
                None if begun.elapsed() <= LEAVING_WAIT && is_shim_leaving(status) => tokio::time::sleep(LEAVING_PAUSE).await,
                None => return created,
            }
        }
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
        // Only an agent killed within a create has left any.
        root::clear(&self.layers().join(id)).map_err(|e| subject.failed(format!("its layers stay mounted: {e}")))?;
        if !self.record_exists(id).await.map_err(|s| subject.error(s))? && !self.adopt_orphan(id).await.map_err(|s| subject.error(s))? {
            return self.remove_snapshot(id).await.map_err(|status| subject.error(status));
        }
        self.end_task(id).await?;
        self.remove_snapshot(id).await.map_err(|status| subject.error(status))?;
        let request = self.connection.request(DeleteContainerRequest { id: id.to_owned() });
        let result = answer(QUICK, self.connection.containers().delete(request)).await.map(drop);
        accept(result, Code::NotFound).map_err(|status| subject.error(status))
    }

    /// Where the layers of containers with user namespaces are mounted while they are created.
    fn layers(&self) -> PathBuf {
        self.config.run_dir.join("layers")
    }

    /// Before any container is created: takes away what an agent killed within a create has left mounted, and makes sure of what stands in front of
    /// the runtime of containers with an input, which their shims need to the end. Blocking.
    pub fn prepare(&self) {
        root::clear_all(&self.layers());
        if let Err(why) = self.runtime_binary(true) {
            tracing::warn!("containers with a stdin: {why}");
        }
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
        let options = runc_options(&self.config, self.config.runtime_binary.as_deref(), None);
        let record = Container {
            id: id.to_owned(),
            runtime: Some(ShimRuntime { name: self.config.runtime.clone(), options: Some(options) }),
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

/// The pipe of the container's input, where one stands beside the log.
fn stdin_of(config: &ContainerConfig) -> Option<PathBuf> {
    let log = &config.log.path;
    logs::has_stdin(log, config.tty).then(|| logs::stdin_path(log, config.tty))
}

/// Waits until the shim holds the pipe open: it answers before it does, and a program that is started earlier would read an end.
async fn held_open(pipe: &Path) -> Result<(), Status> {
    let cannot = |error: io::Error| Status::internal(format!("the container's stdin {} cannot be opened: {error}", pipe.display()));
    let reader = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(pipe).map_err(cannot)?;
    let wait = async {
        // Nobody writes before the start. Without a writer a read is an end, with one there is nothing to read yet.
        while (&reader).read(&mut [0]).is_ok() {
            tokio::time::sleep(HELD_POLL).await;
        }
    };
    let held = tokio::time::timeout(HELD_WAIT, wait).await;
    held.map_err(|_| Status::internal(format!("the shim has not opened the container's stdin within {} s", HELD_WAIT.as_secs())))
}

/// The spec as JSON, with the root where the shim mounts the snapshot, and with the pipe that is to be the container's input.
fn spec_bytes(spec: &Spec, stdin: Option<&Path>) -> Result<Vec<u8>, String> {
    let mut spec = spec.clone();
    if let Some(stdin) = stdin {
        let mut annotations = spec.annotations().clone().unwrap_or_default();
        annotations.insert(STDIN_ANNOTATION.to_owned(), stdin.display().to_string());
        spec.set_annotations(Some(annotations));
    }
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
        let json: serde_json::Value = serde_json::from_slice(&spec_bytes(&spec, Some(Path::new("/p"))).unwrap()).unwrap();
        assert_eq!(json["root"], serde_json::json!({"path": "rootfs", "readonly": true}));
        assert_eq!(json["annotations"], serde_json::json!({"io.minik8s.stdin": "/p"}));
    }
}
