//! Stand-in drivers over one shared host: they keep what a real host keeps when the agent dies, and can stop answering at any call.

mod host;
mod runtime;
mod store;
mod surroundings;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::{Notify, broadcast};

pub(super) use self::host::Host;
use self::surroundings::Cgroups;
use crate::agent::worker::PodWorkers;
use crate::agent::{Drivers, Settings};
use crate::api::{Kind, Object};
use crate::host::{HostFacts, Paths};
use crate::runtime::{RuntimeEvent, TaskState};
use crate::store::Change;

/// When the agent dies: at its n-th call of a driver, before or after the call's effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    pub(super) call: usize,
    pub(super) after_effect: bool,
}

/// One agent's view of the host.
pub(super) struct World {
    pub(super) host: Arc<Mutex<Host>>,
    changed: Arc<Notify>,
    died: Arc<Notify>,
    changes: broadcast::Sender<Change>,
    events: broadcast::Sender<RuntimeEvent>,
    pub(super) dir: PathBuf,
    began: tokio::time::Instant,
    /// By how much the wall clock was set.
    step: Mutex<SignedDuration>,
    boot_id: Mutex<String>,
}

pub(super) struct Double(pub(super) Arc<World>);

impl World {
    pub(super) fn new(dir: &Path) -> Arc<World> {
        Arc::new(World {
            host: Arc::default(),
            changed: Arc::default(),
            died: Arc::default(),
            changes: broadcast::Sender::new(1024),
            events: broadcast::Sender::new(16),
            dir: dir.to_owned(),
            began: tokio::time::Instant::now(),
            step: Mutex::default(),
            boot_id: Mutex::new("boot-1".to_owned()),
        })
    }

