//! Stand-in drivers over one shared host: they keep what a real host keeps when the agent dies, and can stop answering at any call.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use oci_spec::image::ImageConfiguration;
use tokio::sync::{Notify, broadcast};

use crate::agent::worker::PodWorkers;
use crate::agent::{Drivers, Settings};
use crate::api::{Key, Kind, Object};
use crate::clock::Clock;
use crate::host::{CgroupDriver, CgroupVersion, HostFacts, Paths, PodCgroups};
use crate::network::{Namespace, Network, NetworkError, Sandbox, SandboxSpec};
use crate::runtime::{
    ContainerConfig, ContainerState, Exit, Image, ImageError, ImageUsers, PullPolicy, Runtime, RuntimeError, RuntimeEvent, TaskState,
};
use crate::store::{Change, ChangeKind, Op, Store, StoreError};
use crate::volumes::{PayloadFile, Payloads, PodFiles, SubPath, VolumeError, Volumes};

/// When the agent dies: at its n-th call of a driver, before or after the call's effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    pub(super) call: usize,
    pub(super) after_effect: bool,
}

/// The host: outlives any agent.
#[derive(Default)]
pub(super) struct Host {
    pub(super) objects: BTreeMap<Key, Arc<Object>>,
    revision: u64,
    pub(super) containers: BTreeMap<String, ContainerState>,
    /// (id, how often its process was started).
    pub(super) started: BTreeMap<String, u32>,
    /// Every terminated state that ever became durable: (id, exit code).
    pub(super) recorded: Vec<(String, i32)>,
    pub(super) namespaces: BTreeSet<String>,
    pub(super) volumes: BTreeSet<String>,
    pub(super) cgroups: BTreeSet<String>,
    /// What was last written to configuration volumes.
    pub(super) payloads: BTreeMap<String, BTreeMap<String, PayloadFile>>,
    /// The emptyDir that holds too much.
    pub(super) over_limit: Option<String>,
    pub(super) signals: Vec<(String, i32)>,
    /// What a container does when started: exit with this code after so many seconds; absent = runs on.
    pub(super) script: BTreeMap<String, (u64, u32)>,
    /// Containers that ignore the stop signal.
    pub(super) stubborn: BTreeSet<String>,
    pub(super) oom: bool,
    pub(super) message: String,
    pub(super) pull_error: bool,
    pub(super) start_error: Option<&'static str>,
    pub(super) store_full: bool,
    pub(super) runtime_away: bool,
    /// What was done before it was durable that it would be.
    pub(super) violations: Vec<String>,
    pub(super) commit_takes: Duration,
    pub(super) create_takes: Duration,
    pub(super) attach_takes: Duration,
    pub(super) trace: Vec<String>,
    /// The next making of a cgroup waits for a word (or the end) of the sender.
    pub(super) cgroup_gate: Option<std::sync::mpsc::Receiver<()>>,
    /// How many agents died: what threads of theirs still do has no effect.
    lives: usize,
    calls: usize,
    death: Option<Death>,
    pub(super) dead: bool,
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
            boot_id: Mutex::new("boot-1".to_owned()),
        })
    }

    pub(super) fn host(&self) -> MutexGuard<'_, Host> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.began.elapsed()).unwrap();
        Timestamp::from_second(1_700_000_000).unwrap().checked_add(passed).unwrap()
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
        let host = HostFacts {
            hostname: "node".into(),
            arch: "amd64".into(),
            kernel: String::new(),
            os_image: String::new(),
            machine_id: String::new(),
            boot_id: self.boot_id.lock().unwrap().clone(),
            cpu_millis: 2000,
            memory_bytes: 1 << 30,
            ephemeral_storage_bytes: 1 << 30,
            cgroup_version: CgroupVersion::V1,
            cgroup_driver: CgroupDriver::Cgroupfs,
            controllers: vec![],
            min_oom_score_adj: 0,
            sys_resource: false,
            capabilities: vec![],
            apparmor: false,
            selinux: false,
            seccomp: false,
        };
        let at = |name: &str| self.dir.join(name);
        let paths = Paths {
            manifests: at("manifests"),
            state: at("state"),
            run: at("run"),
            pod_logs: at("pods"),
            container_logs: at("containers"),
            socket: at("sock"),
        };
        let settings = Settings {
            node_name: "node".into(),
            max_restart_backoff: Duration::from_secs(300),
            log_max_bytes: 1,
            log_max_files: 1,
            labels: BTreeMap::new(),
            taints: vec![],
            max_pods: 110,
        };
        Drivers {
            store: Arc::new(double()),
            runtime: Arc::new(double()),
            network: Arc::new(double()),
            volumes: Arc::new(double()),
            cgroups: Arc::new(Cgroups(self.clone(), self.host().lives)),
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

impl Host {
    pub(super) fn holds_nothing(&self) -> bool {
        self.containers.is_empty() && self.namespaces.is_empty() && self.volumes.is_empty() && self.cgroups.is_empty()
    }

    fn put(&mut self, mut object: Object, changes: &broadcast::Sender<Change>) -> Arc<Object> {
        self.revision += 1;
        object.meta_mut().resource_version = Some(self.revision.to_string());
        let object = Arc::new(object);
        self.note_ends(&object);
        self.objects.insert(object.key(), object.clone());
        let _ = changes.send(Change { revision: self.revision, kind: ChangeKind::Modified, object: object.clone() });
        object
    }

    /// Keeps every end that became durable, once per (container, attempt) state that was not there before.
    fn note_ends(&mut self, object: &Object) {
        let ends = |o: Option<&Object>| -> BTreeSet<(String, i32)> {
            let status = o.and_then(Object::as_pod).and_then(|p| p.status.clone()).unwrap_or_default();
            let all = status.container_statuses.into_iter().flatten().chain(status.init_container_statuses.into_iter().flatten());
            let both = all.flat_map(|s| [s.state, s.last_state]).flatten().filter_map(|s| s.terminated);
            both.filter_map(|t| Some((t.container_id?, t.exit_code))).collect()
        };
        let before = ends(self.objects.get(&object.key()).map(AsRef::as_ref));
        self.recorded.extend(ends(Some(object)).difference(&before).cloned());
    }

    fn exit(&mut self, id: &str, code: u32, at: Timestamp) {
        if let Some(c) = self.containers.get_mut(id).filter(|c| matches!(c.task, TaskState::Running { .. })) {
            c.task = TaskState::Exited(Exit { code, at });
        }
    }

    fn away(&self) -> Result<(), RuntimeError> {
        if self.runtime_away { Err(RuntimeError::Unavailable { socket: "s".into(), cause: "gone".into() }) } else { Ok(()) }
    }
}

#[async_trait]
impl Clock for Double {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let left = at.duration_since(self.0.now());
        tokio::time::sleep(left.try_into().unwrap_or_default()).await;
    }
}

