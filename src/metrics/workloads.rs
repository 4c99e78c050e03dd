//! DaemonSets, Jobs and CronJobs as kube-state-metrics tells of them (docs/metrics/workload). Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::{CronJob, Job};

use super::exposition::Family;
use super::labels::{flag, object, seconds, unix};
use super::pods::with;
use crate::api::schedule::{self, Schedule};
use crate::api::well_known::NOT_ADMITTED;
use crate::api::{Key, Object};

/// All families about DaemonSets.
pub fn daemon_sets(sets: &[&DaemonSet]) -> Vec<Family> {
    let name = |name, help| Family::gauge(name, help);
    let mut all = [
        name("kube_daemonset_created", "Unix creation timestamp."),
        name("kube_daemonset_metadata_generation", "Sequence number representing a specific generation of the desired state."),
        name("kube_daemonset_status_desired_number_scheduled", "The number of nodes that should be running the daemon pod."),
        name("kube_daemonset_status_current_number_scheduled", "The number of nodes running at least one daemon pod and are supposed to."),
        name("kube_daemonset_status_number_ready", "The number of nodes that should be running the daemon pod and have it ready."),
        name("kube_daemonset_status_number_available", "The number of nodes that have the daemon pod running and available."),
        name("kube_daemonset_status_number_unavailable", "The number of nodes that have none of the daemon pod running and available."),
        name("kube_daemonset_status_number_misscheduled", "The number of nodes running a daemon pod but are not supposed to."),
        name("kube_daemonset_status_updated_number_scheduled", "The total number of nodes that are running updated daemon pod."),
    ];
    for set in sets {
        let of = object("daemonset", &set.metadata);
        let status = set.status.clone().unwrap_or_default();
        seconds(&mut all[0], &of, set.metadata.creation_timestamp.as_ref());
        let generation = set.metadata.generation.unwrap_or_default();
        let numbers = [
            generation as f64,
            f64::from(status.desired_number_scheduled),
            f64::from(status.current_number_scheduled),
            f64::from(status.number_ready),
            f64::from(status.number_available.unwrap_or_default()),
            f64::from(status.number_unavailable.unwrap_or_default()),
            f64::from(status.number_misscheduled),
            f64::from(status.updated_number_scheduled.unwrap_or_default()),
        ];
        for (family, number) in all.iter_mut().skip(1).zip(numbers) {
            family.add(of.clone(), number);
        }
    }
    all.into()
}

/// All families about Jobs.
pub fn jobs(jobs: &[&Job]) -> Vec<Family> {
    let name = |name, help| Family::gauge(name, help);
    let mut all = [
        name("kube_job_created", "Unix creation timestamp."),
        name("kube_job_owner", "Information about the Job's owner."),
        name("kube_job_spec_parallelism", "The maximum desired number of pods the job should run at any given time."),
        name("kube_job_spec_completions", "The desired number of successfully finished pods the job should be run with."),
        name("kube_job_status_active", "The number of actively running pods."),
        name("kube_job_status_succeeded", "The number of pods which reached Phase Succeeded."),
        name("kube_job_status_failed", "The number of pods which reached Phase Failed and the reason for failure."),
        name("kube_job_status_start_time", "StartTime represents time when the job was acknowledged by the Job Manager."),
        name("kube_job_status_completion_time", "CompletionTime represents time when the job was completed."),
        name("kube_job_complete", "The job has completed its execution."),
        name("kube_job_failed", "The job has failed its execution."),
    ];
    for job in jobs {
        let of = object("job_name", &job.metadata);
        let (spec, status) = (job.spec.clone().unwrap_or_default(), job.status.clone().unwrap_or_default());
        let [created, owners, parallelism, completions, active, succeeded, failed, start, end, complete, has_failed] = &mut all;
        seconds(created, &of, job.metadata.creation_timestamp.as_ref());
        for owner in job.metadata.owner_references.iter().flatten() {
            let controller = if owner.controller == Some(true) { "true" } else { "false" };
            let about = with(&with(&of, "owner_kind", &owner.kind), "owner_name", &owner.name);
            owners.add(with(&about, "owner_is_controller", controller), 1.0);
        }
        for (family, number) in [(parallelism, spec.parallelism), (completions, spec.completions)] {
            number.into_iter().for_each(|n| family.add(of.clone(), f64::from(n)));
        }
        for (family, number) in [(active, status.active), (succeeded, status.succeeded), (failed, status.failed)] {
            family.add(of.clone(), f64::from(number.unwrap_or_default()));
        }
        seconds(start, &of, status.start_time.as_ref());
        seconds(end, &of, status.completion_time.as_ref());
        for (family, kind) in [(complete, "Complete"), (has_failed, "Failed")] {
            if status.conditions.iter().flatten().any(|c| c.type_ == kind && c.status == "True") {
                family.add(with(&of, "condition", "true"), 1.0);
            }
        }
    }
    all.into()
}

