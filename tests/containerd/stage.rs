//! A lab with a connected driver and busybox: what most tests begin with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use minik8s::config::Keyring;
use minik8s::runtime::{ContainerConfig, Containerd, Exit, Image, ImageError, ImageRequest, LogTarget, PullPolicy, Runtime, RuntimeEvent};
use oci_spec::runtime::Spec;

use crate::lab::{Lab, eventually, spec};

pub struct Stage {
    pub runtime: Containerd,
    pub image: Image,
    pub lab: Lab,
}

impl Stage {
    pub async fn new() -> Self {
        let lab = Lab::start();
        lab.import_busybox("docker.io/library/busybox:latest");
        let runtime = Containerd::connect(lab.config()).await.unwrap();
        let image = ensure(&runtime, "busybox", PullPolicy::IfNotPresent).await.unwrap();
        Self { runtime, image, lab }
    }

    pub fn log_path(&self, id: &str) -> PathBuf {
        self.lab.dir.join("logs").join(id).join("0.log")
    }

    pub fn container(&self, id: &str, args: &[&str]) -> ContainerConfig {
        self.with_spec(id, spec::spec(&self.lab, id, args))
    }

    pub fn grouped(&self, id: &str, group: &str, args: &[&str]) -> ContainerConfig {
        self.with_spec(id, spec::grouped(&self.lab, id, group, args))
    }

    pub fn with_spec(&self, id: &str, spec: Spec) -> ContainerConfig {
        ContainerConfig {
            id: id.to_owned(),
            image: self.image.clone(),
            spec,
            labels: BTreeMap::from([("io.kubernetes.pod.name".to_owned(), id.to_owned())]),
            log: LogTarget { path: self.log_path(id), max_bytes: 10 << 20, max_files: 5 },
            tty: false,
            user_namespace: None,
        }
    }

    pub async fn start(&self, config: &ContainerConfig) -> u32 {
        self.runtime.create(config).await.unwrap();
        self.runtime.start(&config.id).await.unwrap()
    }

    pub async fn wait(&self, id: &str) -> Exit {
        tokio::time::timeout(Duration::from_secs(60), self.runtime.wait(id)).await.expect("an exit in time").unwrap()
    }

    /// Creates, starts, waits, and leaves it there.
    pub async fn run(&self, id: &str, args: &[&str]) -> Exit {
        self.start(&self.container(id, args)).await;
        self.wait(id).await
    }

    /// What the container printed, as the log file has it. Complete once the task is deleted.
    pub fn log(&self, id: &str) -> String {
        std::fs::read_to_string(self.log_path(id)).unwrap_or_default()
    }

    /// No record, snapshot, task, shim, process or mount.
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.lab.ctr(&["containers", "list", "-q"]), "");
        assert_eq!(self.lab.ctr(&["tasks", "list", "-q"]), "");
        let active = self.lab.ctr(&["snapshots", "list"]).lines().filter(|line| !line.trim_end().ends_with("Committed")).skip(1).count();
        assert_eq!(active, 0, "{}", self.lab.ctr(&["snapshots", "list"]));
        eventually("no shim and no mount", || self.lab.shims().is_empty() && self.lab.mounts().is_empty());
    }
}

/// An image without any login.
pub async fn ensure(runtime: &Containerd, reference: &str, policy: PullPolicy) -> Result<Image, ImageError> {
    let keyring = Keyring::default();
    runtime.ensure_image(ImageRequest { reference, policy, keyring: &keyring }, &|_| {}).await
}

pub async fn next_event(
    events: &mut tokio::sync::broadcast::Receiver<RuntimeEvent>,
    wanted: impl Fn(&RuntimeEvent) -> bool,
) -> RuntimeEvent {
    tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let event = events.recv().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    })
    .await
    .expect("the event in time")
}
