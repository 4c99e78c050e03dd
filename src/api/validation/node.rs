//! Nodes: names, labels, taints, pod networks (ValidateNode).

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, NodeSpec};

use super::field::{Faults, Path, shown};
use super::{annotations, format, metadata, scheduling};
use crate::api::quantity;

/// A Node from a file, or as a command would make it.
pub(super) fn node(node: &Node, faults: &mut Faults) {
    metadata::object_meta(&node.metadata, false, faults);
    annotations::of_node(&node.metadata, faults);
    let none = NodeSpec::default();
    let spec = node.spec.as_ref().unwrap_or(&none);
    let path = Path::new("spec");
    scheduling::taints(spec.taints.as_deref().unwrap_or_default(), &path.child("taints"), faults);
    quantities(node, faults);
    // The older field counts where the two differ (Convert_v1_NodeSpec_To_core_NodeSpec).
    let cidrs = spec.pod_cidrs.as_deref().unwrap_or_default();
    match spec.pod_cidr.as_deref().filter(|one| !one.is_empty() && cidrs.first().map(String::as_str) != Some(one)) {
        Some(one) => faults.invalid_each(&path.child("podCIDR"), one, format::cidr(one)),
        None => networks(cidrs, &path.child("podCIDRs"), faults),
    }
}

/// ValidateNodeResources: nothing negative, pieces in whole numbers.
fn quantities(node: &Node, faults: &mut Faults) {
    let Some(status) = &node.status else { return };
    for (name, list) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
        for (resource, text) in list.iter().flatten() {
            let path = Path::new("status").child(name).child(resource);
            match quantity::parse(&text.0) {
                Ok(quantity) if quantity.is_negative() => {
                    faults.invalid(&path, quantity.to_string(), "must be greater than or equal to 0");
                }
                Ok(quantity) if resource == "pods" && !quantity.is_integer() => {
                    faults.invalid(&path, quantity.to_string(), "must be an integer");
                }
                Ok(_) => {}
                Err(error) => faults.invalid(&path, text.0.as_str(), &error.to_string()),
            }
        }
    }
}

/// At most one network of each family.
fn networks(cidrs: &[String], path: &Path, faults: &mut Faults) {
    for (i, cidr) in cidrs.iter().enumerate() {
        faults.invalid_each(&path.index(i), cidr, format::cidr(cidr));
    }
    let four = cidrs.iter().filter_map(|c| c.split_once('/')?.0.parse::<IpAddr>().ok()).filter(IpAddr::is_ipv4).count();
    if cidrs.len() > 2 || (cidrs.len() == 2 && four != 1) {
        faults.invalid(path, shown(&cidrs), "may specify no more than one CIDR for each IP family");
    }
    for (i, cidr) in cidrs.iter().enumerate() {
        if cidrs[..i].contains(cidr) {
            faults.duplicate(&path.index(i), cidr.as_str());
        }
    }
}
