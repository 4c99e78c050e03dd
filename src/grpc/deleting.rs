//! Delete: an object from a manifest leaves its file (the agent then prunes it); any other is marked as being deleted, as the API server does.

use std::sync::Arc;

use tonic::Status;

use super::ApiState;
use super::editing::edit;
use super::filter::item;
use super::pb::{DeleteRequest, DeleteResponse};
use super::status::{from_store, not_found, parse_kind};
use crate::agent::commit;
use crate::agent::manifest_edit::{self, Place};
use crate::api::{Key, Kind, Object};
use crate::controllers::Plan;
use crate::store::{Op, StoreError};

/// How often a deletion is tried against others that change the object.
const TRIES: usize = 8;

/// Errors: NOT_FOUND, INVALID_ARGUMENT, FAILED_PRECONDITION with what to do instead.
pub async fn delete(state: &ApiState, request: DeleteRequest) -> Result<DeleteResponse, Status> {
    if request.cascade == "orphan" {
        return Err(Status::invalid_argument("cascade=orphan is not supported: nothing would own the pods that stay"));
    }
    let (key, object) = find(state, &request)?;
    let file = match Place::of(&object) {
        Some(place) => remove_from_file(state, place, key).await?,
        None => {
            mark_deleted(state, &key, request.grace_seconds).await?;
            String::new()
        }
    };
    Ok(DeleteResponse { item: Some(item(&object)), file })
}

/// The object meant: for a static pod, by its own name or its manifest's, the manifest, since the pod alone would come back.
fn find(state: &ApiState, request: &DeleteRequest) -> Result<(Key, Arc<Object>), Status> {
    let kind = parse_kind(&request.kind)?;
    let namespace = if kind.namespaced() { request.namespace.as_str() } else { "" };
    let kinds = if kind == Kind::Pod { [Kind::Pod, Kind::StaticPod].as_slice() } else { &[kind][..] };
    let found = kinds.iter().find_map(|kind| {
        let key = Key::new(*kind, namespace, &request.name);
        state.store.get(&key).map(|object| (key, object))
    });
    let (key, object) = found.ok_or_else(|| not_found(kind, &request.name))?;
    let manifests = if key.kind == Kind::Pod { state.store.list(Kind::StaticPod) } else { Vec::new() };
    let manifest = manifests.into_iter().find(|m| Some(m.uid()) == object.controller_uid() && Place::of(m).is_some());
    Ok(manifest.map_or((key, object), |manifest| (manifest.key(), manifest)))
}

async fn remove_from_file(state: &ApiState, place: Place, key: Key) -> Result<String, Status> {
    edit(state, move |root| manifest_edit::remove(root, &place, &key).map(|()| place.file)).await
}

async fn mark_deleted(state: &ApiState, key: &Key, grace: Option<i64>) -> Result<(), Status> {
    for _ in 0..TRIES {
        let Some(object) = state.store.get(key) else { return Ok(()) };
        let ops = match key.kind {
            Kind::Node => return Err(Status::failed_precondition(format!("node {:?} is this host; it cannot be deleted", key.name))),
            Kind::Pod | Kind::Job | Kind::CronJob | Kind::DaemonSet | Kind::StaticPod => {
                let plan = Plan { delete: vec![commit::requested(&object, grace)], ..Plan::default() };
                commit::operations(&*state.store, plan, state.clock.now())
            }
            _ => vec![Op::Delete { key: key.clone(), uid: Some(object.uid().to_owned()).filter(|uid| !uid.is_empty()) }],
        };
        if ops.is_empty() {
            return Ok(());
        }
        match state.store.commit(ops).await {
            Err(StoreError::Conflict(_)) => {}
            Err(StoreError::Missing(_)) | Ok(_) => return Ok(()),
            Err(other) => return Err(from_store(&other)),
        }
    }
    Err(Status::aborted(format!("{key} keeps changing; try again")))
}
