//! Who may send to the tunnel's port. Everybody here builds the same frames and knows the VNI, and
//! the nodes' addresses and MAC addresses.

use crate::cluster::{ALL, Cluster, Member, Underlay, node_list, node_list_over};
use ferrule_tests::node::{Place, Pod};
use ferrule_tests::packets::{first_ping, ping};
use ferrule_tests::raw::{self, Sniffer};
use ferrule_tests::within;
use serde_json::Value;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

const PORT: u16 = 4789;
const VNI: u8 = 100;
/// The IPv4 addresses of the nodes.
const PLAIN: [&str; 3] = ["192.0.2.1", "192.0.2.2", "198.51.100.3"];
/// How long an expected packet may take: the first one to a place waits until ARP is answered.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than any packet here is on its way, once others have come that way.
const QUIET: Duration = Duration::from_millis(200);

/// A pod on node one that listens, and what one has to know to reach it through the tunnel.
struct Victim {
    _pod: Pod,
    address: Ipv4Addr,
    ear: UdpSocket,
    vtep: raw::Mac,
    /// The tunnel's.
    port: u16,
}

impl Victim {
    fn new(cluster: &Cluster) -> Victim {
        Victim::at(cluster, PORT)
    }

    fn at(cluster: &Cluster, port: u16) -> Victim {
        let (pod, addresses) = cluster.members[0].pod();
        let address: Ipv4Addr = addresses[0].parse().unwrap();
        let ear = pod.ns().enter(|| UdpSocket::bind((address, 0))).unwrap();
        let vtep = cluster.members[0].node.link("fvxlan.100").unwrap();
        let vtep = raw::mac(vtep["address"].as_str().unwrap());
        Victim { _pod: pod, address, ear, vtep, port }
    }

    /// What is to be sent to the tunnel's port for `word` to reach the pod.
    fn frame(&self, word: &str) -> Vec<u8> {
        let from = Ipv4Addr::new(10, 244, 3, 77);
        let port = self.ear.local_addr().unwrap().port();
        let packet = udp(from, self.address, port, word.as_bytes());
        let vxlan = [8, 0, 0, 0, 0, 0, VNI, 0];
        [&vxlan[..], &self.vtep, &[2, 0, 0, 0, 0, 1], &[8, 0], &packet].concat()
    }

    /// The next word, which is expected.
    fn receives(&self) -> Option<String> {
        self.receives_within(PATIENCE)
    }

    /// The next word, where none is expected.
    fn receives_now(&self) -> Option<String> {
        self.receives_within(QUIET)
    }

    fn receives_within(&self, time: Duration) -> Option<String> {
        self.ear.set_read_timeout(Some(time)).unwrap();
        let mut word = [0; 64];
        let length = loop {
            match self.ear.recv(&mut word) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.ok()?,
            }
        };
        Some(String::from_utf8_lossy(&word[..length]).into_owned())
    }

    /// Sends `word` in a frame for the tunnel from a place to a node's address.
    fn send(&self, from: &impl Place, to: IpAddr, word: &str) {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = from.ns().enter(|| UdpSocket::bind(any)).unwrap();
        socket.send_to(&self.frame(word), (to, self.port)).unwrap();
    }
}

/// An IPv4 packet with a UDP datagram; without a checksum of UDP, which IPv4 allows.
pub fn udp(from: Ipv4Addr, to: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let length = |header: usize| u16::try_from(header + payload.len()).unwrap().to_be_bytes();
    let datagram =
        [&40000_u16.to_be_bytes()[..], &port.to_be_bytes(), &length(8), &[0, 0], payload].concat();
    let mut header = [&[0x45, 0][..], &length(28), &[0, 0, 0, 0, 64, 17, 0, 0]].concat();
    header.extend(from.octets().into_iter().chain(to.octets()));
    let sum: u32 = header.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [header, datagram].concat()
}

