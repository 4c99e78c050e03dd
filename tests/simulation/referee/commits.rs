//! What a commit may change.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use minik8s::admission;
use minik8s::api::user_namespace::{self, IdRange};
use minik8s::api::{Key, Kind, Object};
use minik8s::controllers::{job, pods};
use minik8s::pod::{attempt, phase};
use minik8s::runtime::TaskState;
use minik8s::store::mirror::Mirror;
use minik8s::store::{Change, ChangeKind};

use super::Referee;
use crate::world::{Container, short};

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const SLOT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// The controller that owns an object, if it is stored.
pub(super) fn owner<'m>(object: &Object, mirror: &'m Mirror) -> Option<&'m Arc<Object>> {
    let meta = object.meta();
    let reference = meta.owner_references.iter().flatten().find(|o| o.controller == Some(true))?;
    let kind = match reference.kind.as_str() {
        "Pod" => Kind::StaticPod,
        other => Kind::parse(other)?,
    };
    let key = Key::new(kind, meta.namespace.clone().unwrap_or_default(), reference.name.clone());
    mirror.get(&key).filter(|o| o.uid() == reference.uid)
}

impl Referee {
    /// A batch of transactions is durable; `mirror` is what the Store holds now.
    pub fn committed(&mut self, changes: &[Change], mirror: &Mirror, containers: &BTreeMap<String, Container>) {
        self.bindings(changes);
        for change in changes {
            if let Some(pod) = change.object.as_pod().filter(|_| change.object.kind() == Kind::Pod) {
                self.pod(change, pod, mirror, containers);
            }
        }
        self.own_ids(mirror, containers);
        for change in changes {
            match (&*change.object, change.kind) {
                (object @ (Object::Job(_) | Object::CronJob(_) | Object::DaemonSet(_) | Object::StaticPod(_)), ChangeKind::Deleted) => {
                    let left = mirror.owned(object.uid()).len();
                    self.hold("owner goes last", left == 0 || object.kind() == Kind::DaemonSet && no_pods(object, mirror), || {
                        format!("{} is gone, {left} objects of it are left", object.key())
                    });
                }
                (Object::Job(job), kind) => self.job(kind, &change.object, job, mirror),
                _ => {}
            }
        }
    }

    /// One change after the other: what stands before a binding in the same batch counts too.
    fn bindings(&mut self, changes: &[Change]) {
        for change in changes {
            match &*change.object {
                Object::Node(_) => self.node = (change.kind != ChangeKind::Deleted).then(|| change.object.clone()),
                Object::Pod(pod) if change.kind != ChangeKind::Deleted => self.binding(&change.object, pod),
                _ => {}
            }
        }
    }

    fn binding(&mut self, object: &Arc<Object>, pod: &Pod) {
        let Some(spec) = pod.spec.as_ref().filter(|spec| spec.node_name.is_some()) else { return };
        let memory = self.pods.entry(object.uid().to_owned()).or_default();
        if std::mem::replace(&mut memory.bound, true) {
            return;
        }
        let stored = self.node.clone();
        let node = stored.as_deref().and_then(Object::as_node).cloned().unwrap_or_default();
        let open = match pods::is_static(pod) {
            true => admission::placement_reasons(spec, &node).is_empty() && !admission::cordoned_for(spec, &node),
            false => admission::eligible(spec, &node).should_run,
        };
        self.hold("bound by the Node as it is", open, || format!("{} is given to a node with {:?}", object.key(), node.spec));
    }

    /// A range of the host's ids is one pod's, as long as that holds a place here or something of it runs.
    fn own_ids(&mut self, mirror: &Mirror, containers: &BTreeMap<String, Container>) {
        let runs = |uid: &str| containers.values().any(|c| c.uid == uid && matches!(c.state.task, TaskState::Running { .. }));
        let mut whose: BTreeMap<IdRange, Key> = BTreeMap::new();
        for object in mirror.list(Kind::Pod) {
            let Some(pod) = object.as_pod() else { continue };
            let Some(range) = user_namespace::assigned(pod) else { continue };
            if phase::is_terminal(phase::of(pod)) && !runs(object.uid()) {
                continue;
            }
            let other = whose.insert(range, object.key());
            self.hold("ids are one pod's", other.is_none(), || {
                format!("{} and {other:?} have the ids from {}", object.key(), range.first())
            });
        }
    }

