//! stub
use super::{Context, Plan};
use crate::api::Object;
use std::sync::Arc;
/// Evicts what the node's NoExecute taints drive away.
pub fn reconcile(_bound: &[Arc<Object>], _cx: &mut Context) -> Plan { Plan::default() }
