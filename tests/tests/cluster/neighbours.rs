//! How many neighbours a pod makes its node remember.

use crate::cluster::{Cluster, Member};
use ferrule_tests::node::{Place, Pod};
use ferrule_tests::packets::first_ping;
use ferrule_tests::{raw, within};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// How many addresses a flooding pod asks from.
const FLOOD: u16 = 300;
/// 50 at once and 10 a second, on a machine that takes some seconds for the flood.
const MOST: usize = 120;

/// A neighbour or router solicitation, from this MAC address and source.
fn solicitation(kind: u8, from: raw::Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    if kind == 135 {
        message.extend(target.octets());
    }
    // The option with the sender's MAC address (RFC 4861 section 4.6.1).
    message.extend([1, 1]);
    message.extend(from);
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    let addresses = [source.octets(), target.octets()].concat();
    // The pseudo-header: addresses, length, next header (RFC 8200 section 8.1).
    let pseudo = [&addresses[..], &[0, 0], &length, &[0, 0, 0, 58], &message].concat();
    let word = |two: &[u8]| u32::from(two[0]) << 8 | u32::from(two[1]);
    let sum: u32 = pseudo.chunks(2).map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    [&[0x60, 0, 0, 0][..], &length, &[58, 255], &addresses, &message].concat()
}

/// An ARP request (RFC 826).
fn request(from: raw::Mac, source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    [&head[..], &from, &source.octets(), &[0; 6], &target.octets()].concat()
}

/// What pods ask the node for.
#[derive(Clone, Copy)]
enum Ask {
    Neighbour,
    Router,
    Arp,
}

/// A pod that floods, and the node's end of its link.
struct Flood<'a> {
    member: &'a Member,
    pod: &'a Pod,
    mac: raw::Mac,
    gateways: (Ipv4Addr, Ipv6Addr),
}

impl Flood<'_> {
    /// Askers that the node remembers, also as those that do not answer it.
    fn remembered(&self, ask: Ask) -> usize {
        let sources = match ask {
            Ask::Arp => "10.9.".to_owned(),
            _ => format!("fe80::{:x}:", ask as u16 + 1),
        };
        let shown = ["-4", "-6"].map(|of| self.member.node.run(&format!("ip {of} neighbour show")));
        shown.concat().lines().filter(|line| line.starts_with(&sources)).count()
    }

    /// The frame of one of [`FLOOD`] askers.
    fn frame(&self, ask: Ask, at: u16) -> Vec<u8> {
        let [high, low] = at.to_be_bytes();
        let from = [2, 0, 0, 0, high, low];
        let (four, six) = self.gateways;
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, ask as u16 + 1, at + 1);
        let (to, kind, text) = match ask {
            Ask::Neighbour => (self.mac, [0x86, 0xdd], solicitation(135, from, source, six)),
            Ask::Router => {
                let routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
                let text = solicitation(133, from, source, routers);
                ([0x33, 0x33, 0, 0, 0, 2], [0x86, 0xdd], text)
            }
            Ask::Arp => {
                let source = Ipv4Addr::new(10, 9, high, low);
                ([0xff; 6], [8, 6], request(from, source, four))
            }
        };
        [&to[..], &from, &kind, &text].concat()
    }

    fn is_limited(&self, ask: Ask) {
        let frames: Vec<Vec<u8>> = (0..FLOOD).map(|at| self.frame(ask, at)).collect();
        raw::send_all(self.pod, "eth0", &frames);
        // What was sent before has been taken when this is answered.
        self.recovers();
        let made = self.remembered(ask);
        // The first ones are answered, and so remembered, or nothing was tried.
        assert!((10..=MOST).contains(&made), "{made} neighbours of {FLOOD} that a pod asked from");
    }

    /// The pod that flooded may ask again a while later.
    fn recovers(&self) {
        self.pod.sh("ip neighbour flush all; ip -6 neighbour flush all");
        let (four, six) = self.gateways;
        let link = if six.is_unicast_link_local() { "%eth0" } else { "" };
        for gateway in [four.to_string(), format!("{six}{link}")] {
            let answers = || first_ping(self.pod, &gateway).then_some(());
            assert!(within(PATIENCE, answers).is_some(), "the pod has no gateway {gateway}");
        }
    }
}

/// The MAC address of a link of the node.
fn mac_of(member: &Member, link: &str) -> raw::Mac {
    raw::mac(member.node.link(link).unwrap()["address"].as_str().unwrap())
}

/// Where rp_filter is strict, ARP from sources that are not routed back is not answered.
fn without_rp_filter(member: &Member, link: &str) {
    let keys = ["all", link].map(|of| format!("net.ipv4.conf.{of}.rp_filter=0"));
    member.node.run(&format!("sysctl -qw {}", keys.join(" ")));
}

#[test]
fn a_pod_of_a_bridge_fills_no_table_of_neighbours() {
    let cluster = Cluster::with("mode = \"vxlan\"", &["one"]);
    let member = &cluster.members[0];
    let (other, addresses) = member.pod();
    let gateways = ("10.244.1.1".parse().unwrap(), "fd00:10:244:1::1".parse().unwrap());
    without_rp_filter(member, "cni0");
    for ask in [Ask::Neighbour, Ask::Router, Ask::Arp] {
        let (pod, _) = member.pod();
        Flood { member, pod: &pod, mac: mac_of(member, "cni0"), gateways }.is_limited(ask);
        // Another pod has its own limit, and what pods ask one another has none.
        other.sh("ip neighbour flush all; ip -6 neighbour flush all");
        assert!(first_ping(&other, "10.244.1.1") && first_ping(&other, "fd00:10:244:1::1"));
        addresses.iter().for_each(|address| assert!(first_ping(&pod, address)));
    }
    // What another program removes is restored.
    member.node.run("nft delete table bridge ferrule-neighbours");
    let tables = || member.node.run("nft list tables");
    let there = || tables().contains("table bridge ferrule-neighbours").then_some(());
    within(PATIENCE, there).unwrap_or_else(|| panic!("{}", member.log()));
}

#[test]
fn a_pod_on_a_link_of_its_own_fills_no_table_of_neighbours() {
    let cluster = Cluster::with("mode = \"vxlan\"", &["one"]);
    let member = &cluster.members[0];
    let network: Value = json!({"cniVersion": "1.1.0", "name": "routed", "type": "bgp",
        "ipam": {"type": "host-local",
            "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]}});
    let gateways = ("169.254.1.1".parse().unwrap(), "fe80::1".parse().unwrap());
    for ask in [Ask::Neighbour, Ask::Router, Ask::Arp] {
        let before = member.node.veths();
        let (pod, _) = member.pod_on(&network);
        let host = member.node.veths().into_iter().find(|name| !before.contains(name)).unwrap();
        without_rp_filter(member, &host);
        Flood { member, pod: &pod, mac: mac_of(member, &host), gateways }.is_limited(ask);
    }
}
