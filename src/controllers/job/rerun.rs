//! A Job from a file is run once more, by hand: `minik8s rerun`. Kubernetes has no such verb; there one deletes the Job and creates it again, and so
//! it is here.
//!
//! ```text
//! finished (or --force) ──▶ one transaction: deleted as by kubectl delete, the wish remembered in its tombstone, the event
//! removed by its TTL ─────▶ one transaction: the wish remembered in its tombstone, the event
//!                                                │ the Job and its pods are gone
//!                                                ▼
//!             `controllers::sync` makes the Job of the manifest anew, with a new uid, and forgets the wish in the same transaction
//! ```
//!
//! Guarantees: one wish makes one Job, whenever the agent dies: the wish is there until the Job is, and no longer. A second wish for a Job that is on
//! its way changes nothing. Left to others: whether the manifest is still there when the Job is gone (else nothing is made, and the wish goes too).

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use serde::{Deserialize, Serialize};

use super::conditions::holding;
use super::defaults::Tombstone;
use super::finished;
use crate::api::well_known::{JOB_TOMBSTONE, MANIFEST_HASH, SOURCE};
use crate::api::{Key, Kind};
use crate::controllers::{EventDraft, Plan, cascade, pods};

/// The reason of the events that tell of a rerun.
pub const RERUN: &str = "Rerun";

/// That a Job is to be made again although it has had its day; part of its tombstone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// When that was asked for.
    pub at: Timestamp,
    /// The uid of the run before, "" where that is not known any more.
    pub uid: String,
}

/// What is known about the Job that is to run again.
pub struct Asked<'a> {
    /// Its key.
    pub key: &'a Key,
    /// As it is stored.
    pub stored: Option<&'a Job>,
    /// What the manifests directory says of it now; `None`: nothing.
    pub manifest: Option<&'a Job>,
    /// Its record under [`JOB_TOMBSTONE`].
    pub tombstone: Option<&'a str>,
    /// Also while it runs.
    pub force: bool,
    /// The instant.
    pub now: Timestamp,
}

/// Why it is not run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such Job.
    NotFound,
    /// It has not ended: how it stands.
    Running(String),
    /// It belongs to this CronJob.
    OfCronJob(String),
    /// No manifest asks for it, so that nothing would be made again.
    NoManifest,
}

/// The plan that has the Job run again; empty where that is under way already.
pub fn rerun(asked: &Asked) -> Result<Plan, Refusal> {
    let stone: Option<Tombstone> = asked.tombstone.and_then(|text| serde_json::from_str(text).ok());
    if asked.stored.is_none() && stone.is_none() {
        return Err(Refusal::NotFound);
    }
    if let Some(owner) = asked.stored.and_then(|job| job.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true))) {
        return Err(Refusal::OfCronJob(owner.name.clone()));
    }
    let manifest = asked.manifest.ok_or(Refusal::NoManifest)?;
    if stone.as_ref().is_some_and(|stone| stone.again.is_some()) && asked.stored.is_none_or(deleting) {
        return Ok(Plan::default());
    }
    if let Some(job) = asked.stored.filter(|job| finished(job).is_none() && !asked.force) {
        return Err(Refusal::Running(standing(job)));
    }
    let uid = asked.stored.and_then(|job| job.metadata.uid.clone()).unwrap_or_default();
    let wish = Wish { at: asked.now, uid: uid.clone() };
    let noted = |name| pods::annotation(&manifest.metadata, name).unwrap_or_default().to_owned();
    let remembered =
        Tombstone { manifest: noted(MANIFEST_HASH), immutable: super::immutable_hash(manifest), source: noted(SOURCE), again: Some(wish) };
    let mut plan = Plan::default();
    plan.records.push((format!("{JOB_TOMBSTONE}{}/{}", asked.key.namespace, asked.key.name), serde_json::to_vec(&remembered).ok()));
    let going = asked.stored.filter(|job| !deleting(job));
    plan.delete.extend(going.map(|job| cascade::whole(&job.clone().into())));
    plan.events.push(told(asked.key, uid, asked_for(asked.stored)));
    Ok(plan)
}

/// The event of a Job that was made again.
pub(in crate::controllers) fn made_again(key: &Key, uid: &str, wish: &Wish) -> EventDraft {
    let before = if wish.uid.is_empty() { String::new() } else { format!("; the run before had the uid {}", wish.uid) };
    told(key, uid.to_owned(), format!("Made again, as asked for at {}{before}", wish.at.strftime("%Y-%m-%dT%H:%M:%SZ")))
}

fn told(about: &Key, uid: String, message: String) -> EventDraft {
    debug_assert_eq!(about.kind, Kind::Job);
    EventDraft::new("minik8s", about.clone(), uid, false, RERUN, message)
}

fn asked_for(stored: Option<&Job>) -> String {
    let before = match stored {
        None => "its time to live was over, and it had been removed".to_owned(),
        Some(job) => match ended(job) {
            Some(how) => format!("this run ({how}) and its pods are deleted first"),
            None => format!("this run, which has not ended ({}), is stopped and deleted with its pods first", standing(job)),
        },
    };
    format!("Runs again, as asked for; {before}")
}

/// `Complete`, `Failed: BackoffLimitExceeded`.
fn ended(job: &Job) -> Option<String> {
    let status = job.status.as_ref()?;
    let failed = holding(status, "Failed").map(|c| format!("Failed: {}", c.reason.as_deref().unwrap_or("no reason is known")));
    failed.or_else(|| holding(status, "Complete").map(|_| "Complete".to_owned()))
}

/// `1 active, 0 succeeded, 2 failed`.
fn standing(job: &Job) -> String {
    let status = job.status.clone().unwrap_or_default();
    let count = |n: Option<i32>| n.unwrap_or(0);
    format!("{} active, {} succeeded, {} failed", count(status.active), count(status.succeeded), count(status.failed))
}

fn deleting(job: &Job) -> bool {
    job.metadata.deletion_timestamp.is_some()
}
