//! containerd: containers whose programs do what their commands say, and a line to it that breaks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use minik8s::api::well_known::container_labels as label;
use minik8s::controllers::pressure::DiskUsage;
use minik8s::runtime::images::gc::{DiskSpace, StoredImage};
use minik8s::runtime::{
    ContainerConfig, ContainerState, ExecOnce, ExecOutput, Exit, Image, ImageError, ImageRequest, ImageUsers, ImageVolume, PullNote,
    Runtime, RuntimeError, RuntimeEvent, TaskState,
};
use oci_spec::image::ImageConfiguration;
use tokio::sync::broadcast;

use super::Driver;
use crate::dice;
use crate::world::{Container, State, World, short};

fn away() -> RuntimeError {
    RuntimeError::Unavailable { socket: "containerd.sock".into(), cause: "simulated fault".into() }
}

fn not_found(id: &str) -> RuntimeError {
    RuntimeError::NotFound { id: id.into() }
}

fn answers(state: &State) -> Result<(), RuntimeError> {
    if state.away { Err(away()) } else { Ok(()) }
}

#[async_trait]
impl Runtime for Driver {
    async fn ensure_image(&self, request: ImageRequest<'_>, _: &(dyn Fn(PullNote) + Sync)) -> Result<Image, ImageError> {
        let reference = request.reference;
        let fail = || ImageError::Pull { reference: reference.to_owned(), cause: "simulated fault".into() };
        let get = |state: &mut State| match state.away {
            true => Err(ImageError::Unavailable { socket: "containerd.sock".into(), cause: "simulated fault".into() }),
            false => Ok(Image {
                name: reference.to_owned(),
                digest: "sha256:1".into(),
                chain_id: "c".into(),
                config: ImageConfiguration::default(),
                size: 1,
                pulled: false,
            }),
        };
        self.world.call(self.life, ("image", ""), get, fail).await
    }

    async fn image_users(&self, _: &Image) -> Result<ImageUsers, RuntimeError> {
        self.world.call(self.life, ("users", ""), |state| answers(state).map(|()| ImageUsers::default()), away).await
    }

    /// No manifest here has an image as a volume.
    async fn mount_image(&self, image: &Image, _: &ImageVolume<'_>) -> Result<(), RuntimeError> {
        Err(not_found(&image.name))
    }

    async fn release_image_volumes(&self, _: &str) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn image_volume_pods(&self) -> Result<std::collections::BTreeSet<String>, RuntimeError> {
        Ok(std::collections::BTreeSet::new())
    }

    /// No manifest here has a probe or a hook.
    async fn exec_once(&self, id: &str, _: &ExecOnce) -> Result<ExecOutput, RuntimeError> {
        Err(not_found(id))
    }

    /// No workload here fills the disk.
    async fn images(&self) -> Result<Vec<StoredImage>, RuntimeError> {
        self.world.call(self.life, ("images", ""), |state| answers(state).map(|()| Vec::new()), away).await
    }

    async fn remove_image(&self, id: &str) -> Result<(), RuntimeError> {
        Err(not_found(id))
    }

    async fn image_disk(&self) -> Result<DiskSpace, RuntimeError> {
        Ok(DiskSpace { capacity: 100, available: 100 })
    }

    async fn create(&self, config: &ContainerConfig) -> Result<(), RuntimeError> {
        let created_at = self.world.now();
        let create = |state: &mut State| {
            answers(state)?;
            if state.containers.contains_key(&config.id) {
                return Err(RuntimeError::Exists { id: config.id.clone() });
            }
            let uid = config.labels.get(label::POD_UID).cloned().unwrap_or_default();
            state.referee.created(config, &state.mirror);
            if !state.namespaces.contains(&uid) {
                return Err(RuntimeError::Failed { action: "create", id: config.id.clone(), cause: "no namespace to join".into() });
            }
            let args: Vec<u64> =
                config.spec.process().iter().flat_map(|p| p.args().iter().flatten()).filter_map(|a| a.parse().ok()).collect();
            let arg = |at: usize| args.get(at).copied().unwrap_or(0);
            let container = Container {
                state: ContainerState { id: config.id.clone(), labels: config.labels.clone(), created_at, task: TaskState::Created },
                uid,
                longest: arg(0),
                fails: arg(1),
                stubborn: arg(2) == 1,
            };
            state.containers.insert(config.id.clone(), container);
            Ok(())
        };
        self.world.call(self.life, ("create", short(&config.id)), create, away).await
    }

