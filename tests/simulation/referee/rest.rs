//! What must be true once nothing happens any more.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use minik8s::api::{Key, Kind, Object, well_known};
use minik8s::controllers::{job, pods};
use minik8s::runtime::TaskState;

use crate::workloads::Workload;
use crate::world::{State, short};

/// A manifest's name, and the workload it holds with the object it was read as.
pub type Asked = (String, Option<(Workload, Arc<Object>)>);

/// What is not as it must come to be; empty at rest.
pub fn unmet(state: &State, files: &[Asked]) -> Vec<String> {
    let mut out = Vec::new();
    for (name, asked) in files {
        match asked {
            Some((workload, asked)) => out.extend(wanted(state, name, workload, asked)),
            None => out.extend(gone(state, name)),
        }
    }
    for object in state.mirror.list(Kind::Job) {
        out.extend(object.as_job().and_then(|job| unfinished(state, &object, job)));
    }
    out.extend(left_behind(state));
    out
}

fn gone(state: &State, name: &str) -> Option<String> {
    let kinds = [Kind::Job, Kind::CronJob, Kind::DaemonSet, Kind::StaticPod];
    kinds.into_iter().find_map(|kind| state.mirror.get(&Key::new(kind, "default", name))).map(|o| format!("{} is still there", o.key()))
}

fn wanted(state: &State, name: &str, workload: &Workload, asked: &Object) -> Option<String> {
    let key = asked.key();
    let buried = state.mirror.record(&format!("{}default/{name}", well_known::JOB_TOMBSTONE)).is_some();
    let Some(object) = state.mirror.get(&key) else {
        return (!buried).then(|| format!("{key} is missing"));
    };
    let hash = |o: &Object| pods::annotation(o.meta(), well_known::MANIFEST_HASH).map(str::to_owned);
    if hash(object) != hash(asked) {
        return Some(format!("{key} is not as its manifest has it"));
    }
    let owned = state.mirror.owned(object.uid());
    let all = pods::among(&owned);
    match workload {
        Workload::DaemonSet { .. } => {
            let running = all.iter().filter(|p| pods::active(p) && (pods::phase(p) == "Running")).count();
            (running != 1 || all.len() != 1).then(|| format!("{key} has {} pods, {running} of them running", all.len()))
        }
        Workload::Pod { policy, program } => match all.as_slice() {
            [pod] if pods::deleting(pod) => Some(format!("{key}: its pod is being deleted")),
            [pod] if *policy == "Always" || *policy == "OnFailure" && program.fails > 0 => {
                (pods::phase(pod) == "Pending").then(|| format!("{key}: its pod is Pending"))
            }
            [pod] if pods::terminal(pod) => None,
            [_] => Some(format!("{key}: its pod has not ended")),
            _ => Some(format!("{key} has {} pods", all.len())),
        },
        _ => None,
    }
}

/// A Job that can finish has finished; one that cannot has no pods that nobody wants.
fn unfinished(state: &State, object: &Arc<Object>, job: &Job) -> Option<String> {
    if job.metadata.deletion_timestamp.is_some() {
        return Some(format!("{} is being deleted", object.key()));
    }
    let spec = job.spec.as_ref()?;
    let owned = state.mirror.owned(object.uid());
    let stopped = spec.suspend == Some(true) || spec.parallelism == Some(0);
    if stopped && job::finished(job).is_none() {
        let left = pods::among(&owned).into_iter().filter(|p| !pods::terminal(p)).count();
        return (left > 0).then(|| format!("{} is held and has {left} pods", object.key()));
    }
    job::finished(job).is_none().then(|| {
        let phases: Vec<(String, &str)> =
            pods::among(&owned).iter().map(|p| (p.metadata.name.clone().unwrap_or_default(), pods::phase(p))).collect();
        format!("{} has not finished: {phases:?}", object.key())
    })
}

/// Whether its Job is suspended: a failed pod of an index waits there until the index has its next pod.
fn on_hold(state: &State, pod: &Arc<Object>) -> bool {
    let job = super::commits::owner(pod, &state.mirror).and_then(|o| o.as_job()).and_then(|j| j.spec.as_ref());
    job.is_some_and(|s| s.suspend == Some(true) || s.parallelism == Some(0))
}

/// Containers, namespaces, addresses, volumes and cgroups of pods that are over or gone; pods that stay though they are to go.
fn left_behind(state: &State) -> Vec<String> {
    let mut out = Vec::new();
    let pods_stored = state.mirror.list(Kind::Pod);
    let holds = |uid: &str| pods_stored.iter().any(|o| o.uid() == uid && o.as_pod().is_some_and(|p| !pods::terminal(p)));
    let held =
        [("namespaces", &state.namespaces), ("an address", &state.addresses), ("volumes", &state.volumes), ("a cgroup", &state.cgroups)];
    for (what, uids) in held {
        out.extend(uids.iter().filter(|uid| !holds(uid)).map(|uid| format!("{what} of {} are left", short(uid))));
    }
    out.extend(
        state
            .containers
            .values()
            .filter(|c| !holds(&c.uid))
            .map(|c| format!("container {} of {} is left", short(&c.state.id), short(&c.uid))),
    );
    for object in &pods_stored {
        let Some(pod) = object.as_pod() else { continue };
        // One on hold waits to be counted, terminal or being deleted.
        if pods::deleting(pod) && !(pods::terminal(pod) && pods::tracked(pod) && on_hold(state, object)) {
            out.push(format!("{} is being deleted", object.key()));
        }
        if pods::terminal(pod) && pods::tracked(pod) && !on_hold(state, object) {
            out.push(format!("{} waits to be counted", object.key()));
        }
        let runs = state.containers.values().any(|c| c.uid == object.uid() && matches!(c.state.task, TaskState::Running { .. }));
        if runs && pods::terminal(pod) {
            out.push(format!("{} is over and runs", object.key()));
        }
    }
    out
}
