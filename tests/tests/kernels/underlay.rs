//! The tunnel over other devices than an Ethernet card.

use ferrule_tests::cluster::{Cluster, Member, Underlay};
use ferrule_tests::node::{Place, Pod};
use ferrule_tests::packets::first_ping;
use ferrule_tests::within;
use std::time::Duration;

/// A node on each of the two links: name, link, addresses, and the router's on that link.
const NODES: [(&str, char, [&str; 2], [&str; 2]); 2] = [
    ("one", 'a', ["192.0.2.1", "2001:db8:a::1"], ["192.0.2.254", "2001:db8:a::fe"]),
    ("three", 'b', ["198.51.100.3", "2001:db8:b::3"], ["198.51.100.254", "2001:db8:b::fe"]),
];
const NAMES: [&str; 2] = ["one", "three"];

/// A pod on each node, and its addresses.
struct Pods([(Pod, Vec<String>); 2]);

impl Pods {
    fn of(cluster: &Cluster) -> Pods {
        Pods([0, 1].map(|at: usize| cluster.members[at].pod()))
    }

    fn flow(&self) -> bool {
        let [(one, to_one), (three, to_three)] = &self.0;
        to_three.iter().all(|to| first_ping(one, to))
            && to_one.iter().all(|to| first_ping(three, to))
    }

    /// Waits until packets flow both ways, both families, and all is in sync.
    #[track_caller]
    fn flow_again(&self, cluster: &Cluster, after: &str) {
        let flows = within(Duration::from_secs(30), || self.flow().then_some(()));
        let member = &cluster.members[0];
        assert!(flows.is_some(), "after {after}: {:#?}\n{}", member.status(), member.log());
        cluster.members.iter().for_each(Member::in_sync);
    }

    /// A packet of the size of the pods' MTU passes, in one piece.
    #[track_caller]
    fn fill_their_mtu(&self, cluster: &Cluster) {
        let [(one, _), (_, to_three)] = &self.0;
        let mtu = one.link("eth0").unwrap()["mtu"].as_u64().unwrap();
        one.run(&format!("ping -n -c1 -W5 -M do -s {} {}", mtu - 28, to_three[0]));
        assert_eq!(cluster.seen("inet", "fragments"), 0);
    }
}

/// Puts a node's addresses and default routes on a link.
fn configure(member: &Member, link: &str) {
    let node = NODES.iter().find(|(name, ..)| *name == member.name).unwrap();
    let (_, _, [four, six], [router4, router6]) = node;
    member.node.sh(&format!(
        "ip link set {link} up
         ip address add {four}/24 dev {link}; ip address add {six}/64 dev {link} nodad
         ip route replace default via {router4}; ip -6 route replace default via {router6}"
    ));
}

#[track_caller]
fn is_over(member: &Member, link: &str) {
    let device = || member.node.run("ip -d link show dev fvxlan.100");
    let over = || device().contains(&format!("dev {link} ")).then_some(());
    assert!(within(Duration::from_secs(20), over).is_some(), "{}", device());
    let guard = || member.node.run("nft list chain inet ferrule overlay");
    let named = || guard().contains(&format!("\"{link}\"")).then_some(());
    assert!(within(Duration::from_secs(20), named).is_some(), "{}", guard());
}

#[test]
fn the_tunnel_over_a_vlan_device() {
    let cluster = Cluster::with("", &NAMES);
    for (member, (_, link, _, [router4, router6])) in cluster.members.iter().zip(NODES) {
        cluster.router.sh(&format!(
            "ip address flush dev wire-{link}
             ip link add link wire-{link} name wire-{link}.7 type vlan id 7
             ip link set wire-{link}.7 up
             ip address add {router4}/24 dev wire-{link}.7
             ip address add {router6}/64 dev wire-{link}.7 nodad"
        ));
        member.node.sh("ip address flush dev eth0
             ip link add link eth0 name eth0.7 type vlan id 7");
        configure(member, "eth0.7");
    }
    let pods = Pods::of(&cluster);
    pods.flow_again(&cluster, "the move to a VLAN device");
    cluster.members.iter().for_each(|member| is_over(member, "eth0.7"));
    pods.fill_their_mtu(&cluster);
    // Without its device it waits for another, and says so.
    let member = &cluster.members[0];
    member.node.run("ip link del eth0.7");
    member.status_when(|status| !status["problems"].as_array().unwrap().is_empty());
    member.node.run("ip link add link eth0 name eth0.7 type vlan id 7");
    configure(member, "eth0.7");
    pods.flow_again(&cluster, "a VLAN device that came back");
    is_over(member, "eth0.7");
}

#[test]
fn the_tunnel_over_a_bond_survives_the_loss_of_a_wire() {
    let cluster = Cluster::with("", &NAMES);
    let member = &cluster.members[0];
    let router = cluster.router.ns().net_path();
    member.node.sh(&format!(
        "ip link add eth1 type veth peer name one1 netns {}
         ip link add bond0 type bond mode active-backup miimon 100
         ip address flush dev eth0
         for port in eth0 eth1; do ip link set $port down; ip link set $port master bond0; done",
        router.display()
    ));
    cluster.router.run("ip link set one1 master wire-a up");
    configure(member, "bond0");
    let pods = Pods::of(&cluster);
    pods.flow_again(&cluster, "the move to a bond");
    is_over(member, "bond0");
    pods.fill_their_mtu(&cluster);
    let kept = member.kept();
    for lost in ["one", "one1"] {
        cluster.router.run(&format!("ip link set {lost} down"));
        pods.flow_again(&cluster, &format!("the loss of {lost}"));
        assert_eq!(member.kept(), kept);
        cluster.router.run(&format!("ip link set {lost} up"));
        let carries =
            || member.node.read("/proc/net/bonding/bond0").matches("MII Status: up").count();
        within(Duration::from_secs(10), || (carries() == 3).then_some(()))
            .expect("both wires are up");
    }
}

#[test]
fn the_tunnel_of_an_address_on_a_dummy_device() {
    let cluster = Cluster::routed_on("dummy0", Underlay::Dual, &NAMES);
    let pods = Pods::of(&cluster);
    pods.flow_again(&cluster, "addresses on a dummy device");
    pods.fill_their_mtu(&cluster);
    let device = cluster.members[0].node.run("ip -d link show dev fvxlan.100");
    assert!(device.contains("local 10.255.0.1 ") && !device.contains(" dev "), "{device}");
}
