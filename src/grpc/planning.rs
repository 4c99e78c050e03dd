//! Plan: what manifests would do here. What that is, `controllers::forecast` says of what the agent has.

use std::sync::Arc;

use jiff::tz::TimeZone;
use k8s_openapi::api::core::v1::Node;
use tonic::Status;

use super::ApiState;
use super::applying::fault;
use super::pb::{PlanRequest, PlanResponse, PlannedWorkload};
use crate::agent::{reconcile, wishes};
use crate::api::fault::Severity;
use crate::api::manifest::decode;
use crate::api::names::Names;
use crate::api::{Key, Kind, Object};
use crate::controllers::Context;
use crate::controllers::forecast::{Known, Row, foresee};
use crate::controllers::sync::sourced;

/// Errors: UNAVAILABLE in so far as there is no Node yet.
pub fn plan(state: &ApiState, request: PlanRequest) -> Result<PlanResponse, Status> {
    let (mut objects, mut faults) = (Vec::new(), Vec::new());
    for file in &request.files {
        let decoded = decode(&file.name, &file.content);
        faults.extend(decoded.faults);
        objects.extend(decoded.documents.into_iter().filter_map(|d| Some(sourced(d.object?, &file.name, d.index))));
    }
    let shown = faults.iter().map(fault).collect();
    if faults.iter().any(|fault| fault.severity == Severity::Error) {
        return Ok(PlanResponse { workloads: Vec::new(), faults: shown });
    }
    let (store, node) = (&*state.store, node(state)?);
    let now = state.clock.now();
    let mut cx = Context { node: &node, now, names: Names::new(0, "plan", now), zone: TimeZone::system() };
    let known = Known {
        stored: &|key| store.get(key),
        owned: &|uid| store.owned(uid),
        tombstones: &wishes::tombstones(store),
        bound: &reconcile::bound_pods(store),
    };
    let workloads = foresee(&objects, &known, &mut cx).into_iter().map(planned).collect();
    Ok(PlanResponse { workloads, faults: shown })
}

fn node(state: &ApiState) -> Result<Node, Status> {
    let stored: Option<Arc<Object>> = state.store.get(&Key::new(Kind::Node, "", &*state.node_name));
    let node = stored.as_deref().and_then(Object::as_node).cloned();
    node.ok_or_else(|| Status::failed_precondition("the agent has no Node yet; try again"))
}

fn planned(row: Row) -> PlannedWorkload {
    let change = row.change.unwrap_or_default();
    PlannedWorkload {
        kind: row.key.kind.as_str().to_owned(),
        namespace: row.key.namespace,
        name: row.key.name,
        should_run: row.verdict.should_run,
        should_continue: row.verdict.should_continue,
        reasons: row.verdict.reasons,
        change: change.outcome,
        why: change.why,
        started: change.started,
        stopped: change.stopped,
    }
}
