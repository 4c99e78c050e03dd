//! Kubernetes' objects as this agent uses them: kinds, keys, decoding, defaults and validation.
//!
//! The types are k8s-openapi's, so what is stored and shown is Kubernetes' own shape. Everything here is pure: text and
//! objects in, objects and [`fault::Fault`]s out.

mod decode;
pub mod defaults;
pub mod devices;
pub mod fault;
pub mod files;
pub mod manifest;
pub mod names;
pub mod object;
pub mod quantity;
pub mod report;
pub mod schedule;
pub mod selector;
pub mod suggest;
pub mod support;
pub mod user_namespace;
pub mod validation;
pub mod well_known;
pub mod yaml;

pub use object::{Key, Kind, Object};