    async fn start(&self, id: &str) -> Result<u32, RuntimeError> {
        let start = |state: &mut State| {
            answers(state)?;
            let container = state.containers.get(id).ok_or_else(|| not_found(id))?;
            match container.state.task {
                TaskState::Created => {}
                // Its shim died before: the kubelet, too, calls that a StartError.
                TaskState::None => {
                    state.referee.not_startable(id);
                    return Err(not_found(id));
                }
                _ => return Err(RuntimeError::Failed { action: "start", id: id.into(), cause: "it runs or ran already".into() }),
            }
            let mut dice = dice::Dice::new(dice::of_text(state.seed, id));
            if state.faults > 0 && dice.chance(40) {
                state.referee.not_startable(id);
                return Err(RuntimeError::Failed { action: "start", id: id.into(), cause: "simulated: no such program".into() });
            }
            let seconds = if container.longest == 0 { None } else { Some(dice.between(1, container.longest)) };
            let code = if dice.chance(container.fails) { dice.pick(&[1, 42, 3, 137]) } else { 0 };
            state.referee.started(id, &state.containers, &state.mirror);
            if let Some(container) = state.containers.get_mut(id) {
                container.state.task = TaskState::Running { pid: 1 };
            }
            if let Some(seconds) = seconds {
                ends_later(&self.world, id, Duration::from_secs(seconds), code);
            }
            Ok(1)
        };
        self.world.call(self.life, ("start", short(id)), start, away).await
    }

    async fn wait(&self, id: &str) -> Result<Exit, RuntimeError> {
        loop {
            let changed = self.world.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let found = {
                let mut state = self.world.state();
                let task = state.containers.get(id).map(|c| c.state.task.clone());
                let faults = state.faults;
                match (answers(&state), task) {
                    (Err(error), _) => Some(Err(error)),
                    (_, None | Some(TaskState::None)) => Some(Err(not_found(id))),
                    (_, Some(TaskState::Exited(exit))) if !state.dice.chance(faults) => Some(Ok(exit)),
                    (_, Some(TaskState::Exited(_))) => Some(Err(away())),
                    _ => None,
                }
            };
            match found {
                Some(answer) => return self.world.call(self.life, ("waited for", short(id)), |_| answer, away).await,
                None => changed.await,
            }
        }
    }

    async fn kill(&self, id: &str, signal: i32, _: bool) -> Result<(), RuntimeError> {
        let kill = |state: &mut State| {
            answers(state)?;
            let container = state.containers.get(id).ok_or_else(|| not_found(id))?;
            let dies = signal == 9 || !container.stubborn;
            state.referee.signalled(container, &state.mirror);
            if dies {
                let wait = if signal == 9 { 0 } else { state.dice.below(1500) };
                ends_later(&self.world, id, Duration::from_millis(wait), 128 + signal.unsigned_abs());
            }
            Ok(())
        };
        self.world.call(self.life, ("kill", short(id)), kill, away).await
    }

    async fn delete_task(&self, id: &str) -> Result<(), RuntimeError> {
        self.world.call(self.life, ("delete task", short(id)), |_| Ok(()), away).await
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let remove = |state: &mut State| {
            answers(state)?;
            if let Some(container) = state.containers.remove(id) {
                state.referee.removed(&container, &state.mirror);
            }
            Ok(())
        };
        self.world.call(self.life, ("remove", short(id)), remove, away).await
    }

    async fn layer_usage(&self, _: &str) -> Result<DiskUsage, RuntimeError> {
        Ok(DiskUsage::default())
    }

    async fn image_directory(&self) -> Option<std::path::PathBuf> {
        None
    }

    async fn list(&self) -> Result<Vec<ContainerState>, RuntimeError> {
        let list = |state: &mut State| answers(state).map(|()| state.containers.values().map(|c| c.state.clone()).collect());
        self.world.call(self.life, ("list", ""), list, away).await
    }

    async fn inspect(&self, id: &str) -> Result<ContainerState, RuntimeError> {
        let find = |state: &mut State| {
            answers(state)?;
            state.containers.get(id).map(|c| c.state.clone()).ok_or_else(|| not_found(id))
        };
        self.world.call(self.life, ("inspect", short(id)), find, away).await
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.world.events.subscribe()
    }
}

/// A process ends whether an agent lives or not, but not in another boot.
fn ends_later(world: &Arc<World>, id: &str, after: Duration, code: u32) {
    let (world, id) = (world.clone(), id.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        world.exit(&id, code);
    });
}
