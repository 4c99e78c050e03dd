//! The driver, the images and the logs against a real containerd, one module per feature.
//!
//! These MUST run a daemon of their own (`lab`) and MUST fail, not skip, where they cannot. They touch nothing outside /tmp but cgroups
//! below the lab's own name, and leave nothing behind.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../lab/mod.rs"]
mod lab;

mod bad_images;
mod bare;
mod collecting;
mod containers;
mod docker_registry;
mod exec_once;
mod images;
mod imports;
mod leftovers;
mod logging;
mod logins;
mod mirrors;
mod oci;
mod pulls;
mod registry;
mod restarts;
mod speed;
mod stage;
