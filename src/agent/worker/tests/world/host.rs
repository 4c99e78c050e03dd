//! What a host keeps whether an agent lives or not, and how it is told to behave.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use oci_spec::runtime::{LinuxDevice, Spec};
use tokio::sync::broadcast;

use super::Death;
use crate::api::{Key, Object};
use crate::oci::cdi::SpecFile;
use crate::runtime::{ContainerState, Exit, RuntimeError, TaskState};
use crate::store::{Change, ChangeKind};
use crate::volumes::PayloadFile;

/// The host: outlives any agent.
#[derive(Default)]
pub(in super::super) struct Host {
    pub(in super::super) objects: BTreeMap<Key, Arc<Object>>,
    pub(super) revision: u64,
    pub(in super::super) containers: BTreeMap<String, ContainerState>,
    /// (id, how often its process was started).
    pub(in super::super) started: BTreeMap<String, u32>,
    /// Every terminated state that ever became durable: (id, exit code).
    pub(in super::super) recorded: Vec<(String, i32)>,
    pub(in super::super) namespaces: BTreeSet<String>,
    pub(in super::super) volumes: BTreeSet<String>,
    pub(in super::super) cgroups: BTreeSet<String>,
    /// (uid, volume) → the image mounted there.
    pub(in super::super) image_volumes: BTreeMap<(String, String), String>,
    /// The specs of the containers that were made.
    pub(in super::super) specs: BTreeMap<String, Spec>,
    /// What was last written to configuration volumes.
    pub(in super::super) payloads: BTreeMap<String, BTreeMap<String, PayloadFile>>,
    /// The emptyDir that holds too much.
    pub(in super::super) over_limit: Option<String>,
    /// What the Pod's volumes, and each container's layer, take.
    pub(in super::super) disk: crate::controllers::pressure::DiskUsage,
    pub(in super::super) signals: Vec<(String, i32)>,
    /// What a container does when started: exit with this code after so many seconds; absent = runs on.
    pub(in super::super) script: BTreeMap<String, (u64, u32)>,
    /// Containers that ignore the stop signal.
    pub(in super::super) stubborn: BTreeSet<String>,
    /// No signal ends anything: processes in uninterruptible sleep.
    pub(in super::super) immortal: bool,
    pub(in super::super) oom: bool,
    /// A container's cgroup is gone with its last process, and nothing else counts its OOM kills.
    pub(in super::super) scopes_vanish: bool,
    pub(in super::super) message: String,
    pub(in super::super) pull_error: bool,
    /// The image is not there: a registry is asked, and answers after so long.
    pub(in super::super) pull_takes: Option<Duration>,
    /// What a container's logger writes only when its task is deleted, and where.
    pub(in super::super) last_line: Option<(PathBuf, &'static str)>,
    /// What is in /dev; `None`: it cannot be read.
    pub(in super::super) devices: Option<Vec<LinuxDevice>>,
    /// CDI's files.
    pub(in super::super) cdi: Vec<SpecFile>,
    pub(in super::super) start_error: Option<&'static str>,
    /// What a command does, by its first word: how long it takes, and its exit code. Absent = it passes at once.
    pub(in super::super) commands: BTreeMap<String, (Duration, u32)>,
    /// The commands that were run, and in which container.
    pub(in super::super) ran: Vec<(String, String)>,
    pub(in super::super) store_full: bool,
    /// So many removals of containers fail.
    pub(in super::super) remove_errors: u32,
    pub(in super::super) runtime_away: bool,
    /// What was done before it was durable that it would be.
    pub(in super::super) violations: Vec<String>,
    pub(in super::super) commit_takes: Duration,
    pub(in super::super) create_takes: Duration,
    pub(in super::super) attach_takes: Duration,
    /// No address is to be had.
    pub(in super::super) attach_fails: bool,
    /// What of the pod's DNS configuration does not fit.
    pub(in super::super) dns_omitted: Vec<String>,
    /// No address is given back.
    pub(in super::super) detach_fails: bool,
    /// The next time there is a panic.
    pub(in super::super) detach_panics: bool,
    /// The pod's namespaces stay.
    pub(in super::super) unpin_fails: bool,
    /// The plugins find the pod's network broken.
    pub(in super::super) check_fails: bool,
    pub(in super::super) setup_takes: Duration,
    pub(in super::super) trace: Vec<String>,
    /// The next making of a cgroup waits for a word (or the end) of the sender.
    pub(in super::super) cgroup_gate: Option<std::sync::mpsc::Receiver<()>>,
    /// How many agents died: what threads of theirs still do has no effect.
    pub(super) lives: usize,
    pub(super) calls: usize,
    pub(super) death: Option<Death>,
    /// At which call of a driver its task panics.
    pub(in super::super) panic_at: Option<usize>,
    pub(in super::super) dead: bool,
}

impl Host {
    pub(in super::super) fn holds_nothing(&self) -> bool {
        self.containers.is_empty() && self.namespaces.is_empty() && self.volumes.is_empty() && self.cgroups.is_empty()
    }

    pub(super) fn put(&mut self, mut object: Object, changes: &broadcast::Sender<Change>) -> Arc<Object> {
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

    pub(super) fn exit(&mut self, id: &str, code: u32, at: Timestamp) {
        if let Some(c) = self.containers.get_mut(id).filter(|c| matches!(c.task, TaskState::Running { .. })) {
            c.task = TaskState::Exited(Exit { code, at });
        }
    }

    pub(super) fn away(&self) -> Result<(), RuntimeError> {
        if self.runtime_away { Err(RuntimeError::Unavailable { socket: "s".into(), cause: "gone".into() }) } else { Ok(()) }
    }
}
