//! Jobs, CronJobs and DaemonSets.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::{CronJob, Job, JobTemplateSpec};
use k8s_openapi::api::core::v1::Pod;

use super::doc::Doc;
use super::{About, controlled_by, head, labels, names, pod};
use crate::cli::duration::{between, human};
use crate::cli::tables::{format_labels, selector_text};

/// Characters of the completed indexes that are shown before it is cut at a comma.
const MAX_INDEXES: usize = 50;

pub(super) fn job(doc: &mut Doc, job: &Job, about: &About) {
    let spec = job.spec.clone().unwrap_or_default();
    names(doc, &job.metadata);
    doc.line(0, format!("Selector:\t{}", spec.selector.as_ref().map(selector_text).unwrap_or_default()));
    labels(doc, &job.metadata);
    controlled_by(doc, &job.metadata);
    some(doc, "Parallelism", spec.parallelism);
    or_unset(doc, "Completions", spec.completions, "");
    some(doc, "Completion Mode", spec.completion_mode.clone());
    some(doc, "Suspend", spec.suspend);
    some(doc, "Backoff Limit", spec.backoff_limit);
    some(doc, "TTL Seconds After Finished", spec.ttl_seconds_after_finished);
    progress(doc, job, about);
    if spec.completion_mode.as_deref() == Some("Indexed") {
        let indexes = job.status.as_ref().and_then(|s| s.completed_indexes.clone()).unwrap_or_default();
        doc.line(0, format!("Completed Indexes:\t{}", cap_indexes(&indexes)));
    }
    for condition in job.status.iter().flat_map(|s| s.conditions.iter().flatten()).filter(|c| c.status == "True") {
        // Not in kubectl's text: why a job failed is what one describes it for.
        let parts = [condition.reason.as_deref(), condition.message.as_deref()];
        let why = parts.into_iter().flatten().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(": ");
        doc.line(0, format!("Condition:\t{}{}", condition.type_, if why.is_empty() { String::new() } else { format!(" ({why})") }));
    }
    pod::template(doc, &spec.template, about);
}

fn progress(doc: &mut Doc, job: &Job, about: &About) {
    let status = job.status.clone().unwrap_or_default();
    some(doc, "Start Time", status.start_time.as_ref().map(|t| about.time(t)));
    some(doc, "Completed At", status.completion_time.as_ref().map(|t| about.time(t)));
    if let (Some(start), Some(end)) = (&status.start_time, &status.completion_time) {
        doc.line(0, format!("Duration:\t{}", human(between(start.0, end.0))));
    }
    let deadline = job.spec.as_ref().and_then(|s| s.active_deadline_seconds);
    some(doc, "Active Deadline Seconds", deadline.map(|s| format!("{s}s")));
    let ready = status.ready.map(|ready| format!(" ({ready} Ready)")).unwrap_or_default();
    let count = |number: Option<i32>| number.unwrap_or(0);
    let (active, succeeded, failed) = (count(status.active), count(status.succeeded), count(status.failed));
    doc.line(0, format!("Pods Statuses:\t{active} Active{ready} / {succeeded} Succeeded / {failed} Failed"));
}

fn cap_indexes(indexes: &str) -> String {
    if indexes.is_empty() {
        return "<none>".to_owned();
    }
    match indexes.char_indices().skip(MAX_INDEXES).find(|(_, c)| *c == ',') {
        Some((comma, _)) => format!("{}...", &indexes[..=comma]),
        None => indexes.to_owned(),
    }
}

pub(super) fn cron_job(doc: &mut Doc, cron: &CronJob, about: &About) {
    let spec = &cron.spec;
    let status = cron.status.clone().unwrap_or_default();
    head(doc, &cron.metadata);
    doc.line(0, format!("Schedule:\t{}", spec.schedule));
    doc.line(0, format!("Concurrency Policy:\t{}", spec.concurrency_policy.as_deref().unwrap_or("Allow")));
    or_unset(doc, "Suspend", spec.suspend.map(super::capital), "");
    or_unset(doc, "Time Zone", spec.time_zone.as_ref(), "");
    or_unset(doc, "Successful Job History Limit", spec.successful_jobs_history_limit, "");
    or_unset(doc, "Failed Job History Limit", spec.failed_jobs_history_limit, "");
    or_unset(doc, "Starting Deadline Seconds", spec.starting_deadline_seconds, "s");
    job_template(doc, &spec.job_template, about);
    or_unset(doc, "Last Schedule Time", status.last_schedule_time.as_ref().map(|t| about.time(t)), "");
    let active: Vec<String> = status.active.unwrap_or_default().into_iter().filter_map(|job| job.name).collect();
    doc.line(0, format!("Active Jobs:\t{}", crate::cli::tables::or_none(active.join(", "))));
}

fn job_template(doc: &mut Doc, template: &JobTemplateSpec, about: &About) {
    let spec = template.spec.clone().unwrap_or_default();
    or_unset(doc, "Selector", spec.selector.as_ref().map(selector_text), "");
    or_unset(doc, "Parallelism", spec.parallelism, "");
    or_unset(doc, "Completions", spec.completions, "");
    some(doc, "Active Deadline Seconds", spec.active_deadline_seconds.map(|s| format!("{s}s")));
    pod::template(doc, &spec.template, about);
}

pub(super) fn daemon_set(doc: &mut Doc, set: &DaemonSet, about: &About) {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    names(doc, &set.metadata);
    doc.line(0, format!("Selector:\t{}", selector_text(&spec.selector)));
    let selector = spec.template.spec.as_ref().and_then(|s| s.node_selector.as_ref());
    doc.line(0, format!("Node-Selector:\t{}", format_labels(selector)));
    labels(doc, &set.metadata);
    doc.line(0, format!("Desired Number of Nodes Scheduled: {}", status.desired_number_scheduled));
    doc.line(0, format!("Current Number of Nodes Scheduled: {}", status.current_number_scheduled));
    doc.line(0, format!("Number of Nodes Scheduled with Up-to-date Pods: {}", status.updated_number_scheduled.unwrap_or(0)));
    doc.line(0, format!("Number of Nodes Scheduled with Available Pods: {}", status.number_available.unwrap_or(0)));
    doc.line(0, format!("Number of Nodes Misscheduled: {}", status.number_misscheduled));
    let count = |phase: &str| about.pods.iter().filter(|pod| phase_of(pod) == phase).count();
    let (running, waiting, succeeded, failed) = (count("Running"), count("Pending"), count("Succeeded"), count("Failed"));
    doc.line(0, format!("Pods Status:\t{running} Running / {waiting} Waiting / {succeeded} Succeeded / {failed} Failed"));
    pod::template(doc, &spec.template, about);
}

fn phase_of(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

fn some(doc: &mut Doc, title: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        doc.line(0, format!("{title}:\t{value}"));
    }
}

fn or_unset(doc: &mut Doc, title: &str, value: Option<impl std::fmt::Display>, unit: &str) {
    match value {
        Some(value) => doc.line(0, format!("{title}:\t{value}{unit}")),
        None => doc.line(0, format!("{title}:\t<unset>")),
    }
}
