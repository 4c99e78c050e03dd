//! DaemonSets, Jobs and CronJobs as kube-state-metrics tells of them (docs/metrics/workload). Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::{CronJob, Job, JobStatus};

use super::exposition::Family;
use super::labels::{Labels, condition, flag, object, owners, seconds, unix, with};
use crate::api::schedule::{self, Schedule};
use crate::api::well_known::NOT_ADMITTED;
use crate::api::{Key, Object};

/// kube-state-metrics' (internal/store/job.go jobFailureReasons).
const FAILURE_REASONS: [&str; 3] = ["BackoffLimitExceeded", "DeadlineExceeded", "Evicted"];

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
        name("kube_job_info", "Information about job."),
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
        let [info, created, owned, parallelism, completions, active, succeeded, failed, start, end, complete, has_failed] = &mut all;
        info.add(of.clone(), 1.0);
        seconds(created, &of, job.metadata.creation_timestamp.as_ref());
        owners(owned, &of, &job.metadata);
        for (family, number) in [(parallelism, spec.parallelism), (completions, spec.completions)] {
            number.into_iter().for_each(|n| family.add(of.clone(), f64::from(n)));
        }
        for (family, number) in [(active, status.active), (succeeded, status.succeeded)] {
            family.add(of.clone(), f64::from(number.unwrap_or_default()));
        }
        failures(failed, &of, &status);
        seconds(start, &of, status.start_time.as_ref());
        seconds(end, &of, status.completion_time.as_ref());
        for (family, kind) in [(complete, "Complete"), (has_failed, "Failed")] {
            let known = status.conditions.iter().flatten().find(|c| c.type_ == kind);
            known.into_iter().for_each(|c| condition(family, &of, "condition", &c.status));
        }
    }
    all.into()
}

/// As kube-state-metrics has it: no reason while no pod has failed, the number under the reason "" while the Job has not failed or for a reason not
/// known there, else 1 under the reason that it failed for.
fn failures(family: &mut Family, of: &Labels, status: &JobStatus) {
    let number = f64::from(status.failed.unwrap_or_default());
    if number == 0.0 {
        return family.add(of.clone(), 0.0);
    }
    let failed = status.conditions.iter().flatten().find(|c| c.type_ == "Failed");
    let reason = failed.and_then(|c| c.reason.as_deref());
    for known in FAILURE_REASONS.into_iter().filter(|_| failed.is_some()) {
        family.add(with(of, "reason", known), flag(reason == Some(known)));
    }
    if !reason.is_some_and(|reason| FAILURE_REASONS.contains(&reason)) {
        family.add(with(of, "reason", ""), number);
    }
}

/// All families about CronJobs. `zone` is the host's.
pub fn cron_jobs(cron_jobs: &[&CronJob], zone: &TimeZone) -> Vec<Family> {
    let name = |name, help| Family::gauge(name, help);
    let mut all = [
        name("kube_cronjob_info", "Info about cronjob."),
        name("kube_cronjob_created", "Unix creation timestamp."),
        name("kube_cronjob_spec_suspend", "Suspend flag tells the controller to suspend subsequent executions."),
        name("kube_cronjob_status_active", "Active holds pointers to currently running jobs."),
        name("kube_cronjob_status_last_schedule_time", "Information when was the last time the job was successfully scheduled."),
        name("kube_cronjob_status_last_successful_time", "Information when was the last time the job was completed successfully."),
        name(
            "kube_cronjob_next_schedule_time",
            "When the cronjob should be scheduled next: after lastScheduleTime, or after its creation. In the past: it is late.",
        ),
    ];
    for cron_job in cron_jobs {
        let of = object("cronjob", &cron_job.metadata);
        let (spec, status) = (&cron_job.spec, cron_job.status.clone().unwrap_or_default());
        let [info, created, suspend, active, last, success, next] = &mut all;
        let about = with(&with(&of, "schedule", &spec.schedule), "timezone", spec.time_zone.as_deref().unwrap_or("local"));
        info.add(with(&about, "concurrency_policy", spec.concurrency_policy.as_deref().unwrap_or("Allow")), 1.0);
        seconds(created, &of, cron_job.metadata.creation_timestamp.as_ref());
        suspend.add(of.clone(), flag(spec.suspend == Some(true)));
        active.add(of.clone(), status.active.as_ref().map_or(0, Vec::len) as f64);
        seconds(last, &of, status.last_schedule_time.as_ref());
        seconds(success, &of, status.last_successful_time.as_ref());
        next_slot(cron_job, zone).into_iter().for_each(|at| next.add(of.clone(), unix(at)));
    }
    all.into()
}

