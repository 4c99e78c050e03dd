//! Edits of the manifests directory: one at a time, off the runtime's threads, and not waited for longer than a file system may take.

use std::path::Path;
use std::time::Duration;

use tonic::Status;

use super::ApiState;
use super::applying::edit_status;
use crate::agent::manifest_edit::EditError;

/// A file system that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `work` on the manifests directory. Errors: the edit's own; DEADLINE_EXCEEDED where the directory does not answer: the edit is then made
/// when it does, unless the agent ends before. At most one thread hangs, however many ask.
pub async fn edit<T, F>(state: &ApiState, work: F) -> Result<T, Status>
where
    T: Send + 'static,
    F: FnOnce(&Path) -> Result<T, EditError> + Send + 'static,
{
    let root = state.paths.manifests.clone();
    let Ok(guard) = tokio::time::timeout(PATIENCE, state.edits.clone().lock_owned()).await else {
        return Err(silent(&root, "nothing was changed"));
    };
    let shown = root.clone();
    let edit = tokio::task::spawn_blocking(move || {
        let _one_at_a_time = guard;
        work(&root)
    });
    match tokio::time::timeout(PATIENCE, edit).await {
        Ok(done) => done.map_err(|cause| Status::internal(cause.to_string()))?.map_err(|error| edit_status(&error)),
        Err(_) => Err(silent(&shown, "the change is made when it does")),
    }
}

fn silent(root: &Path, then: &str) -> Status {
    let (root, seconds) = (root.display(), PATIENCE.as_secs());
    Status::deadline_exceeded(format!(
        "the manifests directory {root} does not answer within {seconds} s, so {then}; see findmnt -T {root}"
    ))
}