/// The same over IPv6, where VXLAN wants a checksum.
pub fn udp6(from: Ipv6Addr, to: Ipv6Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    let addresses = [from.octets(), to.octets()].concat();
    let mut datagram =
        [&40000_u16.to_be_bytes()[..], &port.to_be_bytes(), &length, &[0, 0], payload].concat();
    // The pseudo-header: addresses, length, next header (RFC 8200 section 8.1).
    let pseudo = [&addresses[..], &length, &[0, 17], &datagram].concat();
    let word = |two: &[u8]| u32::from(two[0]) << 8 | u32::from(two.get(1).copied().unwrap_or(0));
    let sum: u32 = pseudo.chunks(2).map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    [&[0x60, 0, 0, 0][..], &length, &[17, 64], &addresses, &datagram].concat()
}

/// An Ethernet frame for the bridge of a member, from one of its pods.
pub fn from_pod(member: &Member, outer: &[u8]) -> Vec<u8> {
    let bridge = member.node.link("cni0").unwrap();
    let gateway = raw::mac(bridge["address"].as_str().unwrap());
    let kind = if outer[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    [&gateway[..], &[2, 0, 0, 0, 0, 2], &kind, outer].concat()
}

/// Datagrams of nodes arrive on node one, at this address of it, and no others.
fn only_nodes_packets_arrive(cluster: &Cluster, victim: &Victim, to: &str) {
    let to: IpAddr = to.parse().unwrap();
    let (near, _) = cluster.members[0].pod();
    let (far, _) = cluster.members[1].pod();
    let stranger = cluster.plug_in("stranger", 'a', 77);
    stranger.settle();
    let answers = || first_ping(&stranger, &to.to_string()).then_some(());
    within(PATIENCE, answers).expect("the stranger reaches the node");
    for (number, node) in [(1, &cluster.members[1].node), (2, &cluster.members[2].node)] {
        victim.send(&near, to, "a pod of the node itself");
        victim.send(&far, to, "a pod of another node");
        victim.send(&stranger, to, "a stranger");
        let word = format!("node {number}");
        victim.send(node, to, &word);
        assert_eq!(victim.receives(), Some(word));
    }
    assert_eq!(victim.receives_now(), None);
}

#[test]
fn the_tunnels_port_is_for_nodes_alone() {
    let cluster = Cluster::new();
    only_nodes_packets_arrive(&cluster, &Victim::new(&cluster), "192.0.2.1");
}

#[test]
fn the_tunnels_port_is_for_nodes_alone_over_ipv6() {
    let cluster = Cluster::over(Underlay::V6, "", &ALL);
    only_nodes_packets_arrive(&cluster, &Victim::new(&cluster), "2001:db8:a::1");
}

/// All of it at another port: what pods send each other, and who is kept out.
#[test]
fn another_port_carries_the_tunnel_and_is_guarded() {
    const OTHER: u16 = 8472;
    let cluster = Cluster::with("[vxlan]\nport = 8472", &ALL);
    let (near, _) = cluster.members[0].pod();
    let (_far, addresses) = cluster.members[2].pod();
    for address in &addresses {
        let sniffer = Sniffer::on(&cluster.router, "wire-b");
        ping(&near, address);
        // IPv4 without options, UDP, a VXLAN header with our VNI (RFC 7348 section 5).
        let outer = |frame: &[u8]| {
            frame.len() > 50
                && frame[12..15] == [8, 0, 0x45]
                && frame[23] == 17
                && frame[26..34] == [192, 0, 2, 1, 198, 51, 100, 3]
                && frame[36..38] == OTHER.to_be_bytes()
                && frame[42..50] == [8, 0, 0, 0, 0, 0, VNI, 0]
        };
        assert!(sniffer.wait(Duration::from_secs(2), outer).is_some(), "no VXLAN to {OTHER}");
    }
    assert_eq!(cluster.tunnelled(), (0, 0), "the default port was used");
    let victim = Victim::at(&cluster, OTHER);
    only_nodes_packets_arrive(&cluster, &victim, "192.0.2.1");
    no_pod_passes_for_a_node(&cluster, &victim, PLAIN);
}

#[test]
fn a_pod_does_not_pass_for_a_node() {
    let cluster = Cluster::new();
    no_pod_passes_for_a_node(&cluster, &Victim::new(&cluster), PLAIN);
}

/// Containers may send raw packets on most runtimes, and so with any source address.
/// The nodes have these addresses.
fn no_pod_passes_for_a_node(cluster: &Cluster, victim: &Victim, addresses: [&str; 3]) {
    let (to, node) = (addresses[0].parse().unwrap(), addresses[2].parse().unwrap());
    for (member, own) in cluster.members.iter().zip(addresses) {
        let (pod, _) = member.pod();
        for source in [node, own.parse().unwrap()] {
            let outer = udp(source, to, victim.port, &victim.frame(&format!("{source} at {own}")));
            raw::send(&pod, "eth0", &from_pod(member, &outer));
        }
        // Somebody's NAT lends the pod its node's address.
        member.node.sh(&format!(
            "nft add table ip lend
             nft add chain ip lend nat '{{ type nat hook postrouting priority 90; }}'
             nft add rule ip lend nat udp dport {} ip saddr 10.244.0.0/16 masquerade",
            victim.port
        ));
        victim.send(&pod, to.into(), &format!("NAT at {own}"));
    }
    victim.send(&cluster.members[2].node, to.into(), "a node");
    assert_eq!(victim.receives().as_deref(), Some("a node"));
    assert_eq!(victim.receives_now(), None);
}

/// The nodes' addresses are on their loopback devices, and the tunnel is bound to no link.
#[test]
fn where_the_routes_choose_the_link_the_port_is_for_nodes_alone() {
    let cluster = Cluster::routed(Underlay::Dual);
    let victim = Victim::new(&cluster);
    only_nodes_packets_arrive(&cluster, &victim, "10.255.0.1");
    no_pod_passes_for_a_node(&cluster, &victim, ["10.255.0.1", "10.255.0.2", "10.255.0.3"]);
}

#[test]
fn where_the_routes_choose_the_link_the_port_is_for_nodes_alone_over_ipv6() {
    let cluster = Cluster::routed(Underlay::V6);
    only_nodes_packets_arrive(&cluster, &Victim::new(&cluster), "2001:db8:ff::1");
}

/// Two nodes with a tunnel over IPv6, and between them a node whose own is over IPv4.
#[test]
fn a_pod_does_not_pass_for_a_node_of_the_other_family() {
    let mut cluster = Cluster::new();
    let set = node_list_over(Underlay::V6, &["one", "three"]) + &node_list(&["two"]);
    cluster.write_nodes(&set);
    let shows = |status: &Value, cidr: &str, key: &str, value: &str| {
        let mut entries = status["cidrs"].as_array().into_iter().flatten();
        entries.any(|entry| entry["cidr"] == cidr && entry[key] == value)
    };
    let (one, two) = (&cluster.members[0], &cluster.members[1]);
    one.status_when(|status| shows(status, "10.244.3.0/24", "via", "2001:db8:b::3"));
    two.status_when(|status| shows(status, "10.244.1.0/24", "state", "refused"));
    let victim = Victim::new(&cluster);
    let (pod, _) = two.pod();
    let (third, to) = ("2001:db8:b::3".parse().unwrap(), "2001:db8:a::1".parse().unwrap());
    let forged = |word: &str| from_pod(two, &udp6(third, to, PORT, &victim.frame(word)));
    let (stopped, passed) = (forged("forged"), forged("forged well"));
    raw::send(&pod, "eth0", &stopped);
    victim.send(&cluster.members[2].node, to.into(), "a node");
    assert_eq!(victim.receives().as_deref(), Some("a node"));
    assert_eq!(victim.receives_now(), None);
    // The same datagram arrives where nothing blocks it.
    cluster.members[1].kill();
    cluster.members[1].node.run("nft delete table inet ferrule");
    raw::send(&pod, "eth0", &passed);
    assert_eq!(victim.receives().as_deref(), Some("forged well"));
}

/// A node has addresses that the node set does not name, and VXLAN listens on all of them: that of
/// the tunnel, that of the pods' bridge, any other. Words for them come from the second node's pod.
fn other_addresses_are_no_way_in(underlay: Underlay, node: IpAddr, others: [&str; 3]) {
    let mut cluster = Cluster::over(underlay, "", &ALL);
    let victim = Victim::new(&cluster);
    let third: IpAddr =
        if node.is_ipv4() { "198.51.100.3" } else { "2001:db8:b::3" }.parse().unwrap();
    cluster.members[0].node.run(&format!("ip address add {} dev eth0 nodad", others[2]));
    let forged = |word: &str, to: &str| match (third, to.parse().unwrap()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => udp(from, to, PORT, &victim.frame(word)),
        (IpAddr::V6(from), IpAddr::V6(to)) => udp6(from, to, PORT, &victim.frame(word)),
        _ => panic!("two families"),
    };
    let (pod, _) = cluster.members[1].pod();
    let send_all = |member: &Member, when: &str| {
        for to in others {
            raw::send(&pod, "eth0", &from_pod(member, &forged(&format!("{to} {when}"), to)));
        }
        assert_eq!(victim.receives_now(), None);
    };
    let (_, before) = cluster.tunnelled();
    send_all(&cluster.members[1], "by a node that guards");
    assert_eq!(cluster.tunnelled().1, before, "the second node let it pass");
    // The first node relies on no other.
    cluster.members[1].kill();
    cluster.members[1].node.run("nft delete table inet ferrule");
    send_all(&cluster.members[1], "by a node that does not");
    assert_eq!(cluster.tunnelled().1, before + 3, "nothing was sent");
    // The same datagram arrives where nothing blocks it.
    let to = node.to_string();
    raw::send(&pod, "eth0", &from_pod(&cluster.members[1], &forged("forged well", &to)));
    assert_eq!(victim.receives().as_deref(), Some("forged well"));
    victim.send(&cluster.members[2].node, node, "a node");
    assert_eq!(victim.receives().as_deref(), Some("a node"));
}

#[test]
fn other_addresses_of_a_node_are_no_way_in() {
    let others = ["10.244.1.0", "10.244.1.1", "192.0.2.111"];
    other_addresses_are_no_way_in(Underlay::Dual, "192.0.2.1".parse().unwrap(), others);
}

#[test]
fn other_addresses_of_a_node_are_no_way_in_over_ipv6() {
    let others = ["fd00:10:244:1::", "fd00:10:244:1::1", "2001:db8:a::111"];
    other_addresses_are_no_way_in(Underlay::V6, "2001:db8:a::1".parse().unwrap(), others);
}

#[test]
fn who_may_send_follows_the_node_set() {
    let cluster = Cluster::new();
    let victim = Victim::new(&cluster);
    let to = "192.0.2.1".parse().unwrap();
    let third = &cluster.members[2].node;
    let received = || {
        victim.send(third, to, "third");
        victim.receives_now()
    };
    victim.send(third, to, "third");
    assert_eq!(victim.receives().as_deref(), Some("third"));
    cluster.set_nodes(&["one", "two"]);
    let silent = || received().is_none().then_some(());
    within(PATIENCE, silent).expect("a node that left is a stranger");
    assert_eq!([received(), received()], [None, None]);
    victim.send(&cluster.members[1].node, to, "second");
    assert_eq!(victim.receives().as_deref(), Some("second"), "the nodes that stay are received");
    cluster.set_nodes(&ALL);
    within(PATIENCE, received).expect("a node that came is received");
}

/// What a node stops is forged: nodes reach each other through it.
#[test]
fn a_node_may_be_on_the_way_between_two_others() {
    let cluster = Cluster::new();
    let pods: Vec<_> = cluster.members.iter().map(Member::pod).collect();
    let second = &cluster.members[1].node;
    second.sh("nft add table ip passed
         nft add chain ip passed forward '{ type filter hook forward priority 0; }'
         nft add counter ip passed by
         nft add rule ip passed forward udp dport 4789 counter name by");
    cluster.members[0].node.run("ip route add 198.51.100.3 via 192.0.2.2");
    pods[2].1.iter().for_each(|address| ping(&pods[0].0, address));
    assert!(!second.run("nft list counter ip passed by").contains("packets 0 "));
}
