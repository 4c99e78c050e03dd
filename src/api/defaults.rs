//! The values Kubernetes fills in where a manifest is silent: `pkg/apis/{core,apps,batch}/v1/defaults.go` of v1.36.
//!
//! Guarantees: idempotent, never removes what was written, never fails. A Job's selector, its labels and the names derived from generateName are the
//! controllers' business. Templates are defaulted as the API server does it for a template; what it adds only when the Pod itself is created
//! (requests from limits, hostPort with hostNetwork, enableServiceLinks) is filled in here for templates too, because here a template becomes a
//! Pod without passing an API server again. An empty namespace becomes `default`, as kubectl sends it.

mod pod;
mod pod_resources;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::batch::v1::{CronJobSpec, JobSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimSpec, PodTemplateSpec, Secret};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::Object;

/// Fills in every default of the object, in place.
pub fn apply(object: &mut Object) {
    if object.kind().namespaced() {
        set_text(&mut object.meta_mut().namespace, "default");
    }
    match object {
        Object::DaemonSet(o) => o.spec.iter_mut().for_each(daemon_set),
        // The Job's labels, where it has none, are its template's: the controller fills them in, for the Jobs of CronJobs too.
        Object::Job(o) => o.spec.iter_mut().for_each(job),
        Object::CronJob(o) => cron_job(&mut o.spec),
        Object::StaticPod(o) | Object::Pod(o) => o.spec.iter_mut().for_each(pod::spec),
        Object::Secret(o) => secret(o),
        Object::PersistentVolumeClaim(o) => o.spec.iter_mut().for_each(claim),
        Object::ConfigMap(_) | Object::Node(_) | Object::Event(_) | Object::ControllerRevision(_) => {}
    }
}

/// Sets a value that is absent.
fn set<T>(field: &mut Option<T>, value: T) {
    field.get_or_insert(value);
}

/// Sets a text that is absent or empty: Go cannot tell the two apart.
fn set_text(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.to_owned());
    }
}

fn template(template: &mut PodTemplateSpec) {
    template.spec.iter_mut().for_each(pod::spec);
}

fn daemon_set(spec: &mut DaemonSetSpec) {
    set(&mut spec.revision_history_limit, 10);
    let strategy = spec.update_strategy.get_or_insert_with(DaemonSetUpdateStrategy::default);
    set_text(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let rolling = strategy.rolling_update.get_or_insert_with(RollingUpdateDaemonSet::default);
        set(&mut rolling.max_unavailable, IntOrString::Int(1));
        set(&mut rolling.max_surge, IntOrString::Int(0));
    }
    template(&mut spec.template);
}

/// A Job's own numbers and policies, without its pods' (`SetDefaults_Job`): also for a Job that a CronJob makes.
pub fn job_spec(spec: &mut JobSpec) {
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    set(&mut spec.parallelism, 1);
    let unlimited = spec.backoff_limit_per_index.is_some();
    set(&mut spec.backoff_limit, if unlimited { i32::MAX } else { 6 });
    set_text(&mut spec.completion_mode, "NonIndexed");
    set(&mut spec.suspend, false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    set_text(&mut spec.pod_replacement_policy, replacement);
}

fn job(spec: &mut JobSpec) {
    job_spec(spec);
    set(&mut spec.manual_selector, false);
    let policies = spec.pod_failure_policy.iter_mut().flat_map(|p| &mut p.rules);
    for pattern in policies.flat_map(|rule| rule.on_pod_conditions.iter_mut().flatten()) {
        set_text(&mut pattern.status, "True");
    }
    template(&mut spec.template);
}

fn cron_job(spec: &mut CronJobSpec) {
    set_text(&mut spec.concurrency_policy, "Allow");
    set(&mut spec.suspend, false);
    set(&mut spec.successful_jobs_history_limit, 3);
    set(&mut spec.failed_jobs_history_limit, 1);
    // The API server leaves most of a jobTemplate to the Job made from it; the controller copies this spec into that Job.
    spec.job_template.spec.iter_mut().for_each(job);
}

/// `type: Opaque`, and stringData merged over data as the API server does on write (`pkg/apis/core/v1/conversion.go`).
fn secret(secret: &mut Secret) {
    set_text(&mut secret.type_, "Opaque");
    if let Some(texts) = secret.string_data.take() {
        let data = secret.data.get_or_insert_default();
        data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    }
}

fn claim(spec: &mut PersistentVolumeClaimSpec) {
    let lists = spec.resources.iter_mut().flat_map(|r| [&mut r.limits, &mut r.requests]).flatten();
    lists.for_each(pod::round_up);
    set_text(&mut spec.volume_mode, "Filesystem");
}

#[cfg(test)]
mod tests;
