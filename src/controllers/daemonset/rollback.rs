//! Earlier templates of a DaemonSet, and which one to go back to (kubectl's `pkg/polymorphichelpers/history.go` and `rollback.go`).

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::history::snapshot;

/// Annotation on a revision, copied from the DaemonSet: why it was made.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// Annotation on a template: when `rollout restart` was last asked for.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// The revision numbered `to`, or for 0 the one before the newest. Errors: kubectl's words.
pub fn target(revisions: &[ControllerRevision], to: i64) -> Result<&ControllerRevision, String> {
    let mut newest_first: Vec<&ControllerRevision> = revisions.iter().collect();
    newest_first.sort_by_key(|r| std::cmp::Reverse(r.revision));
    match to {
        0 => newest_first.get(1).copied().ok_or_else(|| "no last revision to roll back to".to_owned()),
        _ => {
            newest_first.into_iter().find(|r| r.revision == to).ok_or_else(|| format!("unable to find specified revision {to} in history"))
        }
    }
}

/// The template a revision keeps; `None` if it cannot be read.
pub fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    // From text, as objects are read: reading a pod out of a `Value` would be a third copy of that code in the program (a quarter of a megabyte).
    serde_json::from_slice(template.to_string().as_bytes()).ok()
}

/// Whether the DaemonSet has this revision's template now.
pub fn matches(ds: &DaemonSet, revision: &ControllerRevision) -> bool {
    ds.spec.as_ref().map(snapshot) == revision.data.as_ref().map(|d| d.0.clone())
}
