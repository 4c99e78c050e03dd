//! stub
use super::{Object, fault::FieldFault};
/// All.
pub fn check(_object: &Object) -> Vec<FieldFault> { Vec::new() }
