//! The virtual world: objects, a calendar, and the turn of the loop (the counterpart of `agent::reconcile` and of the Store).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;

use super::containers::Worker;
use super::timeline::{self, Entry};
use super::{Change, Ending, MAX_ENTRIES, Outcome, Settings, changes};
use crate::api::names::Names;
use crate::api::well_known::{JOB_TOMBSTONE, SOURCE};
use crate::api::{Key, Kind, Object};
use crate::controllers::{self, Context, EventDraft, Plan, binding, deletion, pods};
use crate::pod::attempt::Role;

/// Steps at one instant after which it is said not to come to rest.
const MAX_STEPS: usize = 100_000;
/// The seed of names: any, as long as it is the same.
const SEED: u64 = 1;

/// What the calendar holds.
pub(super) enum Happening {
    Start { pod: Key, uid: String, name: String, role: Role },
    Exit { pod: Key, uid: String, name: String, code: i32 },
    Change(Change),
}

pub(super) struct World<'s> {
    pub(super) settings: &'s Settings,
    pub(super) objects: BTreeMap<Key, Arc<Object>>,
    pub(super) workers: BTreeMap<String, Worker>,
    /// Objects to look at.
    pub(super) dirty: BTreeSet<Key>,
    /// (owner's uid, container) → runs so far.
    pub(super) runs: BTreeMap<(String, String), usize>,
    records: BTreeMap<String, Vec<u8>>,
    node: Node,
    wishes: Vec<Object>,
    wishes_dirty: bool,
    elapsed: SignedDuration,
    /// By how much the wall clock was set.
    clock_set: SignedDuration,
    calendar: BTreeMap<(SignedDuration, u64), Happening>,
    serial: u64,
    wakes: BTreeMap<Key, Timestamp>,
    timeline: Vec<Entry>,
    steps: usize,
}

impl<'s> World<'s> {
    pub(super) fn new(settings: &'s Settings, changes: Vec<(SignedDuration, Change)>) -> World<'s> {
        let mut world = World {
            settings,
            objects: BTreeMap::new(),
            workers: BTreeMap::new(),
            dirty: BTreeSet::new(),
            runs: BTreeMap::new(),
            records: BTreeMap::new(),
            node: changes::prepared(&settings.node, settings.from),
            wishes: Vec::new(),
            wishes_dirty: false,
            elapsed: SignedDuration::ZERO,
            clock_set: SignedDuration::ZERO,
            calendar: BTreeMap::new(),
            serial: 0,
            wakes: BTreeMap::new(),
            timeline: Vec::new(),
            steps: 0,
        };
        for (after, change) in changes {
            world.expect(after, Happening::Change(change));
        }
        world
    }

    pub(super) fn outcome(self, ending: Ending) -> Outcome {
        let now = self.now();
        let objects = self.objects.into_values().map(|o| (*o).clone()).collect();
        Outcome { timeline: self.timeline, objects, ending, elapsed: self.elapsed, now }
    }

    /// What the wall clock shows.
    pub(super) fn now(&self) -> Timestamp {
        let since = self.elapsed.saturating_add(self.clock_set);
        self.settings.from.checked_add(since).unwrap_or(Timestamp::MAX)
    }

    /// How long it has gone on.
    pub(super) fn elapsed(&self) -> SignedDuration {
        self.elapsed
    }

    /// Turns until nothing is left, or a bound is reached.
    pub(super) fn play(&mut self) -> Ending {
        loop {
            if !self.settle() {
                return Ending::Restless;
            }
            if self.timeline.len() >= MAX_ENTRIES {
                return Ending::TooLong;
            }
            let Some(next) = self.next_instant() else { return Ending::Quiet };
            if next > self.settings.until {
                self.elapsed = self.settings.until;
                return Ending::Until;
            }
            if next > self.elapsed {
                self.steps = 0;
            }
            self.elapsed = next.max(self.elapsed);
            self.do_due();
        }
    }

    fn next_instant(&self) -> Option<SignedDuration> {
        let happening = self.calendar.keys().next().map(|(at, _)| *at);
        let wake = self.wakes.values().min().map(|at| at.duration_since(self.settings.from).saturating_sub(self.clock_set));
        happening.into_iter().chain(wake).min()
    }

    fn do_due(&mut self) {
        let now = self.now();
        let due: Vec<Key> = self.wakes.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.wakes.remove(&key);
            self.dirty.insert(key);
        }
        while let Some(entry) = self.calendar.first_entry().filter(|e| e.key().0 <= self.elapsed) {
            match entry.remove() {
                Happening::Start { pod, uid, name, role } => self.started(&pod, &uid, &name, role),
                Happening::Exit { pod, uid, name, code } => self.exited(&pod, &uid, &name, code),
                Happening::Change(change) => self.change(change),
            }
        }
    }

