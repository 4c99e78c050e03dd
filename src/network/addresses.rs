//! The host's own addresses: what a pod with `hostNetwork` has, and `status.hostIPs`.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// The source address of the default route of each family, IPv4 first; without one the first address of a link that is up;
/// without that, loopback. Nothing is sent.
pub(super) fn host_ips() -> Vec<IpAddr> {
    // TEST-NET-1 and the documentation prefix: routed by the default route only.
    let routed = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let mut found: Vec<IpAddr> = routed.iter().filter_map(|(from, to)| source_address(from, to)).filter(usable).collect();
    if found.is_empty() {
        found.extend(first_of_a_link());
    }
    if found.is_empty() {
        found.push(IpAddr::from([127, 0, 0, 1]));
    }
    found
}

/// Which address the kernel would send from; connecting a UDP socket only looks up the route.
fn source_address(from: &str, to: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from.parse::<SocketAddr>().ok()?).ok()?;
    socket.connect(to.parse::<SocketAddr>().ok()?).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn usable(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_loopback() || link_local)
}

fn first_of_a_link() -> Option<IpAddr> {
    let up = getifaddrs().ok()?.filter(|a| a.flags.contains(InterfaceFlags::IFF_UP));
    let addresses = up.filter_map(|a| {
        let address = a.address?;
        let v4 = address.as_sockaddr_in().map(|s| IpAddr::V4(s.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|s| IpAddr::V6(s.ip())))
    });
    let mut usable: Vec<IpAddr> = addresses.filter(usable).collect();
    usable.sort_by_key(IpAddr::is_ipv6);
    usable.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_addresses_are_not_the_host_s() {
        for bad in ["127.0.0.1", "169.254.1.1", "0.0.0.0", "::1", "fe80::1"] {
            assert!(!usable(&bad.parse().unwrap()), "{bad}");
        }
        assert!(usable(&"10.0.0.4".parse().unwrap()));
    }
}
