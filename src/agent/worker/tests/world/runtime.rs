//! The runtime: containers that do what the host's script says, and refuse what was not announced.

use std::time::Duration;

use async_trait::async_trait;
use oci_spec::image::ImageConfiguration;
use tokio::sync::broadcast;

use super::{Double, Host};
use crate::controllers::pressure::DiskUsage;
use crate::runtime::images::gc::{DiskSpace, StoredImage};
use crate::runtime::{
    ContainerConfig, ContainerState, ExecOnce, ExecOutput, Exit, Image, ImageError, ImageRequest, ImageUsers, ImageVolume, PullNote,
    PullPolicy, PullProgress, Runtime, RuntimeError, RuntimeEvent, TaskState,
};

#[async_trait]
impl Runtime for Double {
    async fn ensure_image(&self, request: ImageRequest<'_>, tell: &(dyn Fn(PullNote) + Sync)) -> Result<Image, ImageError> {
        let ImageRequest { reference, policy, .. } = request;
        let takes = self.0.host().pull_takes;
        let fails = self.0.host().pull_error;
        if policy != PullPolicy::Never && (takes.is_some() || fails) {
            let half = takes.unwrap_or_default() / 2;
            tell(PullNote::Begun);
            tokio::time::sleep(half).await;
            tell(PullNote::Progress(PullProgress { done: 3 << 19, total: 3 << 20 }));
            tokio::time::sleep(half).await;
        }
        let get = |host: &mut Host| match (host.pull_error, host.away()) {
            (_, Err(away)) => Err(ImageError::Unavailable { socket: "s".into(), cause: away.to_string() }),
            (true, _) => Err(ImageError::Pull { reference: reference.to_owned(), cause: "no route".into() }),
            _ => Ok(Image {
                name: "docker.io/library/busybox:1.36".into(),
                digest: "sha256:1".into(),
                chain_id: "c".into(),
                config: ImageConfiguration::default(),
                size: 1,
                pulled: takes.is_some(),
            }),
        };
        self.0.call("image", get).await
    }
    async fn image_users(&self, _: &Image) -> Result<ImageUsers, RuntimeError> {
        Ok(ImageUsers::default())
    }
    async fn mount_image(&self, image: &Image, volume: &ImageVolume<'_>) -> Result<(), RuntimeError> {
        let held = (volume.pod_uid.to_owned(), volume.volume.to_owned());
        let mount = |host: &mut Host| {
            host.away()?;
            assert!(host.volumes.contains(volume.pod_uid), "there is a directory to mount at");
            host.image_volumes.insert(held, image.name.clone());
            Ok(())
        };
        self.0.call("mount_image", mount).await
    }
    async fn release_image_volumes(&self, pod_uid: &str) -> Result<(), RuntimeError> {
        let release = |host: &mut Host| {
            host.away()?;
            host.image_volumes.retain(|(uid, _), _| uid != pod_uid);
            Ok(())
        };
        self.0.call("release_image_volumes", release).await
    }
    async fn image_volume_pods(&self) -> Result<std::collections::BTreeSet<String>, RuntimeError> {
        Ok(self.0.host().image_volumes.keys().map(|(uid, _)| uid.clone()).collect())
    }
    async fn images(&self) -> Result<Vec<StoredImage>, RuntimeError> {
        Ok(Vec::new())
    }
    async fn remove_image(&self, id: &str) -> Result<(), RuntimeError> {
        Err(RuntimeError::NotFound { id: id.into() })
    }
    async fn image_disk(&self) -> Result<DiskSpace, RuntimeError> {
        Ok(DiskSpace { capacity: 100, available: 100 })
    }
    async fn create(&self, config: &ContainerConfig) -> Result<(), RuntimeError> {
        let created_at = self.0.now();
        let create = |host: &mut Host| {
            host.away()?;
            let id = config.id.clone();
            if host.containers.contains_key(&id) {
                return Err(RuntimeError::Exists { id });
            }
            let announced = host
                .objects
                .values()
                .filter_map(|o| o.as_pod())
                .any(|p| crate::pod::status::open_attempts(p).iter().any(|(_, open, _)| *open == id));
            if !announced {
                host.violations.push(format!("{id} was created before its intent was durable"));
            }
            let state = ContainerState { id: id.clone(), labels: config.labels.clone(), created_at, task: TaskState::Created };
            host.specs.insert(id.clone(), config.spec.clone());
            host.containers.insert(id, state);
            Ok(())
        };
        let created = self.0.call("create", create).await;
        let took = self.0.host().create_takes;
        tokio::time::sleep(took).await;
        created
    }
    async fn start(&self, id: &str) -> Result<u32, RuntimeError> {
        let start = |host: &mut Host| {
            host.away()?;
            if let Some(cause) = host.start_error {
                return Err(RuntimeError::Failed { action: "start", id: id.into(), cause: cause.into() });
            }
            let script = host.script.clone();
            let container = host.containers.get_mut(id).ok_or_else(|| RuntimeError::NotFound { id: id.into() })?;
            let name = container.labels.get("io.kubernetes.container.name").cloned().unwrap_or_default();
            container.task = TaskState::Running { pid: 1 };
            *host.started.entry(id.to_owned()).or_default() += 1;
            self.schedule(id, script.get(&name).copied());
            Ok(1)
        };
        self.0.call("start", start).await
    }
    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError> {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let host = self.0.host();
                host.away()?;
                match host.containers.get(id).map(|c| &c.task) {
                    None | Some(TaskState::None) => return Err(RuntimeError::NotFound { id: id.into() }),
                    Some(TaskState::Exited(exit)) if !host.dead => return Ok(exit.clone()),
                    _ => {}
                }
            }
            changed.await;
        }
    }
    async fn kill(&self, id: &str, signal: i32, _: bool) -> Result<(), RuntimeError> {
        let at = self.0.now();
        let kill = |host: &mut Host| {
            host.away()?;
            host.signals.push((id.to_owned(), signal));
            if !host.immortal && (signal == 9 || !host.stubborn.contains(id)) {
                host.exit(id, 128 + signal.unsigned_abs(), at);
            }
            Ok(())
        };
        self.0.call("kill", kill).await
    }
    async fn exec_once(&self, id: &str, exec: &ExecOnce) -> Result<ExecOutput, RuntimeError> {
        let word = exec.command.first().cloned().unwrap_or_default();
        let begin = |host: &mut Host| {
            host.away()?;
            match host.containers.get(id).map(|c| &c.task) {
                Some(TaskState::Running { .. }) => {}
                _ => return Err(RuntimeError::NotFound { id: id.into() }),
            }
            host.ran.push((word.clone(), id.to_owned()));
            Ok(host.commands.get(&word).copied().unwrap_or_default())
        };
        let (takes, code) = self.0.call("exec", begin).await?;
        let limit = exec.timeout.unwrap_or(Duration::MAX);
        tokio::time::sleep(takes.min(limit)).await;
        Ok(ExecOutput { code: (takes < limit).then_some(code), output: format!("{word} says {code}").into_bytes() })
    }
    async fn delete_task(&self, id: &str) -> Result<(), RuntimeError> {
        let delete = |host: &mut Host| {
            host.away()?;
            if let Some((log, line)) = host.last_line.take() {
                std::fs::write(log, line).unwrap();
            }
            if let Some(container) = host.containers.get_mut(id) {
                container.task = TaskState::None;
            }
            Ok(())
        };
        self.0.call("delete", delete).await
    }
    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let remove = |host: &mut Host| {
            host.away()?;
            if let Some(left) = host.remove_errors.checked_sub(1) {
                host.remove_errors = left;
                return Err(RuntimeError::Failed { action: "remove", id: id.into(), cause: "busy".into() });
            }
            if let Some(gone) = host.containers.get(id)
                && matches!(gone.task, TaskState::Exited(_))
                && host.objects.values().any(|o| o.as_pod().is_some())
            {
                let recorded = host.recorded.iter().any(|(status_id, _)| status_id.ends_with(id));
                if !recorded {
                    host.violations.push(format!("{id} was deleted before its end was durable"));
                }
            }
            host.containers.remove(id);
            Ok(())
        };
        self.0.call("remove", remove).await
    }
    async fn layer_usage(&self, _: &str) -> Result<DiskUsage, RuntimeError> {
        Ok(self.0.host().disk)
    }
    async fn image_directory(&self) -> Option<std::path::PathBuf> {
        None
    }
    async fn list(&self) -> Result<Vec<ContainerState>, RuntimeError> {
        self.0.call("list", |host| host.away().map(|()| host.containers.values().cloned().collect())).await
    }
    async fn inspect(&self, id: &str) -> Result<ContainerState, RuntimeError> {
        let find = |host: &mut Host| {
            host.away()?;
            host.containers.get(id).cloned().ok_or_else(|| RuntimeError::NotFound { id: id.into() })
        };
        self.0.call("inspect", find).await
    }
    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.0.events.subscribe()
    }
}

impl Double {
    /// The process ends by itself, whether an agent lives or not.
    fn schedule(&self, id: &str, script: Option<(u64, u32)>) {
        let (world, id) = (self.0.clone(), id.to_owned());
        if let Some((seconds, code)) = script {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                world.exit(&id, code);
            });
        }
    }
}
