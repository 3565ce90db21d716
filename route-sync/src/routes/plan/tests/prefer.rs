//! The family that tunnels go over.

use super::*;

fn six() -> Config {
    let vxlan = Vxlan { prefer_ipv6: true, ..config(Mode::Vxlan).vxlan };
    Config { vxlan, ..config(Mode::Vxlan) }
}

#[test]
fn ipv6_is_used_where_every_node_has_it() {
    let all = "own 192.0.2.1,2001:db8::1 10.1.1.0/24
        far 203.0.113.3,2001:db8:1::3 10.1.3.0/24,fd00:3::/64
        six 2001:db8:1::6 10.1.6.0/24";
    let over = desired(&six(), &nodes(all), &facts(), &Learned::new());
    let vtep = vtep_of(&over).unwrap();
    assert_eq!((vtep.local, vtep.mac.0), (ip("2001:db8::1"), vtep::mac(ip("2001:db8::1"))));
    assert_eq!((over.mtu, over.problems.len()), (1430, 0));
    let ends: BTreeSet<IpAddr> = over.fdb.into_values().collect();
    assert_eq!(ends, [ip("2001:db8:1::3"), ip("2001:db8:1::6")].into());
    // By default each node's own first address counts.
    let plain = desired(&config(Mode::Vxlan), &nodes(all), &facts(), &Learned::new());
    assert_eq!((vtep_of(&plain).unwrap().local, plain.mtu), (ip("192.0.2.1"), 1450));
}

/// A device carries one family, so all take the other one.
#[test]
fn a_node_without_ipv6_is_named_and_all_use_ipv4() {
    let all = "own 192.0.2.1,2001:db8::1 10.1.1.0/24
        far 203.0.113.3,2001:db8:1::3 10.1.3.0/24
        four 203.0.113.4 10.1.4.0/24";
    let over = desired(&six(), &nodes(all), &facts(), &Learned::new());
    assert_eq!((vtep_of(&over).unwrap().local, over.mtu), (ip("192.0.2.1"), 1450));
    let ends: BTreeSet<IpAddr> = over.fdb.into_values().collect();
    assert_eq!(ends, [ip("203.0.113.3"), ip("203.0.113.4")].into());
    let (what, why) = over.problems.first().unwrap();
    assert!(what == "vxlan prefer" && why.contains("node four has no IPv6 address"), "{why}");
    // Without a tunnel it is no matter.
    let direct = Config { mode: Mode::Direct, ..six() };
    let plain = desired(&direct, &nodes(all), &facts(), &Learned::new());
    assert!(plain.problems.is_empty(), "{:?}", plain.problems);
}

/// The other node, which knows this one by no address on their link, sends through the tunnel.
#[test]
fn a_family_is_routed_directly_in_both_directions_or_neither() {
    let paths = |own: &str| {
        let lines = format!(
            "own {own} 10.1.1.0/24,fd00:1::/64
            near 192.0.2.2,2001:db8::2 10.1.2.0/24,fd00:2::/64"
        );
        let desired = desired(&config(Mode::Auto), &nodes(&lines), &facts(), &Learned::new());
        let of = |of: &str| desired.path_to(cidr(of)).unwrap().path;
        [of("10.1.2.0/24"), of("fd00:2::/64")]
    };
    assert_eq!(paths("192.0.2.1,2001:db8::1"), [Path::Direct, Path::Direct]);
    assert_eq!(paths("192.0.2.1"), [Path::Direct, Path::Vxlan]);
    assert_eq!(paths("198.51.100.1"), [Path::Vxlan, Path::Vxlan], "it is of another link");
}
