//! The CronJob controller (pkg/controller/cronjob, ControllerV2), on this node's own clock.
//!
//! ```text
//! slot due ──▶ too late? MissSchedule ──▶ Forbid and a Job runs? JobAlreadyActive, slot stays owed ──▶ Replace? running Jobs are deleted
//!                                                                    └──▶ one transaction: lastScheduleTime = slot, Job <name>-<unix minutes>
//! ```
//!
//! Guarantees: lastScheduleTime goes up in the plan that creates the Job, so a slot never runs twice and none is lost; it is never derived from
//! Jobs. Overlap is judged from the Jobs that are there. What is said about a slot is said once. Left to others: calling again at `wake_at` and
//! when a Job changes.

pub mod manual;
mod notices;
mod owed;
mod running;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{Context, EventDraft, Plan, cascade, job, pods};
use crate::admission::{Verdict, eligible};
use crate::api::schedule::{Schedule, zone};
use crate::api::{Key, Kind, Object};

pub use owed::SCHEDULE_SINCE;

/// The component named in a CronJob's events.
const SOURCE: &str = "cronjob-controller";
const SCHEDULED_TIMESTAMP: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// One step of `cron_job`, which owns `jobs`.
pub fn reconcile(cron_job: &CronJob, jobs: &[Arc<Object>], cx: &mut Context) -> Plan {
    let meta = &cron_job.metadata;
    let key = Key::new(Kind::CronJob, meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    if meta.deletion_timestamp.is_some() {
        return cascade::finish(key, meta.uid.as_deref().unwrap_or_default(), jobs);
    }
    let spec = &cron_job.spec;
    let mut step =
        Step { key, spec, jobs: jobs.iter().filter_map(|o| o.as_job()).collect(), next: cron_job.clone(), plan: Plan::default() };
    running::observe(&mut step);
    running::trim_history(&mut step);
    let template = spec.job_template.spec.as_ref().and_then(|s| s.template.spec.as_ref());
    let admission = template.map_or_else(Verdict::default, |spec| eligible(spec, cx.node));
    pods::note_admission(&mut step.next.metadata, &admission.reasons);
    // A wrong time zone is said also while suspended.
    let zone = time_zone(&mut step, cx);
    if let Some(zone) = zone.filter(|_| admission.should_run && spec.suspend != Some(true)) {
        run_owed(&mut step, &zone, cx);
    }
    if step.next != *cron_job {
        step.plan.update.push(step.next.into());
    }
    step.plan
}

/// One step in the making.
struct Step<'a> {
    key: Key,
    spec: &'a CronJobSpec,
    jobs: Vec<&'a Job>,
    next: CronJob,
    plan: Plan,
}

impl Step<'_> {
    fn event(&mut self, warning: bool, reason: &str, message: String) {
        let uid = self.next.metadata.uid.clone().unwrap_or_default();
        self.plan.events.push(EventDraft::new(SOURCE, self.key.clone(), uid, warning, reason, message));
    }

    /// An event said once about one subject (a slot, or the spec as it is).
    fn event_once(&mut self, subject: &str, reason: &str, message: String) {
        if notices::first(&mut self.next.metadata, subject, reason) {
            self.event(reason != "JobAlreadyActive", reason, message);
        }
    }
}

/// Starts the Job of the newest slot that is owed, if its time and the concurrency policy let it.
fn run_owed(step: &mut Step, zone: &TimeZone, cx: &mut Context) {
    let Some(schedule) = schedule(step) else { return };
    owed::mend_clock(&mut step.next, &schedule, zone, cx.now);
    let anchor = owed::anchor(&step.next);
    match schedule.latest(anchor, cx.now, zone) {
        Some(slot) => due(step, &schedule, zone, anchor, slot, cx),
        None if schedule.next(cx.now, zone).is_none() => {
            let subject = notices::of_spec(&step.next.metadata);
            step.event_once(
                &subject,
                "InvalidSchedule",
                format!("invalid schedule: {} : it never comes within 5 years", step.spec.schedule),
            );
        }
        None => {}
    }
    let anchor = owed::anchor(&step.next);
    if let Some(next) = owed::next(&schedule, anchor, cx.now, zone) {
        step.plan.wake(next);
    }
}

