//! UDP flows that the kernel remembers: those of a port are forgotten as it gets another end, and no
//! others.

use std::net::UdpSocket;

use ferrule_tests::conf::{self, with};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::{Node, Outside, Pod, within};
use serde_json::json;

use crate::{LIMIT, Mapped, ask, at, ip, port, port_on, portmap};

fn connected(from: &impl Place, to: &str) -> UdpSocket {
    from.ns().enter(|| {
        let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let client = UdpSocket::bind(any).unwrap();
        client.connect(to).unwrap();
        client
    })
}

fn server(of: &impl Place, port: u16) -> UdpSocket {
    // A process that another test starts holds the last socket until its exec.
    let bind = || of.ns().enter(|| UdpSocket::bind(("::", port))).ok();
    within(LIMIT, bind).expect("the port is free")
}

/// Whether a packet of a client comes to a server.
fn arrives(client: &UdpSocket, server: &UdpSocket) -> bool {
    server.set_read_timeout(Some(LIMIT)).unwrap();
    // What came before was refused, which the socket reports once.
    let sent = client.send(b"ask").or_else(|_| client.send(b"ask"));
    sent.is_ok() && server.recv(&mut [0; 8]).is_ok()
}

/// The flows to a port, as the kernel lists them.
fn listed(node: &Node, port: u16) -> Vec<String> {
    let all = node.run("conntrack -L -p udp") + &node.run("conntrack -L -p udp -f ipv6");
    let wanted = format!("dport={port}");
    let original = |line: &&str| {
        let mut words = line.split(" src=").nth(1).unwrap_or("").split_whitespace();
        words.any(|word| word == wanted)
    };
    all.lines().filter(original).map(str::to_owned).collect()
}

#[test]
fn a_flow_goes_to_the_pod_that_has_the_port_now() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    let ports = portmap(&json!([port(8053, 53, "udp")]));
    // Bound once: what another test starts may have a copy of a closed socket until it executes.
    let (own, of_one, of_two) = (server(&node, 8053), server(&one, 53), server(&two, 53));
    for (address, from) in [(NODE4, OUTSIDE4), (NODE6, OUTSIDE6)] {
        let client = connected(&outside, &at(address, 8053));
        // No pod has the port yet: the flow goes to the node itself.
        assert_eq!(ask(&client, &own), Ok(ip(from)));
        let first = Mapped::add(&node, &one, &conf::dual(), &ports);
        assert_eq!(ask(&client, &of_one), Ok(ip(from)), "from the node to a pod");
        first.try_ports("DEL").ok();
        assert_eq!(ask(&client, &own), Ok(ip(from)), "back to the node");
        let first_again = first.add_ports();
        assert_eq!(first_again, first.result);
        assert_eq!(ask(&client, &of_one), Ok(ip(from)));
        first.try_ports("DEL").ok();
        let second = Mapped::add(&node, &two, &conf::dual(), &ports);
        assert_eq!(ask(&client, &of_two), Ok(ip(from)), "to the next pod");
        second.try_ports("DEL").ok();
        first.main.del(None);
        second.main.del(None);
    }
}

/// A pod that went without DEL: GC removes its port, and the flow follows.
#[test]
fn gc_forgets_the_flows_of_a_pod_that_is_gone() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    let ports = portmap(&json!([port(8053, 53, "udp")]));
    let server = server(&pod, 53);
    for record in [true, false] {
        let mapped = Mapped::add(&node, &pod, &conf::v4(), &ports);
        let client = connected(&outside, &at(NODE4, 8053));
        assert_eq!(ask(&client, &server), Ok(ip(OUTSIDE4)));
        if !record {
            node.sh("rm /run/ferrule/attachments/portmap-*");
        }
        mapped.ports.gc(&[]).ok();
        assert_eq!(listed(&node, 8053), Vec::<String>::new());
        mapped.main.del(None);
    }
}

