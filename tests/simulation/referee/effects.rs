//! What may be done to containers, given what is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use minik8s::api::well_known::container_labels as label;
use minik8s::api::{Key, Kind, Object};
use minik8s::controllers::{job, pods};
use minik8s::pod::attempt::Role;
use minik8s::pod::{attempt, status};
use minik8s::runtime::{ContainerConfig, TaskState};
use minik8s::store::mirror::Mirror;

use super::Referee;
use super::commits::owner;
use crate::world::{Container, short};

/// The stored pod of a container.
fn stored<'m>(labels: &BTreeMap<String, String>, mirror: &'m Mirror) -> Option<&'m Arc<Object>> {
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let key = Key::new(Kind::Pod, label(label::POD_NAMESPACE), label(label::POD_NAME));
    mirror.get(&key).filter(|o| o.uid() == label(label::POD_UID))
}

fn announced(pod: &Pod, id: &str) -> bool {
    status::open_attempts(pod).iter().any(|(_, open, _)| open == id)
}

impl Referee {
    /// A container is made.
    pub fn created(&mut self, config: &ContainerConfig, mirror: &Mirror) {
        self.may_run(&config.id, &config.labels, mirror);
        let started = self.attempts.get(&config.id).map_or(0, |a| a.started);
        self.hold("attempt once", started == 0, || format!("container {} is made again after it ran", short(&config.id)));
    }

    fn may_run(&mut self, id: &str, labels: &BTreeMap<String, String>, mirror: &Mirror) {
        let object = stored(labels, mirror);
        let Some(pod) = object.and_then(|o| o.as_pod()) else {
            return self.fail("durable before acted on", format!("container {} is of a pod that is not stored", short(id)));
        };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let bound = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
        self.hold("durable before acted on", bound && announced(pod, id), || format!("container {} of {name} is not announced", short(id)));
        self.hold("terminated stays terminated", !pods::terminal(pod), || format!("container {} of {name}, which is over", short(id)));
        let over = object.and_then(|o| owner(o, mirror)).and_then(|o| o.as_job()).is_some_and(|j| job::finished(j).is_some());
        self.hold("finished stays finished", !over, || format!("container {} of {name}, whose Job is over", short(id)));
    }

    /// Its process starts.
    pub fn started(&mut self, id: &str, containers: &BTreeMap<String, Container>, mirror: &Mirror) {
        let Some(container) = containers.get(id) else { return };
        self.may_run(id, &container.state.labels, mirror);
        let attempt = self.attempts.entry(id.to_owned()).or_default();
        attempt.started += 1;
        let times = attempt.started;
        self.hold("attempt once", times == 1, || format!("container {} is started {times} times", short(id)));
        self.beside(container, containers, mirror);
    }

    /// What may run beside it.
    fn beside(&mut self, container: &Container, containers: &BTreeMap<String, Container>, mirror: &Mirror) {
        let Some(object) = stored(&container.state.labels, mirror) else { return };
        let Some(mine) = owner(object, mirror) else { return };
        let running = |c: &&Container| matches!(c.state.task, TaskState::Running { .. }) && c.uid != container.uid;
        let others: Vec<&Arc<Object>> = containers.values().filter(running).filter_map(|c| stored(&c.state.labels, mirror)).collect();
        let theirs = |o: &&&Arc<Object>| o.controller_uid() == Some(mine.uid());
        let mut pods: Vec<&str> = others.iter().filter(theirs).map(|o| o.uid()).collect();
        pods.sort_unstable();
        pods.dedup();
        match &**mine {
            Object::DaemonSet(set) => {
                let update = set.spec.as_ref().and_then(|s| s.update_strategy.as_ref()).and_then(|u| u.rolling_update.as_ref());
                let surge = update.and_then(|r| r.max_surge.as_ref()).is_some_and(|s| format!("{s:?}") != "Int(0)");
                // Two that were made with a surge stay two until one has stopped.
                let surge = surge || self.surged.contains(mine.uid());
                self.hold("one daemon pod", surge || pods.is_empty(), || format!("{}: another of its pods runs", object.key()));
            }
            Object::Job(_) => {
                let alone = self.jobs.get(mine.uid()).is_some_and(|j| j.alone);
                let Some(cron_job) = mine.controller_uid().filter(|_| alone) else { return };
                let other =
                    others.iter().filter_map(|o| owner(o, mirror)).find(|j| j.controller_uid() == Some(cron_job) && j.uid() != mine.uid());
                let earlier = other.filter(|j| j.meta().creation_timestamp <= mine.meta().creation_timestamp);
                self.hold("forbid overlaps", earlier.is_none(), || {
                    format!("{} starts while {:?} runs", object.key(), earlier.map(|j| j.key()))
                });
            }
            _ => {}
        }
    }

    /// Its process could not be started.
    pub fn not_startable(&mut self, id: &str) {
        self.attempts.entry(id.to_owned()).or_default().not_startable = true;
    }

    /// Its process ended.
    pub fn ended(&mut self, id: &str, code: u32) {
        self.attempts.entry(id.to_owned()).or_default().exit = Some(code);
    }

    /// Nobody will know how it ended.
    pub fn lost(&mut self, id: &str) {
        self.attempts.entry(id.to_owned()).or_default().lost = true;
    }

    /// It is removed; how it ended is not to be learnt any more.
    pub fn removed(&mut self, container: &Container, mirror: &Mirror) {
        let id = container.state.id.as_str();
        let attempt = self.attempts.get(id).cloned().unwrap_or_default();
        let Some(pod) = stored(&container.state.labels, mirror).and_then(|o| o.as_pod()) else { return };
        let matters = attempt.started > 0 && attempt.recorded.is_none() && container.state.task != TaskState::None;
        let name = pod.metadata.name.clone().unwrap_or_default();
        self.hold("durable before acted on", !matters, || format!("container {} of {name} is removed before its end is stored", short(id)));
    }

    /// It is sent a signal.
    pub fn signalled(&mut self, container: &Container, mirror: &Mirror) {
        let object = stored(&container.state.labels, mirror);
        let Some(pod) = object.and_then(|o| o.as_pod()) else { return };
        let name = container.state.labels.get(label::CONTAINER_NAME).cloned().unwrap_or_default();
        let sidecar = attempt::containers(pod).any(|(role, c)| c.name == name && role == Role::Sidecar);
        let deadline = pod.spec.as_ref().is_some_and(|s| s.active_deadline_seconds.is_some());
        let wanted = pods::deleting(pod) || pods::terminal(pod) || sidecar || deadline;
        self.hold("stopped for a reason", wanted, || format!("{name} of {:?} is signalled, nobody wants it stopped", pod.metadata.name));
    }
}
