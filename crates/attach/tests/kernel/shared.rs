//! What a plan shares with the node and its other pods.

use crate::check::{BRIDGE, bridge, gateway};
use crate::common::{in_netns, set, sh};
use attach::{Bridge, Error, Family, Item, Kernel};

fn apply(items: &[Item]) -> attach::Result<()> {
    Kernel::open(None).unwrap().apply(items, &mut Vec::new())
}

fn conflict(done: attach::Result<()>) -> String {
    match done {
        Err(Error::Conflict(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// The bridge's addresses as they stand.
fn addresses() -> String {
    sh("ip -br addr show br0 | awk '{$1 = $2 = \"\"; print}'").trim().to_owned()
}

fn sysctl(key: &str) -> String {
    sh(&format!("cat /proc/sys/{key}")).trim_end().to_owned()
}

#[test]
fn an_ipv4_gateway_conflicts_with_every_other() {
    in_netns(|| {
        sh("ip link add br0 up type bridge; ip addr add 192.0.2.1/24 dev br0");
        let text = conflict(apply(&[gateway("10.1.0.1/24", false)]));
        let wanted = "\"br0\" already has an IP address different from 10.1.0.1/24: 192.0.2.1/24";
        assert!(text.starts_with(wanted), "{text}");
        assert_eq!(addresses(), "192.0.2.1/24");
        // The same address in another subnet is another one.
        conflict(apply(&[gateway("192.0.2.1/25", false)]));
        apply(&[gateway("10.1.0.1/24", true)]).unwrap();
        assert_eq!(addresses(), "10.1.0.1/24");
        apply(&[gateway("10.1.0.1/24", false)]).unwrap();
        assert_eq!(addresses(), "10.1.0.1/24");
    });
}

#[test]
fn an_ipv6_gateway_conflicts_with_those_that_overlap() {
    in_netns(|| {
        sh("ip link add br0 up type bridge; ip addr add fd00::5/64 dev br0 nodad");
        sh("ip addr add fe80::5/64 dev br0 nodad; ip addr add 192.0.2.1/24 dev br0");
        let text = conflict(apply(&[gateway("fd00::1/64", false)]));
        assert!(text.ends_with("or set forceAddress") && text.contains("fd00::5/64"), "{text}");
        apply(&[gateway("fd00:2::1/64", false)]).unwrap();
        let all = addresses();
        assert!(all.contains("fd00:2::1/64") && all.contains("fd00::5/64"), "{all}");
        apply(&[gateway("fd00::1/64", true)]).unwrap();
        let all = addresses();
        assert!(!all.contains("fd00::5/64"), "{all}");
        for kept in ["fd00::1/64", "fd00:2::1/64", "fe80::5/64", "192.0.2.1/24"] {
            assert!(all.contains(kept), "{all}");
        }
        assert!(sh("ip -6 addr show br0 to fd00::1").contains("nodad"));
    });
}

#[test]
fn a_bridge_keeps_its_mac_as_pods_come_and_go() {
    for made_by_us in [true, false] {
        in_netns(move || {
            sh("ip link add port0 address 0a:00:00:00:00:01 type veth peer name peer0");
            if !made_by_us {
                sh("ip link add br0 type bridge; ip link set port0 master br0");
            }
            apply(&[bridge(), gateway("10.1.0.1/24", false)]).unwrap();
            let mac = sh("ip -br link show br0 | awk '{print $3}'");
            // Lower than any other.
            sh("ip link add port1 address 02:00:00:00:00:00 type veth peer name peer1");
            sh("ip link set port1 master br0");
            assert_eq!(sh("ip -br link show br0 | awk '{print $3}'"), mac);
            sh("ip link del port0; ip link del port1");
            assert_eq!(sh("ip -br link show br0 | awk '{print $3}'"), mac);
        });
    }
}

/// As Linux 5.10 makes every bridge whose address is not set; setting the same one changes nothing.
#[test]
fn a_bridge_without_an_entry_for_its_own_mac_gets_one() {
    for sets_its_address in [false, true] {
        in_netns(move || {
            sh("ip link add br0 type bridge; ip link set br0 up");
            let mac = || sh("ip -br link show br0 | awk '{print $3}'").trim().to_owned();
            let before = mac();
            if sets_its_address {
                sh(&format!("ip link set br0 address {before}"));
            }
            let own = || sh("bridge fdb show br br0 | grep 'dev br0 master br0' || true");
            if !own().is_empty() {
                sh(&format!("bridge fdb del {before} dev br0 self"));
            }
            assert_eq!(own(), "");
            apply(&[bridge(), gateway("10.1.0.1/24", false)]).unwrap();
            assert!(own().contains(&before), "{}", own());
            assert_eq!(mac(), before);
        });
    }
}

#[test]
fn a_bridge_of_the_administrator_keeps_its_own() {
    in_netns(|| {
        sh("ip link add br0 mtu 1400 type bridge ageing_time 100; ip link set br0 alias theirs");
        let plain = Bridge {
            name: BRIDGE.to_owned(),
            mtu: Some(1450),
            promiscuous: false,
            vlan_filtering: false,
            no_linklocal_learn: false,
        };
        apply(&[Item::Bridge(plain)]).unwrap();
        let shown = sh("ip -d link show br0");
        for kept in ["mtu 1400", "ageing_time 100", "alias theirs", "UP"] {
            assert!(shown.contains(kept), "{shown}");
        }
        assert!(!shown.contains("PROMISC"), "{shown}");
    });
}

#[test]
fn a_link_that_is_no_bridge_is_refused_unchanged() {
    in_netns(|| {
        sh("ip link add br0 type veth peer name peer");
        let before = sh("ip -d link show br0");
        let text = conflict(apply(&[bridge()]));
        assert!(text.starts_with("\"br0\" already exists but is not a bridge: it is a \"veth\""));
        assert_eq!(sh("ip -d link show br0"), before);
    });
}

/// Two uplinks with a default route each, the first one's from a router advertisement.
fn uplinks() {
    sh("for i in 0 1; do ip link add up$i type veth peer name peer$i
            ip link set up$i up; ip link set peer$i up
            ip addr add fd0$i::2/64 dev up$i nodad; done
        ip -6 route add default via fe80::1 dev up0 proto ra metric 512
        ip -6 route add default via fe80::2 dev up1 proto static metric 1024
        ip -6 route add fd99::/64 via fe80::2 dev up1 proto ra");
}

#[test]
fn turning_ipv6_forwarding_on_keeps_learned_default_routes() {
    in_netns(|| {
        uplinks();
        let before = sh("ip -6 route show default");
        apply(&[Item::Forwarding(Family::V6)]).unwrap();
        assert_eq!(sysctl("net/ipv6/conf/all/forwarding"), "1");
        assert_eq!(sysctl("net/ipv6/conf/up0/accept_ra"), "2");
        assert_eq!(sysctl("net/ipv6/conf/up1/accept_ra"), "1", "it learned no default route");
        assert_eq!(sh("ip -6 route show default"), before);
        assert_eq!(sysctl("net/ipv4/ip_forward"), "0", "of the other family");
    });
}

#[test]
fn every_uplink_of_a_learned_default_route_counts() {
    in_netns(|| {
        uplinks();
        sh("ip -6 route flush proto ra; ip -6 route flush proto static
            ip -6 route add default proto ra metric 512 nexthop via fe80::1 dev up0 \
                nexthop via fe80::2 dev up1");
        apply(&[Item::Forwarding(Family::V6)]).unwrap();
        for uplink in ["up0", "up1"] {
            assert_eq!(sysctl(&format!("net/ipv6/conf/{uplink}/accept_ra")), "2");
        }
    });
}

#[test]
fn a_node_that_forwards_already_is_left_as_it_is() {
    in_netns(|| {
        set("net/ipv6/conf/all/forwarding", "1");
        uplinks();
        apply(&[Item::Forwarding(Family::V6)]).unwrap();
        assert_eq!(sysctl("net/ipv6/conf/up0/accept_ra"), "1");
    });
}

#[test]
fn ipv4_forwarding_is_turned_on_alone() {
    in_netns(|| {
        apply(&[Item::Forwarding(Family::V4)]).unwrap();
        assert_eq!(sysctl("net/ipv4/ip_forward"), "1");
        assert_eq!(sysctl("net/ipv6/conf/all/forwarding"), "0");
    });
}

#[test]
fn a_bridge_that_we_make_skips_duplicate_address_detection() {
    in_netns(|| {
        apply(&[bridge()]).unwrap();
        assert_eq!(sysctl("net/ipv6/conf/br0/accept_dad"), "0");
        assert_eq!(sysctl("net/ipv6/conf/default/accept_dad"), "1");
    });
}