    fn pod(&mut self, change: &Change, pod: &Pod, mirror: &Mirror, containers: &BTreeMap<String, Container>) {
        let uid = change.object.uid().to_owned();
        if change.kind == ChangeKind::Deleted {
            let left = containers.values().any(|c| c.uid == uid && matches!(c.state.task, TaskState::Running { .. }));
            self.hold("owner goes last", !left, || format!("{} is gone and runs", change.object.key()));
            return;
        }
        let memory = self.pods.entry(uid.clone()).or_default();
        let (before, first) = (memory.terminal.clone(), !std::mem::replace(&mut memory.seen, true));
        let now = phase::of(pod).filter(|p| phase::is_terminal(Some(p))).map(str::to_owned);
        memory.terminal.clone_from(&now);
        self.hold("terminated stays terminated", before.is_none() || before == now, || {
            format!("pod {} [{}] was {before:?} and is {:?}", change.object.key(), short(&uid), phase::of(pod))
        });
        let owner = owner(&change.object, mirror).cloned();
        if before.is_none() && now.as_deref() == Some("Succeeded") && pods::tracked(pod) {
            let deleted = owner.as_ref().is_none_or(|o| o.meta().deletion_timestamp.is_some());
            if let Some(job) = change.object.controller_uid().filter(|_| !deleted) {
                self.jobs.entry(job.to_owned()).or_default().owed.insert(uid.clone());
            }
        }
        self.ends(pod);
        if first && let Some(owner) = owner {
            self.new_pod(&change.object, pod, &owner, mirror);
        }
    }

    /// The stored ends of containers are what really happened.
    fn ends(&mut self, pod: &Pod) {
        let status = pod.status.iter();
        let all = status.flat_map(|s| s.init_container_statuses.iter().flatten().chain(s.container_statuses.iter().flatten()));
        let states = all.flat_map(|s| [s.state.as_ref(), s.last_state.as_ref()]).flatten();
        for end in states.filter_map(|s| s.terminated.as_ref()) {
            let Some(id) = end.container_id.as_deref().map(attempt::bare_id) else { continue };
            let known = self.attempts.entry(id.to_owned()).or_default();
            let unknown = end.reason.as_deref() == Some("ContainerStatusUnknown");
            let true_ = match known.exit {
                _ if unknown => known.lost || known.started == 0,
                Some(code) => i64::from(code) == i64::from(end.exit_code),
                None => known.not_startable && end.exit_code == 128,
            };
            let same = known.recorded.is_none_or(|code| code == end.exit_code);
            known.recorded = Some(end.exit_code);
            let known = known.clone();
            self.hold("ends as they were", true_ && same, || format!("container {} is stored as {end:?}; really {known:?}", short(id)));
        }
    }

    fn new_pod(&mut self, object: &Arc<Object>, pod: &Pod, owner: &Arc<Object>, mirror: &Mirror) {
        let owned = mirror.owned(owner.uid());
        let all = pods::among(&owned);
        let active = all.iter().filter(|p| pods::active(p)).count();
        match &**owner {
            Object::Job(job) => self.new_job_pod(object, pod, job, &all, active),
            Object::DaemonSet(set) => {
                let update = set.spec.as_ref().and_then(|s| s.update_strategy.as_ref()).and_then(|u| u.rolling_update.as_ref());
                let surge = update.and_then(|r| r.max_surge.as_ref()).is_some_and(|s| format!("{s:?}") != "Int(0)");
                if surge {
                    self.surged.insert(owner.uid().to_owned());
                }
                self.hold("one daemon pod", active <= 1 + usize::from(surge), || format!("{} has {active} active pods", owner.key()));
            }
            Object::StaticPod(_) => self.hold("one static pod", all.len() == 1, || format!("{} has {} pods", owner.key(), all.len())),
            _ => {}
        }
    }

    fn new_job_pod(&mut self, object: &Arc<Object>, pod: &Pod, job: &Job, all: &[&Pod], active: usize) {
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let key = object.key();
        let spec = job.spec.clone().unwrap_or_default();
        let status = job.status.clone().unwrap_or_default();
        let number = |n: Option<i32>| usize::try_from(n.unwrap_or(0)).unwrap_or(0);
        self.jobs.entry(uid).or_default().pods.insert(object.uid().to_owned());
        self.hold("counted as it was", pods::tracked(pod), || format!("{key} has no finalizer: it would go uncounted"));
        self.hold("finished stays finished", job::finished(job).is_none(), || format!("{key} is made for a finished Job"));
        self.hold("parallelism", active <= number(spec.parallelism), || {
            format!("{key} is active pod number {active} of {:?}", spec.parallelism)
        });
        if spec.pod_replacement_policy.as_deref() == Some("Failed") {
            let stopping = all.iter().filter(|p| pods::terminating(p)).count();
            self.hold("parallelism", active + stopping <= number(spec.parallelism), || {
                format!("{key}: {stopping} pods are still terminating")
            });
        }
        if let Some(completions) = spec.completions {
            let wanted = number(Some(completions)).saturating_sub(number(status.succeeded));
            self.hold("parallelism", active <= wanted, || format!("{key} is active pod number {active}, {wanted} are wanted"));
        }
        if let Some(index) = pods::annotation(&pod.metadata, INDEX) {
            let same = all.iter().filter(|p| pods::active(p) && pods::annotation(&p.metadata, INDEX) == Some(index)).count();
            let over = [&status.completed_indexes, &status.failed_indexes].into_iter().flatten().any(|text| has(text, index));
            self.hold("index once", same == 1 && !over, || format!("{key}: index {index} has {same} active pods; over: {over}"));
        }
    }

