//! stub
use super::{Context, Plan};
use crate::api::Object;
use k8s_openapi::api::apps::v1::DaemonSet;
use std::sync::Arc;
/// One step of a DaemonSet on this node. `owned` = its pods and ControllerRevisions.
pub fn reconcile(_ds: &DaemonSet, _owned: &[Arc<Object>], _cx: &mut Context) -> Plan { Plan::default() }