    pub(super) fn host(&self) -> MutexGuard<'_, Host> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.began.elapsed()).unwrap();
        let step = *self.step.lock().unwrap();
        Timestamp::from_second(1_700_000_000).unwrap().checked_add(passed).unwrap().checked_add(step).unwrap()
    }

    /// Sets the wall clock.
    pub(super) fn set_clock(&self, by: SignedDuration) {
        *self.step.lock().unwrap() += by;
    }

    /// A kill -9 of the agent at this call.
    pub(super) fn die_at(&self, death: Death) {
        let mut host = self.host();
        (host.calls, host.death, host.dead) = (0, Some(death), false);
    }

    pub(super) fn revive(&self) {
        let mut host = self.host();
        (host.death, host.dead) = (None, false);
        host.lives += 1;
    }

    pub(super) async fn death(&self) {
        while !self.host().dead {
            self.died.notified().await;
        }
    }

    /// Every driver call: does `effect`, unless the agent dies here; a dead agent's calls never answer.
    async fn call<T>(&self, name: &str, effect: impl FnOnce(&mut Host) -> T) -> T {
        let answer = {
            let mut host = self.host();
            host.calls += 1;
            let calls = host.calls;
            if host.panic_at.take_if(|call| *call == calls).is_some() {
                drop(host);
                panic!("call {calls}, {name}, panics, as it was told to");
            }
            let due = host.death.filter(|d| d.call == host.calls);
            if host.dead || due.is_some_and(|d| !d.after_effect) {
                host.dead = true;
                None
            } else {
                host.trace.push(name.to_owned());
                let answer = effect(&mut host);
                host.dead |= due.is_some();
                (!host.dead).then_some(answer)
            }
        };
        self.changed.notify_waiters();
        match answer {
            Some(answer) => answer,
            None => {
                self.died.notify_one();
                std::future::pending().await
            }
        }
    }

    pub(super) fn drivers(self: &Arc<World>) -> Drivers {
        let double = || Double(self.clone());
        let host = HostFacts { boot_id: self.boot_id.lock().unwrap().clone(), ..HostFacts::for_tests() };
        let paths = Paths::below(&self.dir);
        let settings = Settings { node_name: "node".into(), log_max_bytes: 1, log_max_files: 1, ..Settings::default() };
        Drivers {
            store: Arc::new(double()),
            runtime: Arc::new(double()),
            network: Arc::new(double()),
            volumes: Arc::new(double()),
            cgroups: Arc::new(Cgroups(self.clone(), self.host().lives)),
            devices: Arc::new(double()),
            clock: Arc::new(double()),
            host: Arc::new(host),
            paths: Arc::new(paths),
            settings: Arc::new(settings),
        }
    }

    /// An agent: adoption, then a worker for every Pod, kept told of changes. Dropping the task list ends it as kill -9 would.
    pub(super) async fn agent(self: &Arc<World>) -> Agent {
        let drivers = self.drivers();
        let workers = PodWorkers::new(drivers.clone());
        let mut changes = self.changes.subscribe();
        let (told, world) = (workers.clone(), self.clone());
        let feed = tokio::spawn(async move {
            if crate::agent::recover::adopt(&drivers).await.is_err() {
                return;
            }
            let pods: Vec<_> = world.host().objects.values().filter(|o| o.kind() == Kind::Pod).cloned().collect();
            pods.into_iter().for_each(|pod| told.pod_changed(pod));
            while let Ok(change) = changes.recv().await {
                told.changed(change.object);
            }
        });
        Agent { workers, feed }
    }

    pub(super) fn put(&self, pod: Pod) {
        self.host().put(pod.into(), &self.changes);
        self.changed.notify_waiters();
    }

    /// Stores any object, as the manifests' sync would.
    pub(super) fn put_object(&self, object: Object) {
        self.host().put(object, &self.changes);
        self.changed.notify_waiters();
    }

    /// Changes the stored Pod as somebody else would.
    pub(super) fn edit(&self, edit: impl FnOnce(&mut Pod)) {
        let mut pod = self.pod().expect("stored");
        edit(&mut pod);
        self.put(pod);
    }

    pub(super) fn pod(&self) -> Option<Pod> {
        self.host().objects.values().find_map(|o| o.as_pod().cloned())
    }

    pub(super) fn event_reasons(&self) -> Vec<String> {
        let host = self.host();
        let events = host.objects.values().filter_map(|o| o.as_event());
        events.filter_map(|e| Some(format!("{}: {}", e.reason.clone()?, e.message.clone()?))).collect()
    }

    pub(super) fn tell(&self, event: RuntimeEvent) {
        let _ = self.events.send(event);
    }

    pub(super) fn reboot(&self) {
        *self.boot_id.lock().unwrap() = "boot-2".into();
        let mut host = self.host();
        host.containers.values_mut().for_each(|c| c.task = TaskState::None);
        let _ = std::fs::remove_dir_all(self.dir.join("run"));
    }

    /// Ends a running container from outside.
    pub(super) fn exit(&self, id: &str, code: u32) {
        let at = self.now();
        self.host().exit(id, code, at);
        self.changed.notify_waiters();
    }

    /// Waits until `holds`, in virtual time.
    pub(super) async fn until(&self, what: &str, mut holds: impl FnMut(&Host) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if holds(&self.host()) {
                    return;
                }
                changed.await;
            }
        };
        let limit = tokio::time::timeout(Duration::from_secs(7200), wait).await;
        let trace = self.host().trace.clone();
        let status = self.pod().and_then(|p| p.status);
        assert!(limit.is_ok(), "never: {what}\n{trace:?}\n{status:?}");
    }
}

/// A running agent.
pub(super) struct Agent {
    pub(super) workers: Arc<PodWorkers>,
    feed: tokio::task::JoinHandle<()>,
}

impl Agent {
    /// Ends the agent; containers live on.
    pub(super) async fn kill(self) {
        self.feed.abort();
        let _ = self.feed.await;
        self.workers.shutdown().await;
    }
}

pub(super) fn container(name: &str) -> Container {
    Container { name: name.into(), image: Some("busybox:1.36".into()), command: Some(vec!["true".into()]), ..Container::default() }
}

pub(super) fn pod(policy: &str, containers: Vec<Container>) -> Pod {
    let spec = PodSpec {
        containers,
        restart_policy: Some(policy.into()),
        node_name: Some("node".into()),
        termination_grace_period_seconds: Some(30),
        dns_policy: Some("Default".into()),
        ..PodSpec::default()
    };
    let metadata =
        ObjectMeta { name: Some("p".into()), namespace: Some("default".into()), uid: Some("u-1".into()), ..ObjectMeta::default() };
    Pod { metadata, spec: Some(spec), status: None }
}

pub(super) fn phase(host: &Host) -> String {
    let pod = host.objects.values().find_map(|o| o.as_pod());
    pod.and_then(|p| p.status.as_ref()?.phase.clone()).unwrap_or_default()
}
