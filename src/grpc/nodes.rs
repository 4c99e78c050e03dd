//! Edits of this node (cordon, taint, label, annotate) and evictions of its pods.
//!
//! Guarantees: an edit is durable with the Node that has it, in one transaction; what an edit means is `agent::node_edits`' to say.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, Taint};
use tonic::Status;

use super::ApiState;
use super::filter::item;
use super::pb::{EditNodeRequest, EditNodeResponse, EvictRequest, EvictResponse, ValueEdit};
use super::status::{from_store, not_found};
use crate::agent::node_edits::{self, Memory, Wish};
use crate::agent::{commit, events, node};
use crate::api::fault::Severity;
use crate::api::{Key, Kind, Object, validation};
use crate::controllers::Plan;
use crate::store::{Op, StoreError};

/// How often it is tried against others that change the same object.
const TRIES: usize = 8;
/// The most that one request changes: more is no command line.
const MOST_EDITS: usize = 1000;

/// Errors: NOT_FOUND, INVALID_ARGUMENT with kubectl's words.
pub async fn edit(state: &ApiState, request: EditNodeRequest) -> Result<EditNodeResponse, Status> {
    if request.labels.len() + request.annotations.len() + request.taints.len() > MOST_EDITS {
        return Err(Status::invalid_argument(format!("more than {MOST_EDITS} changes at once")));
    }
    let key = Key::new(Kind::Node, "", &*request.name);
    let dry_run = request.dry_run;
    let wish = wish(request)?;
    for _ in 0..TRIES {
        let stored = state.store.get(&key).ok_or_else(|| not_found(Kind::Node, &key.name))?;
        let before = stored.as_node().ok_or_else(|| Status::internal("a Node's key names something else"))?;
        let (after, ops) = operations(state, before, &wish)?;
        let answer = EditNodeResponse { before: Some(item(&stored)), after: Some(item(&after.into())) };
        if dry_run || ops.is_empty() {
            return Ok(answer);
        }
        match state.store.commit(ops).await {
            Ok(_) => return Ok(answer),
            Err(StoreError::Conflict(_)) => {}
            Err(other) => return Err(from_store(&other)),
        }
    }
    Err(Status::aborted(format!("{key} keeps changing; try again")))
}

fn wish(request: EditNodeRequest) -> Result<Wish, Status> {
    if !both(&request.labels).is_empty() {
        return Err(Status::invalid_argument("can not both modify and remove a label in the same command"));
    }
    let annotations = both(&request.annotations);
    if !annotations.is_empty() {
        let which = annotations.join(", ");
        return Err(Status::invalid_argument(format!(
            "can not both modify and remove the following annotation(s) in the same command: {which}"
        )));
    }
    // Of two values for one key the last counts, as kubectl has it.
    let values = |edits: Vec<ValueEdit>| edits.into_iter().map(|edit| (edit.key, edit.value)).collect();
    let mut wish = Wish {
        unschedulable: request.unschedulable,
        labels: values(request.labels),
        annotations: values(request.annotations),
        overwrite: request.overwrite,
        ..Wish::default()
    };
    for edit in request.taints {
        if edit.remove {
            wish.untaint.push((edit.key, edit.effect));
        } else if ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&edit.effect.as_str()) {
            let value = Some(edit.value).filter(|value| !value.is_empty());
            wish.taint.push(Taint { key: edit.key, value, effect: edit.effect, time_added: None });
        } else {
            return Err(Status::invalid_argument(format!("invalid taint effect: {}, unsupported taint effect", edit.effect)));
        }
    }
    Ok(wish)
}

/// The keys that are to be set and taken away.
fn both(edits: &[ValueEdit]) -> Vec<&str> {
    let set: BTreeSet<&str> = edits.iter().filter(|edit| edit.value.is_some()).map(|edit| edit.key.as_str()).collect();
    edits.iter().filter(|edit| edit.value.is_none() && set.contains(edit.key.as_str())).map(|edit| edit.key.as_str()).collect()
}

/// The node with the wish done, and what makes it so; nothing where it is so already.
fn operations(state: &ApiState, before: &Node, wish: &Wish) -> Result<(Node, Vec<Op>), Status> {
    let (store, now) = (&*state.store, state.clock.now());
    let record = store.record(node_edits::RECORD);
    // A record that cannot be read is as good as none; the reconcile loop says so.
    let memory = Memory::of(record.as_deref(), Some(before)).or_else(|_| Memory::of(None, Some(before))).map_err(Status::internal)?;
    let name = before.metadata.name.as_deref().unwrap_or_default();
    let memory = memory.with(wish, name).map_err(Status::invalid_argument)?;
    let after = node::with(before.clone(), &memory.effective(), now);
    permitted(name, &after)?;
    let value = memory.record();
    if after == *before && value == record {
        return Ok((after, Vec::new()));
    }
    let told = events::record(store, &node::event(Some(before), &after), now);
    let ops = [Op::Update(after.clone().into()), Op::Record { name: node_edits::RECORD.to_owned(), value }];
    Ok((after, ops.into_iter().chain(told).collect()))
}

/// Errors: what Kubernetes' validation finds wrong with the node as it would be.
fn permitted(name: &str, after: &Node) -> Result<(), Status> {
    let faults = validation::validate(&after.clone().into());
    let errors: Vec<String> =
        faults.iter().filter(|f| f.severity == Severity::Error).map(|f| format!("{}: {}", f.field, f.message)).collect();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid_argument(format!("Node \"{name}\" is invalid: {}", errors.join(", ")))),
    }
}

/// As the API server's eviction does it (pkg/registry/core/pod/storage/eviction.go): the condition DisruptionTarget, then a graceful deletion. Errors:
/// NOT_FOUND, also for another incarnation.
pub async fn evict(state: &ApiState, request: EvictRequest) -> Result<EvictResponse, Status> {
    let key = Key::new(Kind::Pod, &*request.namespace, &*request.name);
    for _ in 0..TRIES {
        let same = |object: &std::sync::Arc<Object>| request.uid.is_empty() || object.uid() == request.uid;
        let object = state.store.get(&key).filter(same).ok_or_else(|| not_found(Kind::Pod, &key.name))?;
        let mut deletion = commit::requested(&object, request.grace_seconds);
        deletion.disruption = Some(("EvictionByEvictionAPI".to_owned(), "Eviction API: evicting".to_owned()));
        let ops = commit::operations(&*state.store, Plan { delete: vec![deletion], ..Plan::default() }, state.clock.now());
        if ops.is_empty() {
            return Ok(EvictResponse {});
        }
        match state.store.commit(ops).await {
            Ok(_) => return Ok(EvictResponse {}),
            Err(StoreError::Conflict(_)) => {}
            Err(other) => return Err(from_store(&other)),
        }
    }
    Err(Status::aborted(format!("{key} keeps changing; try again")))
}
