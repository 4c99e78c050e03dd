//! The agent's next steps about one workload, played on a copy of what it has: the directory's plan, then the controllers', until they rest.
//!
//! Guarantees: the controllers' own code decides, in a bounded number of rounds; a pod that is deleted is gone in the next round, one that is made runs
//! and is ready then. Left to others: time. Nothing waits here, and no pod ends by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::change::{Known, runs};
use crate::api::{Key, Kind, Object};
use crate::controllers::{Context, Plan, cronjob, daemonset, deletion, job, static_pod, sync};

/// A replacement takes the most: its pods, its Jobs and itself go, then come the new ones.
const ROUNDS: usize = 12;

/// What was made and what was stopped.
pub(super) struct Rehearsal {
    /// Pods, and a CronJob's Jobs, in order.
    pub started: Vec<Object>,
    /// Names of pods that ran and were stopped, in order of name.
    pub stopped: Vec<String>,
    /// Uids of what is not there any more.
    pub gone: BTreeSet<String>,
}

struct Stage {
    objects: BTreeMap<Key, Arc<Object>>,
    tombstones: BTreeMap<String, String>,
    made: Vec<Object>,
}

/// Plays what comes of `desired` in place of `stored`.
pub(super) fn rehearse(desired: &Object, stored: Option<Arc<Object>>, known: &Known, cx: &mut Context) -> Rehearsal {
    let mut stage = Stage { objects: BTreeMap::new(), tombstones: BTreeMap::new(), made: Vec::new() };
    stage.enter(stored.into_iter().collect(), known);
    let key = desired.key();
    let name = format!("{}/{}", key.namespace, key.name);
    stage.tombstones.extend(known.tombstones.get(&name).filter(|_| key.kind == Kind::Job).map(|stone| (name, stone.clone())));
    let before: BTreeMap<Key, Arc<Object>> = stage.objects.clone();
    for _ in 0..ROUNDS {
        let was = (stage.objects.clone(), stage.tombstones.clone());
        stage.round(desired, cx);
        if was == (stage.objects.clone(), stage.tombstones.clone()) {
            break;
        }
    }
    let there: BTreeSet<&str> = stage.objects.values().map(|object| object.uid()).collect();
    let gone: Vec<&Arc<Object>> = before.values().filter(|object| !there.contains(object.uid())).collect();
    let stopped = gone.iter().filter(|object| runs(object)).map(|object| object.key().name).collect();
    let gone = gone.iter().map(|object| object.uid().to_owned()).collect();
    let kept = |object: &Object| there.contains(object.uid()) && matches!(object.kind(), Kind::Pod | Kind::Job) && object.key() != key;
    Rehearsal { started: stage.made.into_iter().filter(kept).collect(), stopped, gone }
}

impl Stage {
    /// The objects, and what they own: a CronJob's Jobs' pods too.
    fn enter(&mut self, objects: Vec<Arc<Object>>, known: &Known) {
        for object in objects {
            let owned = (known.owned)(object.uid());
            if self.objects.insert(object.key(), object).is_none() {
                self.enter(owned, known);
            }
        }
    }

    fn round(&mut self, desired: &Object, cx: &mut Context) {
        let key = desired.key();
        let stored: Vec<Arc<Object>> = self.objects.get(&key).cloned().into_iter().collect();
        let plan = sync::reconcile(&[desired], &stored, &BTreeSet::new(), &self.tombstones, cx);
        self.apply(plan, cx.now);
        let workloads: Vec<Arc<Object>> = self.objects.values().filter(|object| object.kind() != Kind::Pod).cloned().collect();
        for object in workloads {
            let owned: Vec<Arc<Object>> = self.objects.values().filter(|o| o.controller_uid() == Some(object.uid())).cloned().collect();
            let plan = match &*object {
                Object::DaemonSet(o) => daemonset::reconcile(o, &owned, cx),
                Object::Job(o) => job::reconcile(o, &owned, cx),
                Object::CronJob(o) => cronjob::reconcile(o, &owned, cx),
                Object::StaticPod(o) => static_pod::reconcile(o, &owned, cx),
                _ => continue,
            };
            self.apply(plan, cx.now);
        }
        self.act();
    }

    fn apply(&mut self, plan: Plan, now: Timestamp) {
        let plan = deletion::fold(plan, |key| self.objects.get(key).cloned(), now);
        for object in plan.create {
            self.made.push(object.clone());
            self.objects.insert(object.key(), Arc::new(object));
        }
        self.objects.extend(plan.update.into_iter().map(|object| (object.key(), Arc::new(object))));
        for (key, uid) in plan.remove {
            if self.objects.get(&key).is_some_and(|object| object.uid() == uid) {
                self.objects.remove(&key);
            }
        }
        for (name, value) in plan.records {
            let name = name.strip_prefix(crate::api::well_known::JOB_TOMBSTONE).unwrap_or(&name).to_owned();
            match value {
                Some(value) => self.tombstones.insert(name, String::from_utf8_lossy(&value).into_owned()),
                None => self.tombstones.remove(&name),
            };
        }
    }

    /// What the pod workers would do.
    fn act(&mut self) {
        self.objects.retain(|_, object| object.as_pod().is_none_or(|pod| pod.metadata.deletion_timestamp.is_none()));
        let made: BTreeSet<&str> = self.made.iter().map(|object| object.uid()).collect();
        for object in self.objects.values_mut() {
            let fresh = made.contains(object.uid());
            if let Some(pod) = object.as_pod().filter(|_| fresh) {
                *object = Arc::new(ready(pod.clone()).into());
            }
        }
    }
}

/// The pod, running and ready for as long as anybody could ask for.
fn ready(mut pod: Pod) -> Pod {
    let status = pod.status.get_or_insert_default();
    status.phase = Some("Running".to_owned());
    let since = Some(Time(Timestamp::UNIX_EPOCH));
    let condition =
        PodCondition { type_: "Ready".to_owned(), status: "True".to_owned(), last_transition_time: since, ..PodCondition::default() };
    status.conditions = Some(vec![condition]);
    pod
}
