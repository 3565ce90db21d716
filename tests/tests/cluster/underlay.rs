//! The underlay changes below the tunnel: each time packets flow again.

use crate::cluster::{Cluster, Underlay};
use ferrule_tests::node::{Node, Place, Pod};
use ferrule_tests::packets::first_ping;
use ferrule_tests::within;
use std::time::Duration;

struct Pair {
    cluster: Cluster,
    near: Pod,
    far: Pod,
    addresses: Vec<String>,
    back: Vec<String>,
}

impl Pair {
    fn new() -> Pair {
        Pair::of(Cluster::new())
    }

    fn of(cluster: Cluster) -> Pair {
        let (near, back) = cluster.members[0].pod();
        let (far, addresses) = cluster.members[2].pod();
        Pair { cluster, near, far, addresses, back }
    }

    fn node(&self) -> &Node {
        &self.cluster.members[0].node
    }

    /// Waits until packets flow both ways, both families, and all is in sync.
    #[track_caller]
    fn flows(&self, after: &str) {
        let there = || self.addresses.iter().all(|to| first_ping(&self.near, to));
        let back = || self.back.iter().all(|to| first_ping(&self.far, to));
        let flows = within(Duration::from_secs(10), || (there() && back()).then_some(()));
        let member = &self.cluster.members[0];
        assert!(flows.is_some(), "after {after}: {:#?}\n{}", member.status(), member.log());
        member.in_sync();
    }

    /// The uplink's addresses and default routes, as the first node has them.
    fn configure(&self, link: &str) {
        self.node().sh(&format!(
            "ip link set {link} up
             ip address replace 192.0.2.1/24 dev {link}
             ip address replace 2001:db8:a::1/64 dev {link} nodad
             ip route replace default via 192.0.2.254
             ip -6 route replace default via 2001:db8:a::fe"
        ));
    }
}

#[test]
fn carrier_that_flaps_and_a_link_that_is_set_down() {
    let pair = Pair::new();
    let before = pair.cluster.members[0].kept();
    for _ in 0..3 {
        pair.cluster.router.sh("ip link set one down");
        pair.cluster.router.sh("ip link set one up");
    }
    pair.flows("a carrier that flapped");
    assert_eq!(pair.cluster.members[0].kept(), before);
    pair.node().run("ip link set eth0 down");
    // The kernel takes IPv6 addresses away with the link.
    pair.configure("eth0");
    pair.flows("a link that was down");
    assert_eq!(pair.cluster.members[0].kept(), before);
}

#[test]
fn another_name_and_another_link() {
    let pair = Pair::new();
    pair.node().sh("ip link set eth0 down; ip link set eth0 name uplink0");
    pair.configure("uplink0");
    pair.flows("a new name");
    // The guard of the tunnel's port goes by the name.
    let guard = || pair.node().run("nft list chain inet ferrule overlay");
    let named = within(Duration::from_secs(5), || guard().contains("uplink0").then_some(()));
    assert!(named.is_some(), "{}", guard());
    // It goes, the tunnel's device with it, and another comes.
    pair.node().run("ip link del uplink0");
    let path = pair.cluster.router.ns().net_path();
    pair.node().sh(&format!("ip link add ens5 type veth peer name one netns {}", path.display()));
    pair.cluster.router.sh("ip link set one master wire-a up");
    pair.configure("ens5");
    pair.flows("another link");
    let device = pair.node().run("ip -d link show dev fvxlan.100");
    assert!(device.contains("dev ens5"), "{device}");
}

/// The tunnel's MTU follows, and new pods get it.
#[test]
fn another_mtu() {
    let pair = Pair::new();
    let mtu = |of: u32| {
        let link = || pair.node().link("fvxlan.100").and_then(|link| link["mtu"].as_u64());
        let set = within(Duration::from_secs(5), || (link() == Some(of.into())).then_some(()));
        assert!(set.is_some(), "the tunnel's MTU is {:?} and not {of}", link());
        let reported =
            || pair.node().read("/run/ferrule/node.json").contains(&format!("\"mtu\": {of}"));
        within(Duration::from_secs(5), || reported().then_some(()))
            .expect("node.json tells the MTU");
    };
    pair.node().run("ip link set eth0 mtu 1400");
    mtu(1350);
    let (pod, _) = pair.cluster.members[0].pod();
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1350);
    pair.flows("a smaller MTU");
    pod.run(&format!("ping -n -c1 -W2 -M do -s {} {}", 1350 - 28, pair.addresses[0]));
    pair.node().run("ip link set eth0 mtu 1500");
    mtu(1450);
    pair.flows("the MTU of before");
}

/// The node's address goes to another link that leads to the same wire.
#[test]
fn an_address_that_moves_to_another_link() {
    let pair = Pair::new();
    let path = pair.cluster.router.ns().net_path();
    pair.node().sh(&format!(
        "ip link add eth1 type veth peer name one1 netns {}
         ip address flush dev eth0",
        path.display()
    ));
    pair.cluster.router.sh("ip link set one1 master wire-a up");
    let status = pair.cluster.members[0]
        .status_when(|status| status["problems"].to_string().contains("no link here holds"));
    assert_eq!(status["synced"], true, "it was once");
    pair.configure("eth1");
    pair.flows("an address that moved");
    let device = pair.node().run("ip -d link show dev fvxlan.100");
    assert!(device.contains("dev eth1"), "{device}");
}

/// A node of a fabric that routes: the tunnel is bound to no link, and its packets come and go by
/// each that leads to the others.
#[test]
fn an_address_on_the_loopback_device() {
    let pair = Pair::of(Cluster::routed(Underlay::Dual));
    pair.flows("addresses on the loopback device");
    let before = pair.cluster.tunnelled().0;
    for (from, to) in [(&pair.near, &pair.addresses[0]), (&pair.far, &pair.back[0])] {
        assert_eq!(from.link("eth0").unwrap()["mtu"], 1450);
        from.run(&format!("ping -n -c1 -W2 -M do -s {} {to}", 1450 - 28));
    }
    assert!(pair.cluster.tunnelled().0 >= before + 4, "they went another way");
    // The second of two that are equally good: what comes by it may be answered by the first.
    let path = pair.cluster.router.ns().net_path();
    pair.node().sh(&format!(
        "sysctl -qw net.ipv4.conf.all.arp_ignore=1
         ip link add eth1 type veth peer name one1 netns {}
         ip link set eth1 up
         ip address add 192.0.2.101/24 dev eth1
         ip route replace default src 10.255.0.1 nexthop via 192.0.2.254 dev eth0 \
             nexthop via 192.0.2.254 dev eth1
         nft add table inet second
         nft add chain inet second input '{{ type filter hook input priority 0; }}'
         nft add counter inet second by
         nft add rule inet second input iifname eth1 udp dport 4789 counter name by",
        path.display()
    ));
    pair.cluster.router.sh("ip link set one1 master wire-a up
         ip route replace 10.255.0.1 via 192.0.2.101");
    pair.flows("a second uplink");
    assert!(!pair.node().run("nft list counter inet second by").contains("packets 0 "));
    let device = pair.node().link("fvxlan.100").unwrap()["ifindex"].clone();
    pair.node().run("ip link set eth0 down");
    pair.flows("the first uplink's end");
    assert_eq!(pair.node().link("fvxlan.100").unwrap()["ifindex"], device, "it was made anew");
    assert_eq!(pair.cluster.seen("inet", "fragments"), 0);
}
