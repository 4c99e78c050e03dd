//! Which slots are owed: from the last one that started, or the CronJob's creation, to now (mostRecentScheduleTime).
//!
//! Ours: exact where Kubernetes estimates; a schedule that was changed owes nothing from before the change (Kubernetes waits for the next slot then);
//! a clock that was set back by more than [`SET_BACK`] is noticed, else a wrong date would silence a CronJob for years; the slots that are done are
//! remembered beyond lastScheduleTime, so that a clock which goes back and forth runs none of them twice.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::schedule::Schedule;
use crate::controllers::pods;

/// Annotation on a CronJob: when its schedule or time zone was last changed.
pub const SCHEDULE_SINCE: &str = "minik8s.io/schedule-since";
/// More missed slots than this are worth a warning.
pub(super) const MANY: usize = 100;
/// A last slot this far in the future means that the clock was wrong then.
const SET_BACK: SignedDuration = SignedDuration::from_hours(24);
/// Annotation on a CronJob: stretches of slots that are done, as JSON `[[first, last], …]` in Unix seconds, oldest first.
const DONE: &str = "minik8s.io/cronjob-done";
/// So many stretches are remembered; the clock has to jump by more than [`SET_BACK`] for each.
const STRETCHES: usize = 16;

/// Slots up to and including this instant are done with.
pub(super) fn anchor(cron_job: &CronJob) -> Timestamp {
    let last = cron_job.status.as_ref().and_then(|s| s.last_schedule_time.as_ref()).map(|t| t.0);
    let created = cron_job.metadata.creation_timestamp.as_ref().map(|t| t.0);
    let changed = pods::annotation(&cron_job.metadata, SCHEDULE_SINCE).and_then(|text| text.parse().ok());
    last.or(created).max(changed).unwrap_or(Timestamp::MAX)
}

/// If the anchor lies far in the future, the newest slot until now counts as the last one from here on.
pub(super) fn mend_clock(cron_job: &mut CronJob, schedule: &Schedule, zone: &TimeZone, now: Timestamp) {
    if anchor(cron_job).duration_since(now) <= SET_BACK {
        return;
    }
    let year = SignedDuration::from_hours(366 * 24);
    let last = now.checked_sub(year).ok().and_then(|since| schedule.latest(since, now, zone)).unwrap_or(now);
    cron_job.status.get_or_insert_default().last_schedule_time = Some(Time(last));
    pods::annotate(&mut cron_job.metadata, SCHEDULE_SINCE, None);
}

/// Whether the slot ran, or was passed over, before the clock was set back.
pub(super) fn done(cron_job: &CronJob, slot: Timestamp) -> bool {
    stretches(cron_job).iter().any(|(first, last)| (*first..=*last).contains(&slot.as_second()))
}

/// The slot is done: lastScheduleTime, and the memory that outlasts a clock set back.
pub(super) fn remember(cron_job: &mut CronJob, slot: Timestamp) {
    cron_job.status.get_or_insert_default().last_schedule_time = Some(Time(slot));
    let (mut all, slot) = (stretches(cron_job), slot.as_second());
    match all.last_mut() {
        Some((first, last)) if *first <= slot && slot - *last <= SET_BACK.as_secs() => *last = slot.max(*last),
        _ => all.push((slot, slot)),
    }
    let surplus = all.len().saturating_sub(STRETCHES);
    all.drain(..surplus);
    pods::annotate(&mut cron_job.metadata, DONE, serde_json::to_string(&all).ok());
}

fn stretches(cron_job: &CronJob) -> Vec<(i64, i64)> {
    pods::annotation(&cron_job.metadata, DONE).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Slots before this are too late: now − startingDeadlineSeconds, never before the anchor.
pub(super) fn floor(spec: &CronJobSpec, anchor: Timestamp, now: Timestamp) -> Timestamp {
    let Some(seconds) = spec.starting_deadline_seconds else { return anchor };
    now.checked_sub(SignedDuration::from_secs(seconds)).map_or(anchor, |earliest| earliest.max(anchor))
}

/// The first slot after now, counted from the anchor.
pub(super) fn next(schedule: &Schedule, anchor: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let from = if anchor > now { anchor } else { schedule.latest(anchor, now, zone).unwrap_or(anchor) };
    schedule.next(from, zone)
}
