//! The VXLAN tunnel end point of a node, derived from what the node set says of it. Nodes
//! exchange nothing, so these functions are a wire format: they must never change.

use ipnetwork::IpNetwork;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv6Addr};

/// VXLAN network identifier unless configured.
pub const VNI: u32 = 100;
/// UDP port unless configured: VXLAN's own (RFC 7348 section 5).
pub const PORT: u16 = 4789;
/// The greatest VXLAN network identifier, of 24 bits.
pub const MAX_VNI: u32 = 0xff_ffff;
/// The alias of a VXLAN device that is ours.
pub const ALIAS: &str = "ferrule vxlan";

/// MTU of a link that is not known, in bytes: Ethernet's.
pub const ETHERNET: u32 = 1500;

/// The device's name.
pub fn name(vni: u32) -> String {
    format!("fvxlan.{vni}")
}

/// The MAC address of the end point at an underlay address: `02:56` and the four bytes of an
/// IPv4 address; `02` and the first five bytes of SHA-256 of an IPv6 address's sixteen.
pub fn mac(underlay: IpAddr) -> [u8; 6] {
    match underlay {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [0x02, 0x56, a, b, c, d]
        }
        IpAddr::V6(address) => {
            let hash = Sha256::digest(address.octets());
            [0x02, hash[0], hash[1], hash[2], hash[3], hash[4]]
        }
    }
}

/// The link-local address of a MAC address (RFC 4291 appendix A): the IPv6 next hop of an end
/// point.
pub fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let half = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, half(a ^ 2, b), half(c, 0xff), half(0xfe, d), half(e, f))
}

/// The device's addresses: the network address of the node's first pod CIDR of each family, as a
/// /32 and a /128.
pub fn addresses(pod_cidrs: &[IpNetwork]) -> Vec<IpNetwork> {
    let first = |v4: bool| pod_cidrs.iter().find(|cidr| cidr.is_ipv4() == v4);
    [first(true), first(false)].into_iter().flatten().map(|cidr| cidr.network().into()).collect()
}

/// What the outer headers cost of the underlay's MTU, in bytes: VXLAN 8, UDP 8, the inner Ethernet
/// header 14, and IPv4 20 or IPv6 40.
pub fn overhead(underlay: IpAddr) -> u32 {
    if underlay.is_ipv4() { 50 } else { 70 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Visible on the wire: other nodes compute the same.
    #[test]
    fn the_vector() {
        assert_eq!(mac([192, 0, 2, 17].into()), [0x02, 0x56, 192, 0, 2, 17]);
        let six = mac("2001:db8::17".parse().unwrap());
        assert_eq!(six, [0x02, 0x4e, 0x87, 0xc7, 0xd7, 0x3f]);
        assert_eq!(link_local([0x02, 0x56, 192, 0, 2, 17]).to_string(), "fe80::56:c0ff:fe00:211");
        let cidrs: Vec<IpNetwork> = ["fd00:1::/64", "10.1.2.0/24", "10.1.3.0/24", "fd00:2::/64"]
            .iter()
            .map(|cidr| cidr.parse().unwrap())
            .collect();
        let expected: [IpNetwork; 2] =
            ["10.1.2.0/32".parse().unwrap(), "fd00:1::/128".parse().unwrap()];
        assert_eq!(addresses(&cidrs), expected);
        assert_eq!(addresses(&[]), []);
        assert_eq!(name(MAX_VNI).len(), 15);
    }
}