    fn change(&mut self, change: Change) {
        let key = self.node_key();
        match change {
            Change::Manifests(objects) => (self.wishes, self.wishes_dirty) = (objects, true),
            Change::Clock(by) => {
                self.clock_set = self.clock_set.saturating_add(by);
                self.row(&key, "Change", "Clock", format!("the clock was set to {}", self.now()));
            }
            Change::Reboot => {
                self.row(&key, "Change", "Reboot", "the host was rebooted".to_owned());
                self.reboot();
            }
            change => {
                let now = self.now();
                if let Some(said) = changes::to_node(&mut self.node, change, now) {
                    self.row(&key, "Change", "Node", said);
                }
            }
        }
        let workloads = self.objects.keys().cloned().collect::<Vec<_>>();
        self.dirty.extend(workloads);
    }

    /// Everything there is to do now. False: it does not come to rest.
    fn settle(&mut self) -> bool {
        loop {
            if std::mem::take(&mut self.wishes_dirty) {
                self.sync();
            }
            while let Some(key) = self.next_dirty() {
                self.steps += 1;
                if self.steps > MAX_STEPS {
                    return false;
                }
                match key.kind {
                    Kind::Pod => self.step_pod(&key),
                    _ => self.reconcile(&key),
                }
            }
            self.bind();
            self.evict();
            if self.dirty.is_empty() && !self.wishes_dirty {
                return true;
            }
        }
    }

    /// Pods first: what ends at one instant is all known before a controller judges it.
    fn next_dirty(&mut self) -> Option<Key> {
        let key = self.dirty.iter().find(|key| key.kind == Kind::Pod).or(self.dirty.first()).cloned()?;
        self.dirty.remove(&key);
        Some(key)
    }

    fn sync(&mut self) {
        let from_file = |o: &&Arc<Object>| pods::annotation(o.meta(), SOURCE).is_some() && o.controller_uid().is_none();
        let stored: Vec<Arc<Object>> = self.objects.values().filter(from_file).cloned().collect();
        let text = |(name, value): (&String, &Vec<u8>)| {
            Some((name.strip_prefix(JOB_TOMBSTONE)?.to_owned(), String::from_utf8_lossy(value).into_owned()))
        };
        let tombstones: BTreeMap<String, String> = self.records.iter().filter_map(text).collect();
        let wishes = self.wishes.clone();
        let desired: Vec<&Object> = wishes.iter().collect();
        let node = self.node.clone();
        let plan = controllers::sync::reconcile(&desired, &stored, &BTreeSet::new(), &tombstones, &mut self.context(&node, "manifests"));
        self.commit(plan);
    }

    fn reconcile(&mut self, key: &Key) {
        let Some(object) = self.objects.get(key).cloned() else { return };
        let owned: Vec<Arc<Object>> = self.objects.values().filter(|o| o.controller_uid() == Some(object.uid())).cloned().collect();
        let node = self.node.clone();
        let mut cx = self.context(&node, object.uid());
        let plan = match &*object {
            Object::DaemonSet(o) => controllers::daemonset::reconcile(o, &owned, &mut cx),
            Object::Job(o) => controllers::job::reconcile(o, &owned, &mut cx),
            Object::CronJob(o) => controllers::cronjob::reconcile(o, &owned, &mut cx),
            Object::StaticPod(o) => controllers::static_pod::reconcile(o, &owned, &mut cx),
            _ => return,
        };
        self.set_wake(key, plan.wake_at);
        self.commit(plan);
    }

    fn bind(&mut self) {
        let waiting = |p: &k8s_openapi::api::core::v1::Pod| p.spec.as_ref().is_some_and(|s| s.node_name.is_none());
        let mut unbound: Vec<Arc<Object>> = self.objects.values().filter(|o| o.as_pod().is_some_and(waiting)).cloned().collect();
        unbound.sort_by_key(|o| (o.meta().creation_timestamp.clone().map(|t| t.0), o.key()));
        for object in unbound {
            let Some(pod) = object.as_pod() else { continue };
            let outcome = binding::bind(pod, &self.bound(), &self.node, None, self.now());
            outcome.events.iter().for_each(|event| self.tell(event));
            outcome.pod.into_iter().for_each(|pod| self.put(pod.into()));
        }
    }

