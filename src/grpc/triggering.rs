//! Trigger: a Job of a CronJob, made by hand. What it is, `controllers::cronjob::manual` says; here it is committed.

use tonic::Status;

use super::ApiState;
use super::filter::item;
use super::pb::{TriggerRequest, TriggerResponse};
use super::status::{from_store, not_found};
use crate::agent::commit;
use crate::api::names::Names;
use crate::api::{Key, Kind, well_known};
use crate::controllers::cronjob::manual::{self, Refusal};
use crate::store::StoreError;

/// How often it is tried against others that change the CronJob.
const TRIES: usize = 8;

/// Errors: NOT_FOUND for the CronJob, ALREADY_EXISTS for the Job's name, INVALID_ARGUMENT, FAILED_PRECONDITION.
pub async fn trigger(state: &ApiState, request: TriggerRequest) -> Result<TriggerResponse, Status> {
    let key = Key::new(Kind::CronJob, &*request.namespace, &*request.name);
    let name = Some(request.job_name.as_str()).filter(|name| !name.is_empty());
    for _ in 0..TRIES {
        let stored = state.store.get(&key).ok_or_else(|| not_found(Kind::CronJob, &key.name))?;
        let cron_job = stored.as_cron_job().ok_or_else(|| Status::internal("a CronJob's key names something else"))?;
        let now = state.clock.now();
        let seed = state.store.record(well_known::SEED).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        let owner = format!("{}/{}", stored.uid(), request.job_name);
        let mut names = Names::new(seed.map(u64::from_be_bytes).unwrap_or_default(), &owner, now);
        let taken = |name: &str| state.store.get(&Key::new(Kind::Job, &*key.namespace, name)).is_some();
        let plan = manual::trigger(cron_job, name, taken, &mut names, now).map_err(|why| refused(&key, why))?;
        let answer = TriggerResponse { job: plan.create.first().map(item) };
        if request.dry_run {
            return Ok(answer);
        }
        match state.store.commit(commit::operations(&*state.store, plan, now)).await {
            Ok(_) => return Ok(answer),
            // The CronJob changed, or another took the name: judged again.
            Err(StoreError::Conflict(_) | StoreError::Missing(_) | StoreError::Exists(_)) => {}
            Err(other) => return Err(from_store(&other)),
        }
    }
    Err(Status::aborted(format!("{key} keeps changing; try again")))
}

fn refused(key: &Key, why: Refusal) -> Status {
    match why {
        Refusal::Deleting => Status::failed_precondition(format!("cronjobs.batch \"{}\" is being deleted", key.name)),
        Refusal::Taken(name) => from_store(&StoreError::Exists(Key::new(Kind::Job, &*key.namespace, name))),
        Refusal::Invalid(name, faults) => Status::invalid_argument(format!("Job \"{name}\" is invalid: {faults}")),
    }
}
