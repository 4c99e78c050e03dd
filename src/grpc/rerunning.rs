//! Rerun: a Job of a manifest once more. What that takes, `controllers::job::rerun` says; here it is committed.

use tonic::Status;

use super::ApiState;
use super::pb::{RerunRequest, RerunResponse};
use super::status::{from_store, not_found, resource};
use crate::agent::commit;
use crate::api::{Key, Kind, Object, well_known};
use crate::controllers::job::rerun::{self, Asked, Refusal};
use crate::store::StoreError;

/// How often it is tried against others that change the Job.
const TRIES: usize = 8;

/// Errors: NOT_FOUND; ABORTED while the Job runs; FAILED_PRECONDITION where nothing would be made again; UNAVAILABLE before the directory was read.
pub async fn rerun(state: &ApiState, request: RerunRequest) -> Result<RerunResponse, Status> {
    let key = Key::new(Kind::Job, &*request.namespace, &*request.name);
    let record = format!("{}{}/{}", well_known::JOB_TOMBSTONE, key.namespace, key.name);
    // One at a time: of a Job that is gone, there is nothing two wishes could collide on.
    let _one_at_a_time = state.edits.lock().await;
    let Some(set) = state.sets.borrow().clone() else {
        return Err(Status::failed_precondition("the agent has not read its manifests yet; try again"));
    };
    let manifest = set.objects.iter().find(|object| object.key() == key);
    for _ in 0..TRIES {
        let now = state.clock.now();
        // In this order: what its time to live removes leaves its tombstone first.
        let stored = state.store.get(&key);
        let tombstone = state.store.record(&record).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let asked = Asked {
            key: &key,
            stored: stored.as_deref().and_then(Object::as_job),
            manifest: manifest.and_then(|object| object.as_job()),
            tombstone: tombstone.as_deref(),
            force: request.force,
            now,
        };
        let plan = rerun::rerun(&asked).map_err(|why| refused(&key, why))?;
        let answer = RerunResponse { uid: stored.as_ref().map_or_else(String::new, |job| job.uid().to_owned()) };
        let ops = commit::operations(&*state.store, plan, now);
        if ops.is_empty() {
            return Ok(answer);
        }
        match state.store.commit(ops).await {
            Ok(_) => return Ok(answer),
            Err(StoreError::Conflict(_) | StoreError::Missing(_)) => {}
            Err(other) => return Err(from_store(&other)),
        }
    }
    Err(Status::aborted(format!("{key} keeps changing; try again")))
}

fn refused(key: &Key, why: Refusal) -> Status {
    let name = format!("{} \"{}\"", resource(Kind::Job), key.name);
    match why {
        Refusal::NotFound => not_found(Kind::Job, &key.name),
        Refusal::Running(how) => {
            Status::aborted(format!("{name} has not ended ({how}); wait for it, or stop it and run it again with --force"))
        }
        Refusal::OfCronJob(owner) => {
            Status::failed_precondition(format!("{name} belongs to cronjob/{owner}; make another with: minik8s trigger cronjob/{owner}"))
        }
        Refusal::NoManifest => Status::failed_precondition(format!(
            "{name} has no manifest that can be read now, so nothing would run again; put it into the manifests directory, or use apply"
        )),
    }
}