#[async_trait]
impl Store for Double {
    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.0.host().objects.get(key).cloned()
    }
    fn list(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.0.host().objects.values().filter(|o| o.kind() == kind).cloned().collect()
    }
    fn owned(&self, _: &str) -> Vec<Arc<Object>> {
        vec![]
    }
    fn record(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn records(&self, _: &str) -> Vec<(String, Vec<u8>)> {
        vec![]
    }
    async fn commit(&self, ops: Vec<Op>) -> Result<Vec<Arc<Object>>, StoreError> {
        let changes = self.0.changes.clone();
        let commit = |host: &mut Host| {
            if host.store_full {
                return Err(StoreError::Full { path: "p".into() });
            }
            let mut put = vec![];
            for op in ops {
                match op {
                    Op::Update(object) => {
                        let key = object.key();
                        let stored = host.objects.get(&key).ok_or_else(|| StoreError::Missing(key.clone()))?;
                        if stored.meta().resource_version != object.meta().resource_version {
                            return Err(StoreError::Conflict(key));
                        }
                        put.push(host.put(object, &changes));
                    }
                    Op::Put(object) | Op::Create(object) => put.push(host.put(object, &changes)),
                    Op::Delete { key, .. } => {
                        if let Some(object) = host.objects.remove(&key) {
                            let _ = changes.send(Change { revision: 0, kind: ChangeKind::Deleted, object });
                        }
                    }
                    Op::Record { .. } => {}
                }
            }
            Ok(put)
        };
        let takes = self.0.host().commit_takes;
        tokio::time::sleep(takes).await;
        self.0.call("commit", commit).await
    }
    fn watch(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }
}

