//! A Job made from a CronJob by hand: `minik8s trigger`, as `kubectl create job --from=cronjob/NAME` makes it
//! (staging/src/k8s.io/kubectl/pkg/cmd/create/create_job.go, createJobFromCronJob).
//!
//! Guarantees: the Job and its place in the CronJob's `status.active` come in one plan, so that no slot is judged from a state in which one is there
//! without the other. A suspended CronJob, and one whose policy is Forbid or Replace, is triggered all the same: who asks by hand means it, as
//! upstream has it. From then on the Job counts as the CronJob's own: for Forbid and Replace, and for the history limits.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::{SOURCE, from_template, running};
use crate::api::fault::Severity;
use crate::api::names::Names;
use crate::api::{Key, Kind, Object, defaults, validation};
use crate::controllers::{EventDraft, Plan, job, pods};

/// Annotation on a Job that was made by hand.
pub const INSTANTIATE: &str = "cronjob.kubernetes.io/instantiate";
/// How many names are drawn before it is given up; each is free but for one chance in 14 million.
const DRAWS: usize = 16;

/// Why no Job is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The CronJob is being deleted, and what it owns with it.
    Deleting,
    /// A Job has this name.
    Taken(String),
    /// The Job would be no valid one: what is wrong with it.
    Invalid(String, String),
}

/// The plan that makes one Job of `cron_job`, called `name` or, without one, `<cronjob>-manual-<rand5>`. `taken` says whether a Job of the CronJob's
/// namespace has a name already.
pub fn trigger(
    cron_job: &CronJob,
    name: Option<&str>,
    taken: impl Fn(&str) -> bool,
    names: &mut Names,
    now: Timestamp,
) -> Result<Plan, Refusal> {
    let meta = &cron_job.metadata;
    if meta.deletion_timestamp.is_some() {
        return Err(Refusal::Deleting);
    }
    let base = format!("{}-manual-", meta.name.as_deref().unwrap_or_default());
    let name = match name {
        Some(name) => name.to_owned(),
        None => (0..DRAWS).map(|_| names.generate(&base)).find(|name| !taken(name)).ok_or(Refusal::Taken(base))?,
    };
    if taken(&name) {
        return Err(Refusal::Taken(name));
    }
    let mut job = from_template(cron_job, name, names.uid(), now);
    let template = job.metadata.annotations.take().unwrap_or_default();
    let mut annotations = BTreeMap::from([(INSTANTIATE.to_owned(), "manual".to_owned())]);
    annotations.extend(template);
    job.metadata.annotations = Some(annotations);
    // Not blockOwnerDeletion: as kubectl sets it.
    let owner = OwnerReference { block_owner_deletion: None, ..pods::controlled_by(Kind::CronJob, meta) };
    job.metadata.owner_references = Some(vec![owner]);
    let mut job = valid(job.into())?;
    job::prepare(&mut job);
    let mut next = cron_job.clone();
    next.status.get_or_insert_default().active.get_or_insert_default().push(running::reference(&job));
    let message = format!("Created job {}, triggered by hand", job.metadata.name.as_deref().unwrap_or_default());
    let about = Key::new(Kind::CronJob, meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let event = EventDraft::new(SOURCE, about, meta.uid.clone().unwrap_or_default(), false, "SuccessfulCreate", message);
    Ok(Plan { create: vec![job.into()], update: vec![next.into()], events: vec![event], ..Plan::default() })
}

/// The Job as the API server would take it: with its defaults, and found to be right.
fn valid(mut object: Object) -> Result<Job, Refusal> {
    defaults::apply(&mut object);
    let faults = validation::validate(&object).into_iter().filter(|fault| fault.severity == Severity::Error);
    let texts: Vec<String> = faults.map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
    match object.as_job() {
        Some(job) if texts.is_empty() => Ok(job.clone()),
        _ => Err(Refusal::Invalid(object.meta().name.clone().unwrap_or_default(), texts.join(", "))),
    }
}

#[cfg(test)]
#[path = "tests_manual.rs"]
mod tests;
