//! What a Job gets when it is created (batch/v1 defaults, pkg/registry/batch/job generateSelector), and what of it can't change.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rerun::Wish;
use crate::api::defaults;
use crate::api::well_known::{MANIFEST_HASH, SOURCE};
use crate::controllers::pods;

const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
const LEGACY_CONTROLLER_UID: &str = "controller-uid";
const LEGACY_JOB_NAME: &str = "job-name";

/// Completes a new Job that has its name and uid: defaults, and unless the selector is manual the selector by uid and the template's four labels.
pub fn prepare(job: &mut Job) {
    let (name, uid) = (job.metadata.name.clone().unwrap_or_default(), job.metadata.uid.clone().unwrap_or_default());
    let Some(spec) = &mut job.spec else { return };
    defaults::job_spec(spec);
    let template_labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone());
    if job.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty) {
        job.metadata.labels = template_labels;
    }
    if spec.manual_selector == Some(true) {
        return;
    }
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (key, value) in [(CONTROLLER_UID, &uid), (LEGACY_CONTROLLER_UID, &uid), (JOB_NAME, &name), (LEGACY_JOB_NAME, &name)] {
        labels.insert(key.to_owned(), value.clone());
    }
    let by_uid = BTreeMap::from([(CONTROLLER_UID.to_owned(), uid)]);
    spec.selector = Some(LabelSelector { match_labels: Some(by_uid), match_expressions: None });
}

/// A Job as it compares with another: with its defaults; without what [`prepare`] gave it for its own uid, where that would be a new one.
pub fn prepare_for_comparison(job: &mut Job, fresh: bool) {
    let Some(spec) = &mut job.spec else { return };
    defaults::job_spec(spec);
    if fresh && spec.manual_selector != Some(true) {
        spec.selector = None;
        strip_generated_labels(spec);
    }
    if job.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty) {
        job.metadata.labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone());
    }
}

/// sha256 over what can't change in a Job once it is there: its spec without parallelism, suspend, activeDeadlineSeconds, backoffLimit,
/// ttlSecondsAfterFinished, maxFailedIndexes and podReplacementPolicy (ValidateJobSpecUpdate), and without what [`prepare`] generates. The same for a manifest and for the Job made from it.
pub fn immutable_hash(job: &Job) -> String {
    let mut spec = job.spec.clone().unwrap_or_default();
    defaults::job_spec(&mut spec);
    if spec.manual_selector != Some(true) {
        spec.selector = None;
        strip_generated_labels(&mut spec);
    }
    spec.parallelism = None;
    spec.suspend = None;
    spec.active_deadline_seconds = None;
    spec.backoff_limit = None;
    spec.ttl_seconds_after_finished = None;
    spec.max_failed_indexes = None;
    spec.pod_replacement_policy = None;
    let bytes = serde_json::to_vec(&spec).unwrap_or_default();
    Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn strip_generated_labels(spec: &mut JobSpec) {
    let Some(metadata) = &mut spec.template.metadata else { return };
    if let Some(labels) = &mut metadata.labels {
        labels.retain(|k, _| ![CONTROLLER_UID, LEGACY_CONTROLLER_UID, JOB_NAME, LEGACY_JOB_NAME].contains(&k.as_str()));
    }
    metadata.labels.take_if(|labels| labels.is_empty());
    spec.template.metadata.take_if(|m| *m == Default::default());
}

/// What stays of a Job from a file when its time to live is over, as JSON in the record [`crate::api::well_known::JOB_TOMBSTONE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// [`MANIFEST_HASH`] of the manifest it came from.
    pub manifest: String,
    /// [`immutable_hash`] of the Job.
    pub immutable: String,
    /// [`SOURCE`] of the Job.
    pub source: String,
    /// That it is to be made again all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Wish>,
}

/// The tombstone of a Job, if it came from a file.
pub(super) fn tombstone(job: &Job) -> Option<Vec<u8>> {
    let source = pods::annotation(&job.metadata, SOURCE)?.to_owned();
    let manifest = pods::annotation(&job.metadata, MANIFEST_HASH).unwrap_or_default().to_owned();
    serde_json::to_vec(&Tombstone { manifest, immutable: immutable_hash(job), source, again: None }).ok()
}
