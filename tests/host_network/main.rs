//! The network driver on this machine: real namespaces, the real CNI plugins of /usr/lib/cni, and plugins that misbehave.
//!
//! Needs root, iproute2, nsenter, busybox and containernetworking-plugins; fails where they are missing. Every test has bridge,
//! subnet and directories of its own and asserts that it leaves no mount, link, address or iptables rule.
#![allow(clippy::unwrap_used, missing_docs)]

mod bridge;
mod lab;
mod namespaces;
mod plugins;
mod real;
mod upkeep;
