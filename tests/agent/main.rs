//! The built agent on a real containerd: manifests in, containers, statuses and exit codes out.
//!
//! MUST use a private containerd (`tests/lab`), fail where it cannot run, and leave nothing behind. One module per subject.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../lab/mod.rs"]
mod lab;

#[allow(dead_code)]
#[path = "../containerd/registry.rs"]
mod registry;

mod bad_input;
mod bad_pods;
mod by_hand;
mod chaos;
mod config;
mod cronjob;
mod daemonset;
mod devices;
mod directory;
mod drain;
mod exec;
mod forward;
mod hanging;
mod image_volumes;
mod images;
mod job;
mod journal;
mod monitoring;
mod network;
mod objects;
mod pod;
mod policies;
mod pressure;
mod probes;
mod restart;
mod restart_all;
mod rig;
mod runtime_down;
mod security;
mod shutdown;
mod sidecars;
mod stdin;
mod user_namespaces;
mod volumes;