/// All families about CronJobs. `zone` is the host's.
pub fn cron_jobs(cron_jobs: &[&CronJob], now: Timestamp, zone: &TimeZone) -> Vec<Family> {
    let name = |name, help| Family::gauge(name, help);
    let mut all = [
        name("kube_cronjob_info", "Info about cronjob."),
        name("kube_cronjob_created", "Unix creation timestamp."),
        name("kube_cronjob_spec_suspend", "Suspend flag tells the controller to suspend subsequent executions."),
        name("kube_cronjob_status_active", "Active holds pointers to currently running jobs."),
        name("kube_cronjob_status_last_schedule_time", "Information when was the last time the job was successfully scheduled."),
        name("kube_cronjob_status_last_successful_time", "Information when was the last time the job was completed successfully."),
        name("kube_cronjob_next_schedule_time", "Next time the cronjob should be scheduled."),
    ];
    for cron_job in cron_jobs {
        let of = object("cronjob", &cron_job.metadata);
        let (spec, status) = (&cron_job.spec, cron_job.status.clone().unwrap_or_default());
        let [info, created, suspend, active, last, success, next] = &mut all;
        let about = with(&with(&of, "schedule", &spec.schedule), "timezone", spec.time_zone.as_deref().unwrap_or_default());
        info.add(with(&about, "concurrency_policy", spec.concurrency_policy.as_deref().unwrap_or("Allow")), 1.0);
        seconds(created, &of, cron_job.metadata.creation_timestamp.as_ref());
        suspend.add(of.clone(), flag(spec.suspend == Some(true)));
        active.add(of.clone(), status.active.as_ref().map_or(0, Vec::len) as f64);
        seconds(last, &of, status.last_schedule_time.as_ref());
        seconds(success, &of, status.last_successful_time.as_ref());
        next_slot(cron_job, now, zone).into_iter().for_each(|at| next.add(of.clone(), unix(at)));
    }
    all.into()
}

/// None while suspended, and for a schedule or a zone that is none.
fn next_slot(cron_job: &CronJob, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let spec = &cron_job.spec;
    if spec.suspend == Some(true) {
        return None;
    }
    let zone = spec.time_zone.as_deref().map_or_else(|| Some(zone.clone()), |name| schedule::zone(name).ok())?;
    Schedule::parse(&spec.schedule).ok()?.next(now, &zone)
}

/// Workloads that do not run here, which a cluster has no word for.
pub fn not_admitted<'o>(objects: impl Iterator<Item = &'o Object>) -> Family {
    let mut family = Family::gauge("minik8s_workload_not_admitted", "Workloads that this node's labels, taints or name keep away.");
    for object in objects {
        if object.meta().annotations.as_ref().is_some_and(|a| a.contains_key(NOT_ADMITTED)) {
            let Key { kind, namespace, name } = object.key();
            family.add(vec![("kind", kind.shown().to_owned()), ("namespace", namespace), ("name", name)], 1.0);
        }
    }
    family
}