#[test]
fn flows_of_others_stay() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    node.run("ip addr add 198.51.100.77/32 dev lo");
    outside.run(&format!("ip route add 198.51.100.77 via {NODE4}"));
    outside.run(&format!("ip route add 10.1.0.0/24 via {NODE4}"));
    // One address has a mapping of its own for the port.
    let own = portmap(&json!([port_on("198.51.100.77", 8053, 53, "udp"), port(8054, 54, "udp")]));
    Mapped::add(&node, &one, &conf::v4(), &own);
    let servers = [server(&one, 53), server(&one, 54), server(&outside, 8053)];
    let kept = [
        connected(&outside, "198.51.100.77:8053"),
        connected(&outside, &at(NODE4, 8054)),
        // A pod to another host's port of that number.
        connected(&one, &at(OUTSIDE4, 8053)),
    ];
    for (client, server) in kept.iter().zip(&servers) {
        ask(client, server).unwrap();
    }
    // Another table's translation of an address that is not the node's.
    node.sh("nft 'table ip services { chain pre { type nat hook prerouting priority dstnat;
            ip daddr 10.96.0.1 udp dport 8053 dnat to 10.1.0.2:53; }; }'");
    outside.run(&format!("ip route add 10.96.0.1 via {NODE4}"));
    ask(&connected(&outside, "10.96.0.1:8053"), &servers[0]).unwrap();
    let ids = |port| -> Vec<String> {
        let id = |line: String| line.split(" id=").nth(1).unwrap_or_default().to_owned();
        let listed = node.run("conntrack -L -p udp -o id");
        let wanted = format!("dport={port} ");
        listed.lines().filter(|l| l.contains(&wanted)).map(|l| id(l.to_owned())).collect()
    };
    let before = (ids(8053), ids(8054));
    assert_eq!((before.0.len(), before.1.len()), (3, 1));
    let wild = portmap(&json!([port(8053, 53, "udp")]));
    let second = Mapped::add(&node, &two, &conf::v4(), &wild);
    assert_eq!((ids(8053), ids(8054)), before, "after ADD");
    second.try_ports("DEL").ok();
    assert_eq!((ids(8053), ids(8054)), before, "after DEL");
}

#[test]
fn a_flow_to_another_port_of_the_same_pod_is_led_anew() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    let mapped = Mapped::add(&node, &pod, &conf::v4(), &portmap(&json!([port(8053, 53, "udp")])));
    let client = connected(&outside, &at(NODE4, 8053));
    assert_eq!(ask(&client, &server(&pod, 53)), Ok(ip(OUTSIDE4)));
    let other = with(&portmap(&json!([port(8053, 54, "udp")])), &json!({}));
    node.attach(&other, &pod).call("ADD", Some(&mapped.result)).run(&node).ok();
    assert_eq!(ask(&client, &server(&pod, 54)), Ok(ip(OUTSIDE4)));
}

/// The kernel selects flows by whole addresses, and few selections are faster than a listing: the
/// others are listed.
#[test]
fn flows_to_many_ports_addresses_and_networks_follow_too() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    let many: Vec<_> = (0..12).map(|at| port(8060 + at, 60 + at, "udp")).collect();
    for (more, ports, host, own) in [
        ("", json!([port(8053, 53, "udp")]), 8053, 53),
        ("", json!(many), 8071, 71),
        ("ip route add local 203.0.113.0/24 dev lo", json!([port(8053, 53, "udp")]), 8053, 53),
        (
            "for i in $(seq 20); do ip addr add 203.0.113.$i/32 dev lo; done",
            json!([port(8053, 53, "udp")]),
            8053,
            53,
        ),
    ] {
        node.sh(&format!("{more}\n true"));
        let mapped = Mapped::without_ports(&node, &pod, &conf::dual(), &portmap(&ports));
        let places = [(NODE4, false), (NODE6, false), ("127.0.0.1", true), ("127.0.0.2", true)];
        let clients = places.map(|(address, inside)| {
            let to = at(address, host);
            if inside { connected(&node, &to) } else { connected(&outside, &to) }
        });
        let before = server(&node, host);
        clients.iter().for_each(|client| assert!(arrives(client, &before)));
        mapped.add_ports();
        let after = server(&pod, own);
        for (client, (address, _)) in clients.iter().zip(places) {
            assert!(arrives(client, &after), "{address} after ADD, {ports}, {more}");
        }
        mapped.try_ports("DEL").ok();
        for (client, (address, _)) in clients.iter().zip(places) {
            assert!(arrives(client, &before), "{address} after DEL, {ports}, {more}");
        }
        mapped.main.del(None);
    }
}

/// A flow is not of the port because it comes from the node: another's mapping has 127.0.0.1.
#[test]
fn flows_to_anothers_127_0_0_1_stay() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let own = portmap(&json!([port_on("127.0.0.1", 8053, 53, "udp")]));
    Mapped::add(&node, &one, &conf::v4(), &own);
    let (client, server) = (connected(&node, "127.0.0.1:8053"), server(&one, 53));
    ask(&client, &server).unwrap();
    let before = listed(&node, 8053).len();
    let wild = portmap(&json!([port(8053, 53, "udp")]));
    let second = Mapped::add(&node, &two, &conf::v4(), &wild);
    assert_eq!((listed(&node, 8053).len(), before), (1, 1));
    second.try_ports("DEL").ok();
    assert_eq!(listed(&node, 8053).len(), 1);
}
