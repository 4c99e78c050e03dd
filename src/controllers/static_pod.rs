//! stub
use super::{Context, Plan};
use crate::api::Object;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
/// One step of a static pod. `pods` = all that the template owns.
pub fn reconcile(_template: &Pod, _pods: &[Arc<Object>], _cx: &mut Context) -> Plan { Plan::default() }