    fn job(&mut self, kind: ChangeKind, object: &Arc<Object>, job: &Job, mirror: &Mirror) {
        if kind == ChangeKind::Added {
            self.new_job(object, job, mirror);
        }
        let key = object.key();
        let indexed = job.spec.as_ref().is_some_and(|s| s.completion_mode.as_deref() == Some("Indexed"));
        let waiting = mirror.owned(object.uid());
        let waiting = pods::among(&waiting).into_iter().filter(|p| pods::phase(p) == "Succeeded" && pods::tracked(p)).count();
        let status = job.status.clone().unwrap_or_default();
        let (succeeded, failed) = (status.succeeded.unwrap_or(0), status.failed.unwrap_or(0));
        let finished = job::finished(job).is_some();
        let deleting = job.metadata.deletion_timestamp.is_some();
        let memory = self.jobs.entry(object.uid().to_owned()).or_default();
        let (was_finished, before) = (memory.finished, memory.succeeded);
        (memory.finished, memory.succeeded) = (finished, succeeded);
        let (owed, made) = (memory.owed.len(), memory.pods.len());
        let count = usize::try_from(succeeded).unwrap_or(usize::MAX);
        self.hold("finished stays finished", finished || !was_finished, || format!("{key} was finished and is not"));
        self.hold("counted as it was", succeeded >= before || indexed, || format!("{key}: succeeded goes from {before} to {succeeded}"));
        let right = if indexed { count <= owed } else { count + waiting == owed || deleting && count <= owed };
        self.hold("counted as it was", right, || format!("{key}: succeeded {succeeded}, {waiting} to be counted, really {owed}"));
        let sum = usize::try_from(succeeded + failed).unwrap_or(usize::MAX);
        self.hold("counted as it was", sum <= made, || format!("{key}: succeeded {succeeded} and failed {failed} of {made} pods"));
    }

    fn new_job(&mut self, object: &Arc<Object>, job: &Job, mirror: &Mirror) {
        let key = object.key();
        if object.controller_uid().is_none() {
            let made = self.made.entry(key.name.clone()).or_default();
            *made += 1;
            let (made, asked) = (*made, self.asked.get(&key.name).copied().unwrap_or(0));
            return self
                .hold("runs once per manifest", made <= asked, || format!("{key} was asked for {asked} times and made {made} times"));
        }
        let Some(owner) = owner(object, mirror).cloned() else { return };
        let Some(cron_job) = owner.as_cron_job() else { return };
        let slot = pods::annotation(&job.metadata, SLOT).unwrap_or_default().to_owned();
        let new = self.slots.insert((owner.uid().to_owned(), slot.clone()));
        self.hold("slot once", new, || format!("{key} runs the slot {slot} again"));
        let forbid = cron_job.spec.concurrency_policy.as_deref() == Some("Forbid");
        self.jobs.entry(object.uid().to_owned()).or_default().alone = forbid;
        let others = mirror.owned(owner.uid());
        let others = others.iter().filter_map(|o| o.as_job()).filter(|j| job::finished(j).is_none()).count();
        self.hold("forbid overlaps", !forbid || others == 1, || format!("{key} is made while {} others run", others - 1));
    }
}

/// Revisions of a DaemonSet may go with it, pods may not.
fn no_pods(object: &Object, mirror: &Mirror) -> bool {
    mirror.owned(object.uid()).iter().all(|o| o.kind() != Kind::Pod)
}

/// Whether an interval text (`0,2-4`) holds an index.
fn has(text: &str, index: &str) -> bool {
    let Ok(index) = index.parse::<u32>() else { return false };
    text.split(',').filter(|part| !part.is_empty()).any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        matches!((first.parse::<u32>(), last.parse::<u32>()), (Ok(first), Ok(last)) if (first..=last).contains(&index))
    })
}