/// None while suspended, where it is kept away from this node, and for a schedule or a zone that is none: it is never late then.
fn next_slot(cron_job: &CronJob, zone: &TimeZone) -> Option<Timestamp> {
    let (spec, last) = (&cron_job.spec, cron_job.status.as_ref().and_then(|s| s.last_schedule_time.as_ref()));
    let kept_away = cron_job.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(NOT_ADMITTED));
    if spec.suspend == Some(true) || kept_away {
        return None;
    }
    let after = last.or(cron_job.metadata.creation_timestamp.as_ref())?.0;
    let zone = spec.time_zone.as_deref().map_or_else(|| Some(zone.clone()), |name| schedule::zone(name).ok())?;
    Schedule::parse(&spec.schedule).ok()?.next(after, &zone)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sample(family: &Family) -> Vec<(Vec<String>, f64)> {
        let values = |labels: &Labels| labels.iter().skip(2).map(|(name, value)| format!("{name}={value}")).collect();
        family.samples.iter().map(|s| (values(&s.labels), s.value)).collect()
    }

    fn next(meta: Value, spec: Value, status: Value) -> Option<String> {
        let mut spec = spec;
        spec["schedule"] = json!("0 * * * *");
        spec["jobTemplate"] = json!({"spec": {"template": {"spec": {"containers": []}}}});
        let cron_job: CronJob = serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": status})).unwrap();
        let all = cron_jobs(&[&cron_job], &TimeZone::UTC);
        let family = all.into_iter().find(|f| f.name == "kube_cronjob_next_schedule_time").unwrap();
        family.samples.first().map(|s| Timestamp::from_second(s.value as i64).unwrap().to_string())
    }

    /// At 12:10 its time is one hour and ten minutes past: that is what an alert on lateness asks for.
    #[test]
    fn the_next_time_of_a_cron_job_whose_last_run_was_two_slots_ago_is_past() {
        let made = json!({"creationTimestamp": "2026-01-01T07:30:00Z"});
        let ran = json!({"lastScheduleTime": "2026-01-01T10:00:00Z"});
        assert_eq!(next(made.clone(), json!({}), ran.clone()).unwrap(), "2026-01-01T11:00:00Z");
        assert_eq!(next(made.clone(), json!({}), json!({})).unwrap(), "2026-01-01T08:00:00Z", "it never ran: after its creation");
        assert_eq!(next(made.clone(), json!({"timeZone": "Asia/Kolkata"}), ran.clone()).unwrap(), "2026-01-01T10:30:00Z", "in its zone");
        assert_eq!(next(made.clone(), json!({"suspend": true}), ran.clone()), None, "nobody waits for it");
        let away = json!({"creationTimestamp": "2026-01-01T07:30:00Z", "annotations": {NOT_ADMITTED: "why"}});
        assert_eq!(next(away, json!({}), ran), None, "it does not run here");
    }

    #[test]
    fn failed_pods_of_a_job_by_its_reason_as_kube_state_metrics_has_it() {
        let told = |status: Value| {
            let job: Job = serde_json::from_value(json!({"metadata": {"name": "j"}, "status": status})).unwrap();
            let all = jobs(&[&job]);
            sample(all.iter().find(|f| f.name == "kube_job_status_failed").unwrap())
        };
        let one = |label: &str, value: f64| (vec![label.to_owned()], value);
        assert_eq!(told(json!({})), [(Vec::new(), 0.0)]);
        assert_eq!(told(json!({"failed": 2})), [one("reason=", 2.0)], "it may still succeed");
        let failed = |reason: &str| json!({"failed": 2, "conditions": [{"type": "Failed", "status": "True", "reason": reason}]});
        let known = |of: f64| [one("reason=BackoffLimitExceeded", of), one("reason=DeadlineExceeded", 0.0), one("reason=Evicted", 0.0)];
        assert_eq!(told(failed("BackoffLimitExceeded")), known(1.0));
        assert_eq!(told(failed("PodFailurePolicy")), [&known(0.0)[..], &[one("reason=", 2.0)]].concat());
    }

    #[test]
    fn how_a_job_ended_is_told_under_all_three_words_and_not_before() {
        let told = |conditions: Value| {
            let job: Job = serde_json::from_value(json!({"metadata": {"name": "j"}, "status": {"conditions": conditions}})).unwrap();
            let all = jobs(&[&job]);
            ["kube_job_complete", "kube_job_failed"].map(|name| sample(all.iter().find(|f| f.name == name).unwrap()))
        };
        let three = |holds: f64, not: f64| {
            vec![
                (vec!["condition=true".to_owned()], holds),
                (vec!["condition=false".to_owned()], not),
                (vec!["condition=unknown".to_owned()], 0.0),
            ]
        };
        assert_eq!(told(json!([])), [vec![], vec![]]);
        assert_eq!(told(json!([{"type": "Complete", "status": "True"}])), [three(1.0, 0.0), vec![]]);
        assert_eq!(told(json!([{"type": "Failed", "status": "False"}])), [vec![], three(0.0, 1.0)]);
    }
}
