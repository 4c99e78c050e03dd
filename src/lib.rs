//! minik8s: DaemonSet, Job and CronJob manifests run on one host through containerd, by Kubernetes' rules.
//!
//! ```text
//! manifests ─▶ api (decode, default, validate) ─▶ Store ─▶ controllers (pure: objects + Node + now → Plan)
//!    Plan ─▶ one Store transaction ─▶ pod workers (compute_pod_actions → effects) ─▶ Runtime/Network/Volumes
//!    exits, OOMs, relists ─▶ PodStatus ─▶ Store ─▶ controllers …
//! ```
//!
//! # Layers (kept true by `tests/tidy.rs`)
//!
//! | layer | rooms | may use |
//! |---|---|---|
//! | 0 | `api` `clock` `cores` | nothing of ours |
//! | 1 | `admission` `config` `pod` `oci` `controllers` `simulation` | layer 0, each other downwards, and layer 2's plain types as values; **pure**: no async, tokio, tracing, file or clock |
//! | 2 | `store` `runtime` `network` `volumes` `logs` `host` | layers 0–1, never `agent` |
//! | 3 | `agent` | layers 0–2 |
//! | 4 | `grpc` `metrics` `cli` `telemetry` | layers 0–3 |
//! | 5 | `main` `daemon` | everything |
//!
//! # Invariants
//!
//! 1. Pure rooms stay pure: decisions are functions of (desired, observed, now) that return comparable plans.
//! 2. One task owns one Pod; nobody else touches its containers.
//! 3. Code that applies a plan decides nothing.
//! 4. Generated names and uids derive from owner, ordinal, instant and a stored seed: a plan can be replayed.
//! 5. Only `grpc` and `cli` know the protobuf of the agent's API; only `runtime` knows containerd.
//! 6. Durable before acted on: an intent is committed to the Store before the effect it announces.

pub mod admission;
pub mod agent;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod controllers;
mod cores;
pub mod grpc;
pub mod host;
pub mod logs;
pub mod metrics;
pub mod network;
pub mod oci;
pub mod pod;
pub mod runtime;
pub mod simulation;
pub mod store;
pub mod telemetry;
pub mod volumes;
