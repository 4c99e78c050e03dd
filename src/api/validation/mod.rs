//! stub
use super::{Object, fault::FieldFault};
/// All faults.
pub fn validate(_object: &Object) -> Vec<FieldFault> { Vec::new() }
