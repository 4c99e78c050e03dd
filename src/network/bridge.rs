//! The network where no CNI configuration exists: a bridge with host-local addresses, as a conflist like any other.
//!
//! What goes into the list depends on what the host can do ([`Abilities`], probed once): published ports need iptables, and a host whose FORWARD policy is DROP (Docker sets it) needs the `firewall` plugin to let pods through.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::conflist::ConfList;
use super::{NetworkError, plugin};

/// Pods' addresses are taken from one /24 of this /16 (flannel's and kubeadm's customary pod network).
const POOL: [u8; 2] = [10, 244];

/// What the host's packet filter can do for the built-in bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    /// MASQUERADE works: pods reach beyond the host.
    pub masquerade: bool,
    /// The FORWARD policy drops, so that pods' traffic must be accepted expressly.
    pub forward_drops: bool,
}

/// The built-in network's list. Masquerading is not the plugin's (`masquerade` says why). `publishes` adds `portmap`, which costs an exec or more and so is left out where no port asks for it.
pub(super) fn conflist(bridge: &str, subnet: &str, ipam_dir: &Path, can: Abilities, publishes: bool) -> Result<ConfList, NetworkError> {
    let mut plugins = vec![json!({
        "type": "bridge", "bridge": bridge, "isGateway": true, "ipMasq": false, "hairpinMode": true,
        "ipam": {
            "type": "host-local", "dataDir": ipam_dir, "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}],
        },
    })];
    if can.forward_drops {
        plugins.push(json!({"type": "firewall"}));
    }
    if publishes {
        plugins.push(json!({"type": "portmap", "capabilities": {"portMappings": true}}));
    }
    // portmap 1.1.1 looks for IPv6 rules that a pod without IPv6 never had: its CHECK would always fail.
    let list = json!({"cniVersion": "1.0.0", "name": bridge, "disableCheck": publishes, "plugins": plugins});
    let path = Path::new("(built-in bridge)");
    match list {
        Value::Object(list) => ConfList::from_value(path, &list),
        _ => Err(super::conflist::unusable(path, "no object")),
    }
}

/// The plugins the built-in network needs and this host lacks.
pub(super) fn missing_plugins(dirs: &[PathBuf], can: Abilities) -> Vec<&'static str> {
    let firewall = can.forward_drops.then_some("firewall");
    let needed = ["bridge", "host-local", "portmap"].into_iter().chain(firewall);
    needed.filter(|name| plugin::find(name, dirs).is_err()).collect()
}

/// A /24 for this host's bridge: the one it has already, else the first from `seed` on that clashes with no route.
/// `routes` is `/proc/net/route`.
pub(super) fn choose_subnet(bridge: &str, seed: u8, routes: &str) -> String {
    let mut taken = BTreeSet::new();
    for (interface, network, mask) in routes.lines().skip(1).filter_map(route) {
        let in_pool = network.octets()[..2] == POOL;
        if interface == bridge && in_pool && mask == u32::from(Ipv4Addr::new(255, 255, 255, 0)) {
            return format!("{network}/24");
        }
        taken.extend((0..=u8::MAX).filter(|third| mask != 0 && overlaps(subnet(*third), network, mask)));
    }
    let third = (0..=u8::MAX).map(|step| seed.wrapping_add(step)).find(|third| !taken.contains(third));
    format!("{}/24", subnet(third.unwrap_or(seed)))
}

fn subnet(third: u8) -> Ipv4Addr {
    Ipv4Addr::new(POOL[0], POOL[1], third, 0)
}

fn overlaps(slash24: Ipv4Addr, network: Ipv4Addr, mask: u32) -> bool {
    let wider = mask & u32::from(Ipv4Addr::new(255, 255, 255, 0));
    u32::from(slash24) & wider == u32::from(network) & wider
}

/// Interface, destination and mask of one line of `/proc/net/route` (hexadecimal, in the host's byte order).
fn route(line: &str) -> Option<(&str, Ipv4Addr, u32)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |text: &str| u32::from_str_radix(text, 16).ok().map(|n| Ipv4Addr::from(n.to_ne_bytes()));
    Some((*fields.first()?, address(fields.get(1)?)?, u32::from(address(fields.get(7)?)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn routes(lines: &[(&str, Ipv4Addr, Ipv4Addr)]) -> String {
        let hex = |a: Ipv4Addr| format!("{:08X}", u32::from_ne_bytes(a.octets()));
        let line = |(i, n, m): &(&str, Ipv4Addr, Ipv4Addr)| format!("{i}\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0\n", hex(*n), hex(*m));
        HEADER.to_owned() + &lines.iter().map(line).collect::<String>()
    }

    #[test]
    fn a_subnet_clashes_with_no_route_and_is_kept() {
        let ip = Ipv4Addr::new;
        let default = ("eth0", ip(0, 0, 0, 0), ip(0, 0, 0, 0));
        assert_eq!(choose_subnet("mk8s0", 7, &routes(&[default])), "10.244.7.0/24");
        let taken = ("flannel.1", ip(10, 244, 7, 0), ip(255, 255, 255, 0));
        assert_eq!(choose_subnet("mk8s0", 7, &routes(&[default, taken])), "10.244.8.0/24");
        let own = ("mk8s0", ip(10, 244, 99, 0), ip(255, 255, 255, 0));
        assert_eq!(choose_subnet("mk8s0", 7, &routes(&[default, taken, own])), "10.244.99.0/24");
        let wide = ("wg0", ip(10, 244, 0, 0), ip(255, 255, 128, 0));
        assert_eq!(choose_subnet("mk8s0", 7, &routes(&[wide])), "10.244.128.0/24");
        assert_eq!(choose_subnet("mk8s0", 255, &routes(&[("a", ip(10, 244, 255, 4), ip(255, 255, 255, 252))])), "10.244.0.0/24");
    }

    #[test]
    fn odd_route_files_do_no_harm() {
        for text in ["", "x", "Iface\nzz", "h\neth0 ZZ 00 0 0 0 0 00\n"] {
            assert_eq!(choose_subnet("mk8s0", 3, text), "10.244.3.0/24");
        }
    }

    #[test]
    fn plugins_are_only_those_needed() {
        let types = |can, publishes| {
            let list = conflist("mk8s0", "10.244.1.0/24", Path::new("/run/x"), can, publishes).unwrap();
            list.plugins.iter().map(|p| p["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(types(Abilities::default(), false), ["bridge"]);
        assert_eq!(types(Abilities { masquerade: true, forward_drops: true }, true), ["bridge", "firewall", "portmap"]);
    }
}
