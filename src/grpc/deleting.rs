//! Delete: an object from a manifest leaves its file (the agent then prunes it); any other is marked as being deleted, as the API server does.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tonic::Status;

use super::ApiState;
use super::applying::edit_status;
use super::filter::item;
use super::pb::{DeleteRequest, DeleteResponse};
use super::status::{from_store, not_found, parse_kind};
use crate::agent::manifest_edit::{self, Place};
use crate::api::well_known::FOREGROUND_FINALIZER;
use crate::api::{Key, Kind, Object};
use crate::store::{Op, StoreError};

/// How often a deletion is tried against others that change the object.
const TRIES: usize = 8;
/// Grace where the pod says none (core/v1 defaults).
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// Errors: NOT_FOUND, INVALID_ARGUMENT, FAILED_PRECONDITION with what to do instead.
pub async fn delete(state: &ApiState, request: DeleteRequest) -> Result<DeleteResponse, Status> {
    if request.cascade == "orphan" {
        return Err(Status::invalid_argument("cascade=orphan is not supported: nothing would own the pods that stay"));
    }
    let (key, object) = find(state, &request)?;
    let source = if key.kind == Kind::Pod { None } else { Place::of(&object) };
    let file = match source {
        Some(place) => remove_from_file(state, place, key).await?,
        None => {
            mark_deleted(state, &key, request.grace_seconds).await?;
            String::new()
        }
    };
    Ok(DeleteResponse { item: Some(item(&object)), file })
}

/// The object meant: for a Pod that is not there, the static pod's manifest of that name.
fn find(state: &ApiState, request: &DeleteRequest) -> Result<(Key, Arc<Object>), Status> {
    let kind = parse_kind(&request.kind)?;
    let namespace = if kind.namespaced() { request.namespace.as_str() } else { "" };
    let kinds = if kind == Kind::Pod { [Kind::Pod, Kind::StaticPod].as_slice() } else { &[kind][..] };
    let found = kinds.iter().find_map(|kind| {
        let key = Key::new(*kind, namespace, &request.name);
        state.store.get(&key).map(|object| (key, object))
    });
    found.ok_or_else(|| not_found(kind, &request.name))
}

async fn remove_from_file(state: &ApiState, place: Place, key: Key) -> Result<String, Status> {
    let guard = state.edits.clone().lock_owned().await;
    let root = state.paths.manifests.clone();
    let edit = tokio::task::spawn_blocking(move || {
        let _one_at_a_time = guard;
        manifest_edit::remove(&root, &place, &key).map(|()| place.file)
    });
    edit.await.map_err(|cause| Status::internal(cause.to_string()))?.map_err(|error| edit_status(&error))
}

async fn mark_deleted(state: &ApiState, key: &Key, grace: Option<i64>) -> Result<(), Status> {
    for _ in 0..TRIES {
        let Some(object) = state.store.get(key) else { return Ok(()) };
        let op = match key.kind {
            Kind::Node => return Err(Status::failed_precondition(format!("node {:?} is this host; it cannot be deleted", key.name))),
            Kind::Pod | Kind::Job | Kind::CronJob | Kind::DaemonSet | Kind::StaticPod => {
                let mut marked = (*object).clone();
                mark(&mut marked, grace, state.clock.now());
                if marked == *object {
                    return Ok(());
                }
                Op::Update(marked)
            }
            _ => Op::Delete { key: key.clone(), uid: Some(object.uid().to_owned()).filter(|uid| !uid.is_empty()) },
        };
        match state.store.commit(vec![op]).await {
            Err(StoreError::Conflict(_)) => {}
            Err(StoreError::Missing(_)) | Ok(_) => return Ok(()),
            Err(other) => return Err(from_store(&other)),
        }
    }
    Err(Status::aborted(format!("{key} keeps changing; try again")))
}

/// As apiserver's `rest.BeforeDelete`: deletionTimestamp = now + grace; a second deletion can only shorten the grace. Workloads wait
/// for their pods.
fn mark(object: &mut Object, grace: Option<i64>, now: Timestamp) {
    let own = object.as_pod().map(|p| p.spec.as_ref().and_then(|s| s.termination_grace_period_seconds).unwrap_or(DEFAULT_GRACE_SECONDS));
    let grace = own.map_or(0, |own| grace.unwrap_or(own)).max(0);
    let kind = object.kind();
    let meta = object.meta_mut();
    if meta.deletion_timestamp.is_none() || meta.deletion_grace_period_seconds.is_some_and(|earlier| grace < earlier) {
        meta.deletion_timestamp = Some(Time(now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX)));
        meta.deletion_grace_period_seconds = Some(grace);
    }
    let finalizers = meta.finalizers.get_or_insert_default();
    if kind != Kind::Pod && !finalizers.iter().any(|f| f == FOREGROUND_FINALIZER) {
        finalizers.push(FOREGROUND_FINALIZER.to_owned());
    }
    if finalizers.is_empty() {
        meta.finalizers = None;
    }
}
