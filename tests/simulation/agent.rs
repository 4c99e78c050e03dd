//! One life of the agent: the real loop, workers, adoption and housekeeping, wired as `src/daemon.rs` wires them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use minik8s::agent::node_edits::{Memory, Wish};
use minik8s::agent::reconcile::{Inputs, Reconciler, node_key};
use minik8s::agent::worker::PodWorkers;
use minik8s::agent::{Drivers, housekeeping, node, node_edits, recover};
use minik8s::api::{Kind, Object};
use minik8s::runtime::RuntimeEvent;
use minik8s::runtime::presence::Presence;
use minik8s::store::{Op, StoreError};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::drivers::{Disk, drivers};
use super::world::World;

/// How long until another attempt at taking over what runs.
const RETRY: Duration = Duration::from_secs(10);

/// A running agent.
pub struct Agent {
    workers: Arc<PodWorkers>,
    drivers: Drivers,
    tasks: Vec<JoinHandle<()>>,
    reconciling: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Agent {
    /// Starts an agent. Call it when the one before has ended.
    pub fn start(world: &Arc<World>) -> Agent {
        {
            let mut state = world.state();
            state.life += 1;
            (state.dead, state.death) = (false, None);
        }
        world.note(|| "starts".into());
        let disk = Disk::new(world);
        let drivers = drivers(world, disk.clone());
        let workers = PodWorkers::new(drivers.clone());
        let adopted = Arc::new(AtomicBool::new(false));
        let (presence, runtime) = watch::channel(Presence::Awaited);
        let (stop, stopped) = watch::channel(false);
        let inputs = Inputs {
            sets: world.sets.subscribe(),
            pods: sink(&workers, &adopted),
            runtime,
            pressure: watch::channel(None).1,
            beat: beat(world),
        };
        let reconcile = {
            let drivers = drivers.clone();
            async move {
                if let Ok(reconciler) = Reconciler::new(drivers, inputs).await {
                    reconciler.run(stopped).await;
                }
            }
        };
        let adoption = Adoption { drivers: drivers.clone(), presence, workers: workers.clone(), adopted, world: world.clone() };
        let events = world.events.subscribe();
        let tasks = vec![
            tokio::spawn(disk.write()),
            tokio::spawn(housekeeping::run(drivers.store.clone(), drivers.clock.clone())),
            tokio::spawn(adoption.run(events)),
        ];
        Agent { workers, drivers, tasks, reconciling: tokio::spawn(reconcile), stop }
    }

    /// Whether its loop has ended, which nobody asked for.
    pub fn has_stopped(&self) -> bool {
        self.reconciling.is_finished()
    }

    /// `minik8s cordon` and `uncordon`, so long after each other: asked of this agent, done beside its loop.
    pub fn cordon(&mut self, on: Vec<bool>, every: Duration) {
        let drivers = self.drivers.clone();
        self.tasks.push(tokio::spawn(async move {
            for on in on {
                cordon(&drivers, on).await;
                tokio::time::sleep(every).await;
            }
        }));
    }

    /// SIGTERM: ends as the daemon does.
    pub async fn stop(self, world: &World) {
        self.stop.send_replace(true);
        let drain = async {
            while !self.reconciling.is_finished() && !world.state().dead {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(10), drain).await;
        self.kill(world).await;
    }

    /// kill -9.
    pub async fn kill(self, world: &World) {
        world.state().dead = true;
        self.reconciling.abort();
        self.tasks.iter().for_each(JoinHandle::abort);
        self.workers.shutdown().await;
        for task in self.tasks.into_iter().chain([self.reconciling]) {
            let _ = task.await;
        }
    }
}

/// As `src/grpc/nodes.rs` edits the node.
async fn cordon(drivers: &Drivers, on: bool) {
    let store = &drivers.store;
    let wish = Wish { unschedulable: Some(on), ..Wish::default() };
    for _ in 0..8 {
        let Some(stored) = store.get(&node_key(drivers)) else { return };
        let Some(before) = stored.as_node() else { return };
        let record = store.record(node_edits::RECORD);
        let memory = Memory::of(record.as_deref(), Some(before)).unwrap().with(&wish, "node").unwrap();
        let after = node::with(before.clone(), &memory.effective(), drivers.clock.now());
        let value = memory.record();
        if after == *before && value == record {
            return;
        }
        let ops = vec![Op::Update(after.into()), Op::Record { name: node_edits::RECORD.to_owned(), value }];
        match store.commit(ops).await {
            Err(StoreError::Conflict(_)) => {}
            _ => return,
        }
    }
}

fn beat(world: &Arc<World>) -> Arc<dyn Fn() + Send + Sync> {
    let world = world.clone();
    Arc::new(move || world.state().beats += 1)
}

fn sink(workers: &Arc<PodWorkers>, adopted: &Arc<AtomicBool>) -> minik8s::agent::reconcile::PodSink {
    let (workers, adopted) = (workers.clone(), adopted.clone());
    Arc::new(move |_, pod: Arc<Object>| {
        if adopted.load(Ordering::Acquire) {
            workers.pod_changed(pod);
        }
    })
}

/// As `src/daemon/adoption.rs`, whose containerd is a real one.
struct Adoption {
    drivers: Drivers,
    presence: watch::Sender<Presence>,
    workers: Arc<PodWorkers>,
    adopted: Arc<AtomicBool>,
    world: Arc<World>,
}

impl Adoption {
    async fn run(self, mut events: broadcast::Receiver<RuntimeEvent>) {
        while let Err(error) = recover::adopt(&self.drivers).await {
            self.world.note(|| format!("cannot take over yet: {error}"));
            let _ = tokio::time::timeout(RETRY, connected(&mut events)).await;
        }
        self.world.note(|| "has taken over".into());
        self.presence.send_replace(Presence::Up("containerd://simulated".into()));
        self.adopted.store(true, Ordering::Release);
        for pod in self.drivers.store.list(Kind::Pod) {
            if pod.as_pod().is_some_and(|p| p.spec.as_ref().is_some_and(|s| s.node_name.is_some())) {
                self.workers.pod_changed(pod);
            }
        }
    }
}

async fn connected(events: &mut broadcast::Receiver<RuntimeEvent>) {
    loop {
        match events.recv().await {
            Ok(RuntimeEvent::Connected) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
