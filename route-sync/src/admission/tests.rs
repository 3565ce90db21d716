use super::*;
use crate::facts::Link;

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
