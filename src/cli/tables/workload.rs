//! Rows of Jobs, CronJobs, DaemonSets and ControllerRevisions.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};

use super::{Row, containers, format_labels, format_selector};
use crate::api::well_known::NOT_ADMITTED;
use crate::cli::duration::{between, human, since};

pub(super) const JOB: &[&str] = &["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"];
pub(super) const CRON_JOB: &[&str] =
    &["NAME", "SCHEDULE", "TIMEZONE", "SUSPEND", "ACTIVE", "LAST SCHEDULE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"];
pub(super) const DAEMON_SET: &[&str] =
    &["NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "NODE SELECTOR", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"];
pub(super) const REVISION: &[&str] = &["NAME", "CONTROLLER", "REVISION", "AGE"];

/// printJob; `NotAdmitted` is ours: the job does not run on this node, `describe` says why.
pub(super) fn job(job: &Job, now: Timestamp) -> Row {
    let spec = job.spec.clone().unwrap_or_default();
    let status = job.status.clone().unwrap_or_default();
    let has = |kind: &str| status.conditions.iter().flatten().any(|c| c.type_ == kind && c.status == "True");
    let not_admitted = job.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(NOT_ADMITTED));
    let shown = match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if job.metadata.deletion_timestamp.is_some() => "Terminating",
        () if not_admitted => "NotAdmitted",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () => "Running",
    };
    let succeeded = status.succeeded.unwrap_or(0);
    let completions = match (spec.completions, spec.parallelism.unwrap_or(0)) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let duration = status.start_time.as_ref().map(|start| human(between(start.0, status.completion_time.as_ref().map_or(now, |t| t.0))));
    let pod = spec.template.spec.unwrap_or_default();
    let mut row = vec![
        job.metadata.name.clone().unwrap_or_default(),
        shown.to_owned(),
        completions,
        duration.unwrap_or_default(),
        since(job.metadata.creation_timestamp.as_ref(), now),
    ];
    row.extend(containers(&pod.containers));
    row.push(format_selector(spec.selector.as_ref()));
    row
}

pub(super) fn cron_job(cron: &CronJob, now: Timestamp) -> Row {
    let spec = cron.spec.clone();
    let status = cron.status.clone().unwrap_or_default();
    let none = || "<none>".to_owned();
    let job = spec.job_template.spec.unwrap_or_default();
    let mut row = vec![
        cron.metadata.name.clone().unwrap_or_default(),
        spec.schedule,
        spec.time_zone.unwrap_or_else(none),
        match spec.suspend {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        }
        .to_owned(),
        status.active.unwrap_or_default().len().to_string(),
        status.last_schedule_time.as_ref().map_or_else(none, |time| since(Some(time), now)),
        since(cron.metadata.creation_timestamp.as_ref(), now),
    ];
    row.extend(containers(&job.template.spec.unwrap_or_default().containers));
    row.push(format_selector(job.selector.as_ref()));
    row
}

pub(super) fn daemon_set(set: &DaemonSet, now: Timestamp) -> Row {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let pod = spec.template.spec.unwrap_or_default();
    let mut row = vec![
        set.metadata.name.clone().unwrap_or_default(),
        status.desired_number_scheduled.to_string(),
        status.current_number_scheduled.to_string(),
        status.number_ready.to_string(),
        status.updated_number_scheduled.unwrap_or(0).to_string(),
        status.number_available.unwrap_or(0).to_string(),
        format_labels(pod.node_selector.as_ref()),
        since(set.metadata.creation_timestamp.as_ref(), now),
    ];
    row.extend(containers(&pod.containers));
    row.push(format_selector(Some(&spec.selector)));
    row
}

pub(super) fn revision(revision: &ControllerRevision, now: Timestamp) -> Row {
    let owner = revision.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true));
    let controller = owner.map_or_else(
        || "<none>".to_owned(),
        |o| match o.api_version.split_once('/') {
            Some((group, _)) => format!("{}.{group}/{}", o.kind.to_lowercase(), o.name),
            None => format!("{}/{}", o.kind.to_lowercase(), o.name),
        },
    );
    vec![
        revision.metadata.name.clone().unwrap_or_default(),
        controller,
        revision.revision.to_string(),
        since(revision.metadata.creation_timestamp.as_ref(), now),
    ]
}
