//! stub
use super::{Context, Plan};
use crate::api::Object;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
/// Manifests → Store.
pub fn reconcile(_desired: &[&Object], _stored: &[Arc<Object>], _keep_sources: &BTreeSet<String>, _tombstones: &BTreeMap<String, String>, _cx: &mut Context) -> Plan { Plan::default() }
