//! A world for the controllers' tests: objects in memory, a virtual clock, and pods that do what the test says.
//!
//! It commits plans as strictly as the Store: creating what exists, updating what is gone or unchanged, is a failure of the test.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::*;
use crate::api::well_known::KEEP_OBJECT;
use crate::api::{Key, Kind, Object};

pub(super) struct World {
    pub objects: BTreeMap<Key, Arc<Object>>,
    pub records: BTreeMap<String, Vec<u8>>,
    pub events: Vec<EventDraft>,
    pub node: Node,
    pub now: Timestamp,
    pub zone: TimeZone,
    pub wake_at: Option<Timestamp>,
    /// How many pods were ever created.
    pub pods_made: usize,
    /// How many plans were made: part of the names' seed.
    steps: u64,
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn seconds(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

pub(super) fn object(kind: Kind, value: Value) -> Object {
    Object::from_json(kind, value.to_string().as_bytes()).unwrap()
}

impl World {
    pub fn new(now: &str) -> World {
        World {
            objects: BTreeMap::new(),
            records: BTreeMap::new(),
            events: Vec::new(),
            node: serde_json::from_value(json!({"metadata": {"name": "n1"}})).unwrap(),
            now: at(now),
            zone: TimeZone::UTC,
            wake_at: None,
            pods_made: 0,
            steps: 0,
        }
    }

    /// Stores an object as the test wrote it.
    pub fn put(&mut self, object: Object) -> Key {
        let key = object.key();
        self.objects.insert(key.clone(), Arc::new(object));
        key
    }

    pub fn owned(&self, uid: &str) -> Vec<Arc<Object>> {
        self.objects.values().filter(|o| o.controller_uid() == Some(uid)).cloned().collect()
    }

    pub fn of_kind(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.objects.values().filter(|o| o.kind() == kind).cloned().collect()
    }

    pub fn pods(&self) -> Vec<Pod> {
        self.objects
            .values()
            .filter_map(|o| o.as_pod().cloned())
            .filter(|p| !p.metadata.name.as_deref().unwrap().starts_with("tpl"))
            .collect()
    }

    pub fn active(&self) -> Vec<Pod> {
        self.pods().into_iter().filter(pods::active).collect()
    }

    /// Runs `plan` with a context of now.
    pub fn plan<T>(&mut self, make: impl FnOnce(&World, &mut Context) -> T) -> T {
        self.steps += 1;
        let names = crate::api::names::Names::new(self.steps, "owner", self.now);
        let node = self.node.clone();
        let mut cx = Context { node: &node, now: self.now, names, zone: self.zone.clone() };
        make(self, &mut cx)
    }

    /// Commits a plan; returns whether anything was in it.
    pub fn apply(&mut self, plan: Plan) -> bool {
        let worked = !plan.is_empty();
        if let Some(at) = plan.wake_at {
            self.wake_at = Some(self.wake_at.map_or(at, |w| w.min(at)));
        }
        let plan = deletion::fold(plan, |key| self.objects.get(key).cloned(), self.now);
        for created in plan.create {
            let meta = created.meta();
            assert!(meta.uid.is_some() && meta.creation_timestamp.is_some(), "incomplete: {created:?}");
            self.pods_made += usize::from(created.kind() == Kind::Pod);
            let key = created.key();
            assert!(self.objects.insert(key.clone(), Arc::new(created)).is_none(), "{key} exists");
        }
        for updated in plan.update {
            let key = updated.key();
            let old = self.objects.insert(key.clone(), Arc::new(updated.clone())).unwrap_or_else(|| panic!("{key} is gone"));
            assert_ne!(*old, updated, "{key} did not change");
        }
        for (key, uid) in plan.remove {
            if self.objects.get(&key).is_some_and(|o| o.uid() == uid) {
                self.objects.remove(&key);
            }
        }
        for (name, value) in plan.records {
            match value {
                Some(value) => self.records.insert(name, value),
                None => self.records.remove(&name),
            };
        }
        self.events.extend(plan.events);
        worked
    }

    /// Reconciles the workload under `key` once.
    pub fn step(&mut self, key: &Key) -> bool {
        let Some(object) = self.objects.get(key).cloned() else { return false };
        let owned = self.owned(object.uid());
        let plan = self.plan(|_, cx| match &*object {
            Object::Job(job) => job::reconcile(job, &owned, cx),
            Object::CronJob(cj) => cronjob::reconcile(cj, &owned, cx),
            Object::DaemonSet(ds) => daemonset::reconcile(ds, &owned, cx),
            Object::StaticPod(pod) => static_pod::reconcile(pod, &owned, cx),
            other => panic!("no controller for {other:?}"),
        });
        self.apply(plan)
    }

    /// Reconciles until there is nothing to do. One step must be enough: plans are idempotent.
    pub fn settle(&mut self, key: &Key) {
        self.wake_at = None;
        self.step(key);
        self.wake_at = None;
        let before: Vec<_> = self.objects.values().cloned().collect();
        let worked = self.step(key);
        assert!(!worked, "not idempotent:\n{before:#?}\n→\n{:#?}\n{:?}", self.objects.values().collect::<Vec<_>>(), self.events.last());
    }

    /// Changes a pod's status.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut Pod)) {
        let key = Key::new(Kind::Pod, "default", name);
        let mut pod = self.objects[&key].as_pod().unwrap().clone();
        change(&mut pod);
        self.put(pod.into());
    }

    /// The pod runs and is ready since now.
    pub fn run(&mut self, name: &str) {
        let status = json!({"phase": "Running", "startTime": self.now.to_string(),
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": self.now.to_string()}]});
        self.change(name, |p| p.status = serde_json::from_value(status).unwrap());
    }

    /// All its containers ended now with this exit code. Why it was stopped stays written on it.
    pub fn exit(&mut self, name: &str, code: i32) {
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let status = json!({"phase": phase, "containerStatuses": [{"name": "c", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
            "state": {"terminated": {"exitCode": code, "finishedAt": self.now.to_string()}}}]});
        self.change(name, |p| {
            let told = p.status.take().and_then(|s| s.conditions).unwrap_or_default();
            let kept: Vec<_> = told.into_iter().filter(|c| c.type_ == "DisruptionTarget").collect();
            p.status = serde_json::from_value(status).unwrap();
            p.status.as_mut().unwrap().conditions = Some(kept).filter(|c| !c.is_empty());
        });
    }

    /// The host's shutdown ended it.
    pub fn interrupt(&mut self, name: &str) {
        self.exit(name, 137);
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"});
        self.change(name, |p| p.status.as_mut().unwrap().conditions = Some(vec![serde_json::from_value(condition).unwrap()]));
    }

    /// What the pod workers do for pods being deleted: stop them, and drop them or keep them.
    pub fn finish_deleted(&mut self) {
        for pod in self.pods().into_iter().filter(pods::deleting) {
            let name = pod.metadata.name.clone().unwrap();
            if !pods::terminal(&pod) {
                self.exit(&name, 143);
            }
            let key = Key::new(Kind::Pod, "default", &*name);
            let mut pod = self.objects[&key].as_pod().unwrap().clone();
            if pods::annotation(&pod.metadata, KEEP_OBJECT).is_some() {
                pod.metadata.deletion_timestamp = None;
                pod.metadata.deletion_grace_period_seconds = None;
                self.put(pod.into());
            } else if pod.metadata.finalizers.is_none() {
                self.objects.remove(&key);
            }
        }
    }

    pub fn job(&self, key: &Key) -> k8s_openapi::api::batch::v1::Job {
        self.objects[key].as_job().unwrap().clone()
    }

    pub fn event_count(&self, reason: &str) -> usize {
        self.events.iter().filter(|e| e.reason == reason).count()
    }
}