    fn evict(&mut self) {
        let node = self.node.clone();
        let plan = controllers::taints::reconcile(&self.bound(), &mut self.context(&node, "taints"));
        let key = self.node_key();
        self.set_wake(&key, plan.wake_at);
        self.commit(plan);
    }

    /// The pods that hold this node's resources.
    fn bound(&self) -> Vec<Arc<Object>> {
        let held = |o: &Arc<Object>| o.as_pod().is_some_and(pods::holds_resources);
        self.objects.values().filter(|o| held(o)).cloned().collect()
    }

    fn context<'a>(&self, node: &'a Node, owner: &str) -> Context<'a> {
        Context { node, now: self.now(), names: Names::new(SEED, owner, self.now()), zone: self.settings.zone.clone() }
    }

    fn node_key(&self) -> Key {
        Key::new(Kind::Node, "", self.node.metadata.name.clone().unwrap_or_default())
    }

    pub(super) fn set_wake(&mut self, key: &Key, at: Option<Timestamp>) {
        match at {
            Some(at) => self.wakes.insert(key.clone(), at),
            None => self.wakes.remove(key),
        };
    }

    /// Puts something into the calendar; the number takes it out again.
    pub(super) fn expect(&mut self, after: SignedDuration, happening: Happening) -> u64 {
        self.serial += 1;
        self.calendar.insert((self.elapsed.saturating_add(after), self.serial), happening);
        self.serial
    }

    pub(super) fn cancel(&mut self, serial: u64) {
        self.calendar.retain(|(_, number), _| *number != serial);
    }

    fn commit(&mut self, plan: Plan) {
        let plan = deletion::fold(plan, |key| self.objects.get(key).cloned(), self.now());
        plan.events.iter().for_each(|event| self.tell(event));
        for object in plan.create {
            self.put(object);
        }
        for object in plan.update {
            match deletion::drops_at_once(&object) {
                true => self.remove(&object.key(), object.uid()),
                false => self.put(object),
            }
        }
        for (key, uid) in plan.remove {
            self.remove(&key, &uid);
        }
        for (name, value) in plan.records {
            match value {
                Some(value) => self.records.insert(name, value),
                None => self.records.remove(&name),
            };
        }
    }

    /// Stores an object; it and its owner are looked at, if it changed.
    pub(super) fn put(&mut self, object: Object) {
        let key = object.key();
        let old = self.objects.get(&key).cloned();
        if old.as_deref() == Some(&object) {
            return;
        }
        for (kind, reason, message) in timeline::differences(old.as_deref(), &object) {
            self.row(&key, kind, &reason, message);
        }
        self.look_at_owner(&object);
        self.dirty.insert(key.clone());
        self.objects.insert(key, Arc::new(object));
    }

    pub(super) fn remove(&mut self, key: &Key, uid: &str) {
        let Some(object) = self.objects.get(key).filter(|o| o.uid() == uid).cloned() else { return };
        self.objects.remove(key);
        self.workers.remove(uid);
        self.wakes.remove(key);
        self.look_at_owner(&object);
        self.wishes_dirty = true;
        if matches!(key.kind, Kind::Pod | Kind::Job | Kind::CronJob | Kind::DaemonSet) {
            self.row(key, "Deleted", "Deleted", String::new());
        }
    }

    fn look_at_owner(&mut self, object: &Object) {
        let owner = object.controller_uid().and_then(|uid| self.objects.values().find(|o| o.uid() == uid));
        self.dirty.extend(owner.map(|o| o.key()));
    }

    pub(super) fn tell(&mut self, event: &EventDraft) {
        if !timeline::is_noise(&event.reason) {
            let kind = if event.warning { "Warning" } else { "Normal" };
            self.row(&event.about, kind, &event.reason, event.message.clone());
        }
    }

    pub(super) fn row(&mut self, about: &Key, kind: &'static str, reason: &str, message: String) {
        if self.timeline.len() < MAX_ENTRIES {
            let (elapsed, time, about, reason) = (self.elapsed, self.now(), about.clone(), reason.to_owned());
            self.timeline.push(Entry { elapsed, time, about, kind, reason, message });
        }
    }
}
