use super::*;
use crate::facts::Link;

fn cidr(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

#[test]
fn what_this_node_needs_to_reach_is_refused() {
    let link = |name: &str, held: &[&str]| Link {
        name: name.to_owned(),
        addresses: held.iter().map(|held| cidr(held)).collect(),
        ..Link::default()
    };
    let links = [
        (2, link("eth0", &["10.244.255.11/16", "2001:db8::1/64"])),
        (3, link("cni0", &["10.1.1.1/24", "fd00:1::1/64"])),
        (4, link("lo", &["203.0.113.7/32"])),
    ];
    let gateways = ["172.31.1.1", "fd00:9::1"].map(|gateway| gateway.parse().unwrap());
    let facts = Facts { links: links.into(), gateways: gateways.into(), ..Facts::default() };
    let reserved = Reserved::of(&facts);
    for (text, part) in [
        ("10.244.7.0/24", "10.244.0.0/16, a network of this node on eth0"),
        ("10.0.0.0/8", "10.1.1.1, an address of this node on cni0"),
        ("10.244.255.11/32", "10.244.255.11, an address of this node on eth0"),
        ("10.1.1.128/25", "10.1.1.0/24, a network of this node on cni0"),
        ("10.1.1.0/24", "10.1.1.1, an address of this node on cni0"),
        ("fd00:1::/64", "fd00:1::1, an address of this node on cni0"),
        ("2001:db8:0:0:8000::/65", "2001:db8::/64, a network of this node on eth0"),
        ("203.0.113.0/24", "203.0.113.7, an address of this node on lo"),
        ("172.31.0.0/16", "172.31.1.1, a gateway of this node's routes"),
        ("fd00:9::/64", "fd00:9::1, a gateway"),
    ] {
        let refusal = reserved.fault(cidr(text)).unwrap_or_else(|| panic!("{text}"));
        assert!(refusal.reason.contains(part) && refusal.conflict, "{text}: {refusal:?}");
    }
    let imports = Reserved::of_imports(
        &facts,
        &[cidr("10.1.1.0/24")],
        ["198.51.100.9", "10.1.1.9"].map(|peer| peer.parse().unwrap()).into_iter(),
    );
    for (text, part) in [
        (
            "198.51.100.0/24",
            "it covers 198.51.100.9, the address of a BGP peer; announce it no more",
        ),
        ("10.244.0.0/16", "an address of this node on eth0; remove that address if"),
        ("fd00:1::/64", "fd00:1::1, an address of this node on cni0"),
        ("10.244.7.0/24", "10.244.0.0/16, a network of this node on eth0; announce it no more"),
        ("fd00:9::/64", "fd00:9::1, a gateway of this node's routes; announce it no more"),
        ("128.0.0.0/1", "it is wider than /8; announce it no more at the peer, or narrow import-"),
    ] {
        let refusal = imports.fault_of_import(cidr(text)).unwrap_or_else(|| panic!("{text}"));
        assert!(refusal.contains(part), "{text}: {refusal}");
    }
    for text in ["10.1.0.0/16", "10.1.1.0/24", "198.51.100.8/32"] {
        assert_eq!(imports.fault_of_import(cidr(text)), None, "{text}");
    }
    for text in ["10.1.2.0/24", "fd00:2::/64", "172.30.0.0/16", "203.0.113.8/32"] {
        assert_eq!(reserved.fault(cidr(text)), None, "{text}");
    }
}
