//! The floor: the bare gRPC calls that a container cannot do without, with the options the agent gave one of its own.
//!
//! A model container of the agent lends its spec (limits, namespaces, mounts), the shim's options and the logger; only id, command, cgroup,
//! shim group and log file are new. What the agent makes for a pod (namespaces, files, addresses) is there already: the floor gets it free.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use containerd_client::services::v1::snapshots::{PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest};
use containerd_client::services::v1::{
    Container, CreateContainerRequest, CreateTaskRequest, DeleteContainerRequest, DeleteTaskRequest, GetRequest, KillRequest,
    ListContainersRequest, ListTasksRequest, StartRequest, WaitRequest,
};
use containerd_client::tonic::Request;
use containerd_client::{Client, with_namespace};
use serde_json::{Value, json};

use crate::lab::Lab;

const LIMIT: Duration = Duration::from_secs(30);

/// The line to containerd.
pub struct Floor {
    client: Client,
    namespace: String,
    logs: PathBuf,
}

/// What a container of the agent is made of.
pub struct Model {
    record: Container,
    spec: Value,
    parent: String,
    log: String,
}

impl Floor {
    pub async fn new(lab: &Lab) -> anyhow::Result<Floor> {
        Ok(Floor { client: Client::from_path(lab.socket()).await?, namespace: lab.namespace.clone(), logs: lab.dir.join("logs") })
    }

    /// The running container of this pod as a model.
    pub async fn model(&self, pod: &str) -> anyhow::Result<Model> {
        let filters = vec![format!("labels.\"io.kubernetes.pod.name\"=={pod}")];
        let found = self.client.containers().list(with_namespace!(ListContainersRequest { filters }, self.namespace)).await?.into_inner();
        let record = found.containers.into_iter().next().with_context(|| format!("pod {pod} has no container"))?;
        let spec = serde_json::from_slice(&record.spec.as_ref().context("a record without a spec")?.value)?;
        let stat = StatSnapshotRequest { snapshotter: record.snapshotter.clone(), key: record.snapshot_key.clone() };
        let parent =
            self.client.snapshots().stat(with_namespace!(stat, self.namespace)).await?.into_inner().info.context("no snapshot")?.parent;
        let get = GetRequest { container_id: record.id.clone(), exec_id: String::new() };
        let log = self.client.tasks().get(with_namespace!(get, self.namespace)).await?.into_inner().process.context("no process")?.stdout;
        Ok(Model { record, spec, parent, log })
    }

    /// Record, snapshot, task, start.
    pub async fn run(&self, model: &Model, id: &str, args: &[&str]) -> anyhow::Result<()> {
        let container = model.container(id, args, &self.namespace)?;
        let snapshotter = container.snapshotter.clone();
        let create = CreateContainerRequest { container: Some(container) };
        self.client.containers().create(with_namespace!(create, self.namespace)).await?;
        let prepare = PrepareSnapshotRequest { snapshotter, key: id.to_owned(), parent: model.parent.clone(), labels: HashMap::new() };
        let rootfs = self.client.snapshots().prepare(with_namespace!(prepare, self.namespace)).await?.into_inner().mounts;
        let log = self.log(model, id)?;
        let task = CreateTaskRequest { container_id: id.to_owned(), rootfs, stdout: log.clone(), stderr: log, ..Default::default() };
        self.client.tasks().create(with_namespace!(task, self.namespace)).await?;
        let start = StartRequest { container_id: id.to_owned(), exec_id: String::new() };
        self.client.tasks().start(with_namespace!(start, self.namespace)).await?;
        Ok(())
    }

    /// The model's logger on a file of our own.
    fn log(&self, model: &Model, id: &str) -> anyhow::Result<String> {
        if model.log.is_empty() {
            return Ok(String::new());
        }
        let (logger, _) = model.log.rsplit_once("%2C").context("the model's log is not a binary:// logger")?;
        Ok(format!("{logger}%2C{}", self.logs.join(id).with_extension("log").display()))
    }

    /// Run, exit, delete: what one pod of a Job costs at least.
    pub async fn run_to_its_end(&self, model: &Model, id: &str, args: &[&str]) -> anyhow::Result<()> {
        self.run(model, id, args).await?;
        let wait = WaitRequest { container_id: id.to_owned(), exec_id: String::new() };
        let exit = tokio::time::timeout(LIMIT, self.client.tasks().wait(with_namespace!(wait, self.namespace))).await??;
        anyhow::ensure!(exit.into_inner().exit_status == 0, "{id} failed");
        self.delete(id).await
    }

    /// Kills and deletes a container, whoever made it.
    pub async fn end(&self, id: &str) -> anyhow::Result<()> {
        let kill = KillRequest { container_id: id.to_owned(), signal: 9, all: true, ..Default::default() };
        self.client.tasks().kill(with_namespace!(kill, self.namespace)).await?;
        let wait = WaitRequest { container_id: id.to_owned(), exec_id: String::new() };
        tokio::time::timeout(LIMIT, self.client.tasks().wait(with_namespace!(wait, self.namespace))).await??;
        self.delete(id).await
    }

    async fn delete(&self, id: &str) -> anyhow::Result<()> {
        let task = DeleteTaskRequest { container_id: id.to_owned() };
        self.client.tasks().delete(with_namespace!(task, self.namespace)).await?;
        let snapshot = RemoveSnapshotRequest { snapshotter: "overlayfs".to_owned(), key: id.to_owned() };
        self.client.snapshots().remove(with_namespace!(snapshot, self.namespace)).await?;
        let record = DeleteContainerRequest { id: id.to_owned() };
        self.client.containers().delete(with_namespace!(record, self.namespace)).await?;
        Ok(())
    }

    /// id → pid of every task.
    pub async fn tasks(&self) -> anyhow::Result<HashMap<String, u32>> {
        let list = self.client.tasks().list(with_namespace!(ListTasksRequest::default(), self.namespace)).await?.into_inner();
        Ok(list.tasks.into_iter().map(|task| (task.id, task.pid)).collect())
    }
}

impl Model {
    fn container(&self, id: &str, args: &[&str], namespace: &str) -> anyhow::Result<Container> {
        let mut spec = self.spec.clone();
        spec["process"]["args"] = json!(args);
        anyhow::ensure!(spec["linux"]["cgroupsPath"].as_str().is_some_and(|p| p.starts_with('/')), "the floor needs the cgroupfs driver");
        spec["linux"]["cgroupsPath"] = json!(format!("/{namespace}/floor/{id}"));
        if let Some(group) = spec["annotations"].get_mut("io.containerd.runc.v2.group") {
            *group = json!(id);
        }
        let mut record = self.record.clone();
        record.id = id.to_owned();
        record.snapshot_key = id.to_owned();
        // The agent's labels would make it look like a pod's orphan.
        record.labels.clear();
        if let Some(any) = &mut record.spec {
            any.value = serde_json::to_vec(&spec)?;
        }
        Ok(record)
    }

    /// The same without a logger: a bare shim.
    pub fn without_log(self) -> Model {
        Model { log: String::new(), ..self }
    }
}
