//! Rollout: a DaemonSet's template is changed in its manifest file, as `kubectl rollout undo|restart` changes the object.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

use super::ApiState;
use super::editing::edit;
use super::pb::rollout_request::Change;
use super::pb::{RolloutRequest, RolloutResponse};
use super::status::not_found;
use crate::agent::manifest_edit::{self, EditError, Place};
use crate::agent::template_edit;
use crate::api::{Key, Kind, Object};
use crate::controllers::daemonset::rollback::{self, RESTARTED_AT};

/// How long the agent may take to read the change before the answer is given all the same.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// What to do with the template.
enum Wish {
    Restart(String),
    Template(Box<PodTemplateSpec>),
}

/// Errors: NOT_FOUND for the DaemonSet, FAILED_PRECONDITION where its file is not ours to change or the wish cannot be had.
pub async fn rollout(state: &ApiState, request: RolloutRequest) -> Result<RolloutResponse, Status> {
    let key = Key::new(Kind::DaemonSet, &*request.namespace, &*request.name);
    let stored = state.store.get(&key).ok_or_else(|| not_found(Kind::DaemonSet, &key.name))?;
    let place = Place::of(&stored).ok_or_else(|| Status::failed_precondition(format!("{key} has no manifest file to change")))?;
    let wish = wish(state, &stored, request.change)?;
    let mut changes = state.store.watch();
    let edited = key.clone();
    let (file, template) = edit(state, move |root| write(root, &place, &edited, &wish)).await?;
    let read = async {
        while template_of(state, &key) != template {
            // Cancel-safe, and what was missed is read from the Store.
            if let Err(RecvError::Closed) = changes.recv().await {
                return;
            }
        }
    };
    // A directory that is slow to be read is no failure of the change.
    let _ = tokio::time::timeout(READ_WITHIN, read).await;
    Ok(RolloutResponse { file })
}

fn wish(state: &ApiState, stored: &Object, change: Option<Change>) -> Result<Wish, Status> {
    match change {
        Some(Change::Restart(true)) => {
            let now = state.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let annotations = stored.as_daemon_set().and_then(|ds| ds.spec.as_ref()?.template.metadata.as_ref()?.annotations.as_ref());
            if annotations.and_then(|a| a.get(RESTARTED_AT)) == Some(&now) {
                let message =
                    "if restart has already been triggered within the past second, please wait before attempting to trigger another";
                return Err(Status::failed_precondition(message));
            }
            Ok(Wish::Restart(now))
        }
        Some(Change::ToRevision(number)) => {
            let owned = state.store.owned(stored.uid());
            let revisions: Vec<ControllerRevision> = owned.iter().filter_map(|o| o.as_controller_revision()).cloned().collect();
            let target = rollback::target(&revisions, number).map_err(Status::failed_precondition)?;
            let template = rollback::template(target);
            template.map(|t| Wish::Template(Box::new(t))).ok_or_else(|| Status::internal(format!("revision {number} cannot be read")))
        }
        _ => Err(Status::invalid_argument("say restart or to_revision")),
    }
}

/// Returns the file and the template it asks for now.
fn write(root: &std::path::Path, place: &Place, key: &Key, wish: &Wish) -> Result<(String, Option<PodTemplateSpec>), EditError> {
    let (text, object) = manifest_edit::read(root, place, key)?;
    let ds = object.as_daemon_set().ok_or_else(|| EditError::Moved { file: place.file.clone(), key: key.clone() })?;
    let (text, wanted) = match wish {
        Wish::Restart(at) => template_edit::restarted(&text, ds, at),
        Wish::Template(template) => template_edit::with_template(&text, ds, template),
    };
    let (_, file) = manifest_edit::write(root, Some(place), &text, &wanted, false)?;
    Ok((file, wanted.as_daemon_set().and_then(template)))
}

fn template_of(state: &ApiState, key: &Key) -> Option<PodTemplateSpec> {
    state.store.get(key)?.as_daemon_set().and_then(template)
}

fn template(ds: &DaemonSet) -> Option<PodTemplateSpec> {
    ds.spec.as_ref().map(|s| s.template.clone())
}
