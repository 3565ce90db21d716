//! Prefixes, whatever they are of: which ranges no pod CIDR can be, and how two are related.

use ipnetwork::IpNetwork;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges that are never a pod's (RFC 6890). Documentation ranges are not among them.
const MARTIANS: [(IpAddr, u8, &str); 10] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8, "\"this network\""),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8, "loopback addresses"),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16, "link-local addresses"),
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4, "multicast"),
    (IpAddr::V4(Ipv4Addr::new(240, 0, 0, 0)), 4, "reserved addresses"),
    (
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        96,
        "the unspecified, loopback and IPv4-compatible addresses",
    ),
    (IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0)), 96, "IPv4-mapped addresses"),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10, "link-local addresses"),
    (IpAddr::V6(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0)), 10, "site-local addresses"),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8, "multicast"),
];

/// The widest prefix that one node's pods may have: 10.0.0.0/8, or a whole allocation of IPv6.
const WIDEST: [u8; 2] = [8, 16];

/// Why no node's pods can have a CIDR, seen from any node.
pub fn martian(cidr: IpNetwork) -> Option<String> {
    let [four, six] = WIDEST;
    let widest = if cidr.is_ipv4() { four } else { six };
    if cidr.prefix() < widest {
        return Some(format!("it is no range of pod addresses: it is wider than /{widest}"));
    }
    let met = MARTIANS.iter().find(|(first, prefix, _)| {
        IpNetwork::new(*first, *prefix).is_ok_and(|range| overlap(range, cidr))
    });
    met.map(|(first, prefix, what)| {
        format!("it is no range of pod addresses: {first}/{prefix} are {what}")
    })
}

/// Why a CIDR is outside of `bounds`, where there are any.
pub fn outside(cidr: IpNetwork, bounds: &[IpNetwork]) -> Option<String> {
    let within = |bound: &IpNetwork| bound.prefix() <= cidr.prefix() && overlap(*bound, cidr);
    (!bounds.is_empty() && !bounds.iter().any(within)).then(|| {
        "it is outside of cluster-cidrs; correct the node's CIDR, or add its range to cluster-cidrs"
            .to_owned()
    })
}

/// The prefix length of one address.
pub fn single(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The last address of a CIDR.
pub fn last_address(cidr: IpNetwork) -> IpAddr {
    match cidr {
        IpNetwork::V4(cidr) => cidr.broadcast().into(),
        IpNetwork::V6(cidr) => cidr.broadcast().into(),
    }
}

/// Whether two CIDRs share an address.
pub fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    a.contains(b.network()) || b.contains(a.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    #[test]
    fn martians_and_what_is_too_wide_are_refused() {
        for text in [
            "0.0.0.0/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "0.1.0.0/16",
            "127.0.0.0/24",
            "127.255.0.0/16",
            "169.254.1.0/24",
            "169.0.0.0/8",
            "224.1.0.0/16",
            "239.0.0.0/8",
            "240.0.0.0/8",
            "255.255.255.255/32",
            "::/0",
            "::/1",
            "8000::/1",
            "2000::/3",
            "fc00::/7",
            "::/128",
            "::1/128",
            "::/64",
            "::ffff:10.1.0.0/112",
            "::ffff:0:0/96",
            "::10.1.0.0/112",
            "fe80::/64",
            "febf::/16",
            "fec0::/16",
            "ff02::/16",
        ] {
            assert!(martian(cidr(text)).is_some(), "{text}");
        }
        for text in [
            "10.0.0.0/8",
            "100.64.0.0/10",
            "192.0.2.0/24",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "198.18.0.0/15",
            "169.253.0.0/16",
            "223.255.0.0/16",
            "fd00:1::/64",
            "2001:db8::/32",
            "64:ff9b:1::/48",
            "::1:0:0:0/96",
        ] {
            assert_eq!(martian(cidr(text)), None, "{text}");
        }
    }

    #[test]
    fn nothing_is_outside_of_the_clusters_cidrs() {
        let bounds = [cidr("10.1.0.0/16"), cidr("fd00::/48")];
        for inside in ["10.1.0.0/16", "10.1.2.0/24", "fd00:0:0:5::/64"] {
            assert_eq!(outside(cidr(inside), &bounds), None, "{inside}");
        }
        for (text, bounds) in
            [("10.2.0.0/24", &bounds[..]), ("10.0.0.0/8", &bounds), ("fd01::/64", &bounds[..1])]
        {
            assert!(outside(cidr(text), bounds).is_some(), "{text}");
        }
        assert_eq!(outside(cidr("10.2.0.0/24"), &[]), None);
    }
}
