//! What a test looks for in an object as `get -o json` prints it.

use serde_json::Value;

use crate::rig::Rig;

/// A pod's phase.
pub fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or_default()
}

/// The name of the mirror of a manifest's Pod.
pub fn pod_name(manifest: &str) -> String {
    format!("{manifest}-{}", Rig::NODE)
}

/// Whether all `count` regular containers of the Pod run.
pub fn all_run(pod: &Value, count: usize) -> bool {
    pod["status"]["containerStatuses"]
        .as_array()
        .is_some_and(|all| all.len() == count && all.iter().all(|c| c["state"]["running"].is_object()))
}

/// The status of a condition, "" where it is not set.
pub fn condition(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().find(|c| c["type"] == kind).and_then(|c| c["status"].as_str()).unwrap_or_default().to_owned()
}
