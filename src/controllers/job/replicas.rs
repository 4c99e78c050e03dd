//! A Job's new pod: name, labels, finalizer and, for Indexed, what tells it its index.

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};

use super::facts::{COMPLETION_INDEX, Facts};
use super::per_index::Failures;
use crate::api::Kind;
use crate::api::well_known::JOB_TRACKING_FINALIZER;
use crate::controllers::{Context, pods};

/// A generated name's base may have this many characters.
const MAX_BASE: usize = 58;
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// A pod of this Job; `index` for an Indexed one, `replaced` for an index that has failed before and counts its failures.
pub(super) fn new_pod(facts: &Facts, index: Option<i32>, replaced: Option<&Pod>, cx: &mut Context) -> Pod {
    let base = base(facts.name(), index);
    let mut pod = pods::from_template(&facts.spec.template, &base, Kind::Job, &facts.job.metadata, cx);
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|f| f == JOB_TRACKING_FINALIZER) {
        finalizers.push(JOB_TRACKING_FINALIZER.to_owned());
    }
    if let Some(index) = index {
        tell_index(&mut pod, facts.name(), index);
    }
    if facts.limits.per_index.is_some() {
        let failures = replaced.map_or_else(Failures::default, |old| Failures::after(old, &facts.outcome(old)));
        failures.write(&mut pod.metadata);
    }
    pod
}

/// `<job>-`, or `<job>-<index>-` with the job's name cut so that the index always shows (podGenerateNameWithIndex).
fn base(job: &str, index: Option<i32>) -> String {
    let Some(index) = index else { return format!("{job}-") };
    let tail = format!("-{index}-");
    let room = MAX_BASE - tail.len();
    format!("{}{tail}", job.chars().take(room).collect::<String>())
}

fn tell_index(pod: &mut Pod, job: &str, index: i32) {
    for map in [&mut pod.metadata.labels, &mut pod.metadata.annotations] {
        map.get_or_insert_default().insert(COMPLETION_INDEX.to_owned(), index.to_string());
    }
    let Some(spec) = &mut pod.spec else { return };
    spec.hostname = Some(format!("{job}-{index}"));
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers).for_each(add_variable);
}

/// JOB_COMPLETION_INDEX from the label, unless the container sets it itself.
fn add_variable(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|e| e.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { api_version: None, field_path: format!("metadata.labels['{COMPLETION_INDEX}']") };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    env.push(EnvVar { name: INDEX_VARIABLE.to_owned(), value: None, value_from: Some(source) });
}