#[async_trait]
impl Runtime for Double {
    async fn ensure_image(&self, reference: &str, _: PullPolicy) -> Result<Image, ImageError> {
        let get = |host: &mut Host| match host.pull_error {
            true => Err(ImageError::Pull { reference: reference.to_owned(), cause: "no route".into() }),
            false => Ok(Image {
                name: "docker.io/library/busybox:1.36".into(),
                digest: "sha256:1".into(),
                chain_id: "c".into(),
                config: ImageConfiguration::default(),
                size: 1,
                pulled: false,
            }),
        };
        self.0.call("image", get).await
    }
    async fn image_users(&self, _: &Image) -> Result<ImageUsers, RuntimeError> {
        Ok(ImageUsers::default())
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
            if signal == 9 || !host.stubborn.contains(id) {
                host.exit(id, 128 + signal.unsigned_abs(), at);
            }
            Ok(())
        };
        self.0.call("kill", kill).await
    }
    async fn delete_task(&self, _: &str) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let remove = |host: &mut Host| {
            host.away()?;
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

#[async_trait]
impl Network for Double {
    async fn create(&self, spec: &SandboxSpec) -> Result<Sandbox, NetworkError> {
        self.0.call("netns", |host| host.namespaces.insert(spec.uid.clone())).await;
        let pinned = |shared: bool, name: &str| match shared {
            true => Namespace::Host,
            false => Namespace::Pinned(format!("/run/ns/{}/{name}", spec.uid).into()),
        };
        Ok(Sandbox { network: pinned(spec.host_network, "net"), uts: pinned(spec.host_network, "uts"), ipc: pinned(spec.host_ipc, "ipc") })
    }
    async fn attach(&self, _: &SandboxSpec) -> Result<Vec<IpAddr>, NetworkError> {
        self.0.call("attach", |_| ()).await;
        let took = self.0.host().attach_takes;
        tokio::time::sleep(took).await;
        Ok(vec![IpAddr::from([10, 0, 0, 7])])
    }
    async fn remove(&self, uid: &str) -> Result<(), NetworkError> {
        self.0.call("detach", |host| host.namespaces.remove(uid)).await;
        Ok(())
    }
    async fn list(&self) -> Result<Vec<String>, NetworkError> {
        Ok(self.0.host().namespaces.iter().cloned().collect())
    }
    fn host_ips(&self) -> Vec<IpAddr> {
        vec![IpAddr::from([192, 168, 0, 1])]
    }
}

#[async_trait]
impl Volumes for Double {
    async fn setup(&self, pod: &Pod, _: &str, payloads: &Arc<Payloads>) -> Result<PodFiles, VolumeError> {
        let (uid, payloads) = (pod.metadata.uid.clone().unwrap_or_default(), payloads.clone());
        let volumes = payloads.volumes.keys().map(|name| (name.clone(), PathBuf::from("/volumes").join(name))).collect();
        let set_up = |host: &mut Host| {
            host.payloads = payloads.volumes.clone();
            host.volumes.insert(uid)
        };
        self.0.call("volumes", set_up).await;
        Ok(PodFiles { volumes, ..PodFiles::default() })
    }
    async fn refresh(&self, _: &Pod, payloads: &Arc<Payloads>) -> Result<(), VolumeError> {
        self.0.call("refresh", |host| host.payloads = payloads.volumes.clone()).await;
        Ok(())
    }
    async fn sub_path(&self, _: &str, volume: &Path, wanted: &SubPath) -> Result<PathBuf, VolumeError> {
        Ok(volume.join(&wanted.path))
    }
    async fn over_limit(&self, _: &Pod) -> Result<Option<String>, VolumeError> {
        Ok(self.0.host().over_limit.clone())
    }
    async fn write_hosts(&self, _: &Pod, _: &str, _: &[IpAddr]) -> Result<(), VolumeError> {
        Ok(())
    }
    async fn termination_log(&self, _: &str, _: &str, _: u32) -> Result<PathBuf, VolumeError> {
        Ok(PathBuf::new())
    }
    async fn termination_message(&self, _: &str, _: &str, _: u32) -> String {
        self.0.host().message.clone()
    }
    async fn remove(&self, uid: &str) -> Result<(), VolumeError> {
        self.0.call("unmount", |host| host.volumes.remove(uid)).await;
        let _ = std::fs::remove_dir_all(self.0.dir.join("run/pods").join(uid));
        Ok(())
    }
    async fn list(&self) -> Result<Vec<String>, VolumeError> {
        Ok(self.0.host().volumes.iter().cloned().collect())
    }
}

/// The cgroups as one agent sees them.
struct Cgroups(Arc<World>, usize);

impl PodCgroups for Cgroups {
    fn create(&self, pod: &Pod) -> std::io::Result<()> {
        let gate = self.0.host().cgroup_gate.take();
        if let Some(gate) = gate {
            self.0.host().trace.push("cgroup".to_owned());
            self.0.changed.notify_waiters();
            // Sent or dropped: either opens it.
            let _ = gate.recv();
        }
        let mut host = self.0.host();
        if host.lives == self.1 {
            host.cgroups.insert(pod.metadata.uid.clone().unwrap_or_default());
        }
        Ok(())
    }
    fn remove(&self, uid: &str) -> std::io::Result<()> {
        let mut host = self.0.host();
        if host.lives == self.1 {
            host.cgroups.remove(uid);
        }
        drop(host);
        self.0.changed.notify_waiters();
        Ok(())
    }
    fn list(&self) -> std::io::Result<Vec<String>> {
        Ok(self.0.host().cgroups.iter().cloned().collect())
    }
    fn oom_kills(&self, _: &str) -> u64 {
        u64::from(self.0.host().oom)
    }
    fn container_path(&self, _: &Pod, id: &str) -> String {
        format!("/kubepods/{id}")
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
