//! CronJobs: `pkg/apis/batch/validation/validation.go`. Whether the schedule's five fields parse is `api::schedule`'s to say.

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec};

use super::field::{Faults, Path, shown};
use super::{job, metadata};
use crate::api::schedule::{self, Schedule};
use crate::api::selector;

/// So that `-<unix minutes>` still fits into a label.
const MAX_NAME: usize = 52;

/// A CronJob from a file.
pub(super) fn cron_job(cron_job: &CronJob, faults: &mut Faults) {
    metadata::object_meta(&cron_job.metadata, true, faults);
    let name = cron_job.metadata.name.as_deref().unwrap_or_default();
    if name.len() > MAX_NAME {
        faults.invalid(&Path::new("metadata").child("name"), name, "must be no more than 52 characters");
    }
    spec(&cron_job.spec, &Path::new("spec"), faults);
}

fn spec(spec: &CronJobSpec, path: &Path, faults: &mut Faults) {
    let at = path.child("schedule");
    if spec.schedule.is_empty() {
        faults.required(&at, "");
    } else if spec.schedule.contains("TZ") {
        faults.invalid(&at, spec.schedule.as_str(), "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    } else if let Err(error) = Schedule::parse(&spec.schedule) {
        faults.invalid(&at, spec.schedule.as_str(), &error.to_string());
    }
    faults.non_negative(&path.child("startingDeadlineSeconds"), spec.starting_deadline_seconds);
    time_zone(spec.time_zone.as_deref(), &path.child("timeZone"), faults);
    faults.one_of(&path.child("concurrencyPolicy"), spec.concurrency_policy.as_deref(), &["Allow", "Forbid", "Replace"]);
    faults.non_negative(&path.child("successfulJobsHistoryLimit"), spec.successful_jobs_history_limit);
    faults.non_negative(&path.child("failedJobsHistoryLimit"), spec.failed_jobs_history_limit);
    let path = path.child("jobTemplate").child("spec");
    let Some(template) = &spec.job_template.spec else {
        return faults.required(&path.child("template").child("spec").child("containers"), "");
    };
    job::spec(template, &path, faults);
    if let Some(own) = template.selector.as_ref().filter(|s| !selector::is_empty(s)) {
        faults.invalid(&path.child("selector"), shown(own), "`selector` will be auto-generated");
    }
    if template.manual_selector == Some(true) {
        faults.not_supported(&path.child("manualSelector"), true, &["nil", "false"]);
    }
}

/// validateTimeZone: a name of the IANA database, which this host's copy must know.
fn time_zone(zone: Option<&str>, path: &Path, faults: &mut Faults) {
    let Some(zone) = zone else { return };
    if zone.is_empty() {
        return faults.invalid(path, zone, "timeZone must be nil or non-empty string");
    }
    let letters = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b));
    let part = |part: &str| !part.is_empty() && part.len() <= 14 && letters(part) && !matches!(part, "." | "..") && !part.starts_with('-');
    if !zone.split('/').all(part) {
        return faults.invalid(path, zone, &format!("unknown time zone {zone}"));
    }
    if zone.eq_ignore_ascii_case("Local") {
        return faults.invalid(path, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
    if let Err(error) = schedule::zone(zone) {
        faults.invalid(path, zone, &error.to_string());
    }
}
