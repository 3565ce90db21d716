//! The plugin vrf: networks of one pod with equal addresses.

use ferrule_tests::conf::{version, with};
use ferrule_tests::node::Place;
use ferrule_tests::{Attachment, Bins, Node, Pod};
use serde_json::{Value, json};

/// A network with the nth bridge, all with the same addresses, and vrf behind it.
struct Network<'a> {
    node: &'a Node,
    main: Attachment<'a>,
    vrf: Attachment<'a>,
}

impl<'a> Network<'a> {
    fn new(node: &'a Node, pod: &Pod, number: u32, keys: &Value) -> Self {
        let common = json!({"cniVersion": version(), "name": format!("pods{number}")});
        let main = json!({"type": "bridge", "bridge": format!("br{number}"), "ipam": {
            "type": "host-local", "dataDir": format!("/run/leases{number}"),
            "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]],
            "routes": [{"dst": "203.0.113.0/24"}, {"dst": "2001:db8::/64"}]}});
        let attach =
            |keys: &Value| node.attach(&with(&common, keys), pod).ifname(&format!("net{number}"));
        let vrf = with(&json!({"type": "vrf", "vrfname": format!("vrf{number}")}), keys);
        Self { node, main: attach(&main), vrf: attach(&vrf) }
    }

    fn add(&self) -> Value {
        let first = self.main.add();
        let result = self.vrf.call("ADD", Some(&first)).run(self.node).ok();
        assert_eq!(result, first);
        result
    }
}

/// Another host on a bridge, with both families' addresses.
fn host(node: &Node, bridge: &str) -> Pod {
    let host = Pod::new();
    node.sh(&format!(
        "ip link add far{bridge} type veth peer name eth0 netns {}
        ip link set far{bridge} master {bridge} up",
        host.netns()
    ));
    host.sh("ip link set eth0 up; ip addr add 10.1.0.99/24 dev eth0
        ip addr add fd00:1::99/64 dev eth0 nodad; ip addr add 203.0.113.1/32 dev lo");
    host
}

fn received(host: &Pod) -> u64 {
    host.read("/sys/class/net/eth0/statistics/rx_packets").parse().unwrap()
}

/// Interface and routes of a pod, without what follows from addresses.
fn routing(pod: &Pod) -> Vec<String> {
    let text = pod.sh("ip -br link; ip -br addr | sed 's/@.*//'; ip route show table all; ip -6 route show table all");
    let lines = text.lines().filter(|line| !line.contains("table local") && !line.contains("fe80"));
    let mut lines: Vec<_> = lines.map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn equal_addresses_of_two_networks_reach_each_its_own_neighbours() {
    let (node, pod) = (Node::new(), Pod::new());
    let networks = [1, 2].map(|number| Network::new(&node, &pod, number, &json!({})));
    let results = networks.each_ref().map(Network::add);
    let hosts = ["br1", "br2"].map(|bridge| host(&node, bridge));
    pod.settle();
    for (number, own) in [(1, 0), (2, 1)] {
        let before = hosts.each_ref().map(received);
        for address in ["10.1.0.99", "fd00:1::99"] {
            pod.run(&format!("ip vrf exec vrf{number} ping -c3 -W2 {address}"));
        }
        let after = hosts.each_ref().map(received);
        assert!(after[own] >= before[own] + 6, "of vrf{number}: {before:?} {after:?}");
    }
    for (network, result) in networks.iter().zip(&results) {
        network.vrf.check(result);
    }
}

#[test]
fn routes_move_and_come_back() {
    let (node, pod) = (Node::new(), Pod::new());
    let network = Network::new(&node, &pod, 1, &json!({"table": 77}));
    let first = network.main.add();
    pod.settle();
    let before = routing(&pod);
    for result in [Some(&first), None] {
        let added = network.vrf.call("ADD", Some(&first)).run(&node).ok();
        network.vrf.check(&added);
        let table = pod.run("ip route show table 77") + &pod.run("ip -6 route show table 77");
        for route in ["10.1.0.0/24", "203.0.113.0/24 via 10.1.0.1", "fd00:1::/64", "2001:db8::/64"]
        {
            assert!(table.contains(route), "{route}: {table}");
        }
        network.vrf.del(result);
        pod.settle();
        assert_eq!(routing(&pod), before);
    }
}

#[test]
fn a_device_lives_until_its_last_port_goes() {
    let (node, pod) = (Node::new(), Pod::new());
    let same = json!({"vrfname": "blue"});
    let networks = [1, 2].map(|number| Network::new(&node, &pod, number, &same));
    networks.iter().for_each(|network| drop(network.add()));
    networks[0].vrf.del(None);
    assert!(pod.link("blue").is_some());
    networks[1].vrf.del(None);
    assert!(pod.link("blue").is_none());
    networks[1].vrf.del(None);
}

#[test]
fn a_repeated_add_is_one_and_a_failed_one_leaves_nothing() {
    let (node, pod) = (Node::new(), Pod::new());
    let network = Network::new(&node, &pod, 1, &json!({}));
    let first = network.main.add();
    for _ in 0..2 {
        network.vrf.call("ADD", Some(&first)).run(&node).ok();
    }
    let other = Network::new(&node, &pod, 1, &json!({"vrfname": "other"}));
    let error = other.vrf.clone().with(&json!({"name": "others"})).call("ADD", Some(&first));
    error.run(&node).err().expect(103, "interface net1 has already a master set: vrf1");
    let wrong = Network::new(&node, &pod, 2, &json!({"vrfname": "vrf1", "table": 999}));
    let second = wrong.main.add();
    let text = "VRF vrf1 already exist with different routing table 1";
    wrong.vrf.call("ADD", Some(&second)).run(&node).err().expect(103, text);
}

#[test]
fn check_names_each_alteration() {
    for (script, wanted) in [
        ("ip link set net1 nomaster", "failed to find net1 associated to vrf vrf1"),
        ("ip link set vrf1 down", "it is down"),
        ("ip link del vrf1", "VRF vrf1 of net1: missing"),
        (
            "ip link del vrf1; ip link add vrf1 up type vrf table 5; ip link set net1 master vrf1",
            "its table is 5, not 77",
        ),
    ] {
        let (node, pod) = (Node::new(), Pod::new());
        let network = Network::new(&node, &pod, 1, &json!({"table": 77}));
        let result = network.add();
        network.vrf.check(&result);
        pod.sh(script);
        network.vrf.try_check(&result).err().expect(101, wanted);
    }
}

#[test]
fn each_side_removes_what_the_other_made() {
    let both_ways = [(Bins::reference(), Bins::ours()), (Bins::ours(), Bins::reference())];
    for (maker, remover) in &both_ways {
        let (node, pod) = (Node::new(), Pod::new());
        let network = Network::new(&node, &pod, 1, &json!({}));
        let first = network.main.add();
        let made = network.vrf.clone().by(maker).call("ADD", Some(&first)).run(&node).ok();
        network.vrf.clone().by(remover).check(&made);
        network.vrf.clone().by(remover).del(Some(&made));
        assert!(pod.link("vrf1").is_none());
    }
}
