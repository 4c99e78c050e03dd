//! containerd's API without the driver: for what the driver must cope with, and for the floor it is measured against.

use containerd_client::services::v1::container::Runtime;
use containerd_client::services::v1::snapshots::PrepareSnapshotRequest;
use containerd_client::services::v1::{Container, CreateContainerRequest, CreateTaskRequest, DeleteContainerRequest, StartRequest};
use containerd_client::tonic::Request;
use containerd_client::{Client, with_namespace};
use minik8s::runtime::ContainerConfig;

use crate::lab::Lab;

pub struct Bare {
    client: Client,
    namespace: String,
}

impl Bare {
    pub async fn new(lab: &Lab) -> Self {
        Self { client: Client::from_path(lab.socket()).await.unwrap(), namespace: lab.namespace.clone() }
    }

    /// Deletes a record, whether or not its task runs.
    pub async fn delete_record(&self, id: &str) {
        let request = DeleteContainerRequest { id: id.to_owned() };
        self.client.containers().delete(with_namespace!(request, self.namespace)).await.unwrap();
    }

    /// Record, snapshot, task, start: no log, no options.
    pub async fn run(&self, config: &ContainerConfig) {
        let id = config.id.clone();
        let spec = prost_types::Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned(),
            value: serde_json::to_vec(&config.spec).unwrap(),
        };
        let container = Container {
            id: id.clone(),
            runtime: Some(Runtime { name: "io.containerd.runc.v2".to_owned(), options: None }),
            spec: Some(spec),
            snapshotter: "overlayfs".to_owned(),
            snapshot_key: id.clone(),
            ..Default::default()
        };
        let request = CreateContainerRequest { container: Some(container) };
        self.client.containers().create(with_namespace!(request, self.namespace)).await.unwrap();
        let request = PrepareSnapshotRequest {
            snapshotter: "overlayfs".to_owned(),
            key: id.clone(),
            parent: config.image.chain_id.clone(),
            ..Default::default()
        };
        let rootfs = self.client.snapshots().prepare(with_namespace!(request, self.namespace)).await.unwrap().into_inner().mounts;
        let request = CreateTaskRequest { container_id: id.clone(), rootfs, ..Default::default() };
        self.client.tasks().create(with_namespace!(request, self.namespace)).await.unwrap();
        let request = StartRequest { container_id: id, exec_id: String::new() };
        self.client.tasks().start(with_namespace!(request, self.namespace)).await.unwrap();
    }
}