/// The zone the schedule is read in, or an event that says what is wrong with it.
fn time_zone(step: &mut Step, cx: &Context) -> Option<TimeZone> {
    let Some(name) = &step.spec.time_zone else { return Some(cx.zone.clone()) };
    let found = zone(name);
    if let Err(error) = &found {
        let subject = notices::of_spec(&step.next.metadata);
        step.event_once(&subject, "UnknownTimeZone", format!("invalid timeZone: {name:?}: {error}"));
    }
    found.ok()
}

/// The schedule, or an event that says what is wrong with it.
fn schedule(step: &mut Step) -> Option<Schedule> {
    let read = Schedule::parse(&step.spec.schedule);
    if let Err(error) = &read {
        let subject = notices::of_spec(&step.next.metadata);
        step.event_once(&subject, "UnparseableSchedule", format!("unparseable schedule: {:?} : {error}", step.spec.schedule));
    }
    read.ok()
}

/// `slot` is owed.
fn due(step: &mut Step, schedule: &Schedule, zone: &TimeZone, anchor: Timestamp, slot: Timestamp, cx: &mut Context) {
    if owed::done(&step.next, slot) {
        step.next.status.get_or_insert_default().last_schedule_time = Some(Time(slot));
        return;
    }
    let subject = slot.as_second().to_string();
    let floor = owed::floor(step.spec, anchor, cx.now);
    if slot < floor {
        let when = slot.strftime("%a, %d %b %Y %H:%M:%S +0000");
        return step.event_once(&subject, "MissSchedule", format!("Missed scheduled time to start a job: {when}"));
    }
    if schedule.count(floor, cx.now, zone, owed::MANY + 1) > owed::MANY {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        step.event_once(&subject, "TooManyMissedTimes", message.to_owned());
    }
    let policy = step.spec.concurrency_policy.as_deref().unwrap_or("Allow");
    if policy == "Forbid" && step.jobs.iter().any(|j| job::finished(j).is_none()) {
        let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
        return step.event_once(&subject, "JobAlreadyActive", message.to_owned());
    }
    if policy == "Replace" {
        running::delete_active(step);
    }
    start(step, slot, zone, cx);
}

/// Creates the slot's Job and remembers the slot, in one plan. A Job of that name (another slot of the same minute) is not made again.
fn start(step: &mut Step, slot: Timestamp, zone: &TimeZone, cx: &mut Context) {
    let name = format!("{}-{}", step.key.name, slot.as_second().div_euclid(60));
    owed::remember(&mut step.next, slot);
    if step.jobs.iter().any(|j| j.metadata.name.as_deref() == Some(&name)) {
        return;
    }
    let job = new_job(step, name, slot, zone, cx);
    running::add_active(step, &job);
    step.event(false, "SuccessfulCreate", format!("Created job {}", job.metadata.name.as_deref().unwrap_or_default()));
    step.plan.create.push(job.into());
}

/// The Job of a slot (getJobFromTemplate2).
fn new_job(step: &Step, name: String, slot: Timestamp, zone: &TimeZone, cx: &mut Context) -> Job {
    let shown = if step.spec.time_zone.is_some() { zone.clone() } else { TimeZone::UTC };
    let mut job = from_template(&step.next, name, cx.names.uid(), cx.now);
    job.metadata.annotations.get_or_insert_default().insert(SCHEDULED_TIMESTAMP.to_owned(), rfc3339(slot, &shown));
    job.metadata.owner_references = Some(vec![pods::controlled_by(Kind::CronJob, &step.next.metadata)]);
    job::prepare(&mut job);
    job
}

/// A Job of the template, which belongs to nobody yet and is not [`job::prepare`]d.
fn from_template(cron_job: &CronJob, name: String, uid: String, now: Timestamp) -> Job {
    let template = &cron_job.spec.job_template;
    let from = template.metadata.clone().unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: cron_job.metadata.namespace.clone(),
        uid: Some(uid),
        creation_timestamp: Some(Time(now)),
        generation: Some(1),
        labels: from.labels,
        annotations: from.annotations,
        ..ObjectMeta::default()
    };
    Job { metadata, spec: template.spec.clone(), status: None }
}

/// Go's time.RFC3339: `Z` for UTC, else the offset.
fn rfc3339(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let form = if local.offset().is_zero() { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" };
    local.strftime(form).to_string()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_rows;
#[cfg(test)]
mod tests_safety;
