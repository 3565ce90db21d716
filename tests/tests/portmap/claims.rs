//! Who has a port: one attachment, until its DEL.

use ferrule_tests::conf;
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, OUTSIDE4};
use ferrule_tests::{Node, Outside, Pod, threads};
use serde_json::json;

use crate::{Mapped, at, ip, port, port_on, portmap, rules, tcp};

#[test]
fn a_port_that_another_attachment_has_is_refused_by_name() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    let taken = json!([port(8080, 80, "tcp"), port_on(NODE4, 9090, 80, "udp")]);
    let first = Mapped::add(&node, &one, &conf::dual(), &portmap(&taken));
    for (mapping, name) in [
        (port(8080, 81, "tcp"), "host port tcp 0.0.0.0:8080 is taken"),
        (port_on("0.0.0.0", 8080, 80, "TCP"), "host port tcp 0.0.0.0:8080 is taken"),
        (port_on("::", 8080, 80, "tcp"), "host port tcp [::]:8080 is taken"),
        (port_on(NODE4, 9090, 80, "udp"), "host port udp 198.51.100.1:9090 is taken"),
        (port_on("::ffff:198.51.100.1", 9090, 80, "udp"), "host port udp 198.51.100.1:9090"),
    ] {
        let second = Mapped::without_ports(&node, &two, &conf::dual(), &portmap(&json!([mapping])));
        let error = second.try_ports("ADD").err();
        error.expect(7, name);
        error.expect(7, &format!("eth0 of container {:?} in network \"pods\" has it", one.id()));
        second.main.del(None);
    }
    assert_eq!(tcp(&outside, &at(NODE4, 8080), &one, 80), Ok(ip(OUTSIDE4)));
    first.try_ports("DEL").ok();
    Mapped::add(&node, &two, &conf::dual(), &portmap(&taken));
    assert_eq!(tcp(&outside, &at(NODE4, 8080), &two, 80), Ok(ip(OUTSIDE4)));
}

#[test]
fn another_protocol_address_or_port_is_another_port() {
    let node = Node::new();
    let pods: Vec<Pod> = (0..5).map(|_| node.pod()).collect();
    let mappings = [
        port(8080, 80, "tcp"),
        port(8080, 80, "udp"),
        port(8080, 80, "sctp"),
        port(8081, 80, "tcp"),
        port_on("127.0.0.1", 8080, 80, "tcp"),
    ];
    for (pod, mapping) in pods.iter().zip(&mappings) {
        Mapped::add(&node, pod, &conf::dual(), &portmap(&json!([mapping]))).try_ports("CHECK").ok();
    }
}

#[test]
fn add_once_more_changes_nothing() {
    let (node, pod) = (Node::new(), Pod::new());
    let ports = portmap(&json!([port(8080, 80, "tcp"), port(8053, 53, "udp")]));
    let mapped = Mapped::add(&node, &pod, &conf::dual(), &ports);
    let before = rules(&node);
    mapped.add_ports();
    assert_eq!(rules(&node), before);
    // The record may be lost, too.
    node.sh("rm /run/ferrule/attachments/portmap-*");
    mapped.add_ports();
    assert_eq!(rules(&node), before);
    mapped.try_ports("DEL").ok();
    assert_eq!(rules(&node), "");
}

#[test]
fn add_with_other_ports_replaces_those_before() {
    let (node, pod) = (Node::new(), Pod::new());
    let mapped = Mapped::add(&node, &pod, &conf::dual(), &portmap(&json!([port(8080, 80, "tcp")])));
    for ports in [json!([port(8081, 80, "tcp")]), json!([port(8081, 81, "tcp")]), json!([])] {
        let again = Mapped {
            ports: node.attach(&portmap(&ports), &pod),
            result: mapped.result.clone(),
            main: mapped.main.clone(),
            node: &node,
        };
        again.add_ports();
        again.try_ports("CHECK").ok();
        assert!(!rules(&node).contains("8080"));
        assert_eq!(rules(&node).is_empty(), ports == json!([]));
    }
}

#[test]
fn the_same_mapping_twice_is_one_and_two_targets_are_refused() {
    let (node, pod) = (Node::new(), Pod::new());
    let twice = json!([
        port(8080, 80, "tcp"),
        port_on("0.0.0.0", 8080, 80, "tcp"),
        port_on("", 8080, 80, "TCP")
    ]);
    let mapped = Mapped::add(&node, &pod, &conf::dual(), &portmap(&twice));
    mapped.try_ports("DEL").ok();
    let two = portmap(&json!([port(8080, 80, "tcp"), port(8080, 81, "tcp")]));
    let error = node.attach(&two, &pod).call("ADD", Some(&mapped.result)).run(&node).err();
    error.expect(7, "host port tcp 0.0.0.0:8080 is mapped twice");
    error.expect(7, "10.1.0.2:80 and to 10.1.0.2:81");
    assert_eq!(rules(&node), "");
}

/// Of many that ask for one port at once one gets it, and all that are refused leave nothing.
#[test]
fn of_many_at_once_one_has_the_port() {
    let node = Node::new();
    let pods: Vec<Pod> = (0..8).map(|_| node.pod()).collect();
    let all: Vec<Mapped> = pods
        .iter()
        .zip(0..)
        .map(|(pod, nth)| {
            let ports = json!([port(8080, 80, "tcp"), port(9000 + nth, 80, "tcp")]);
            Mapped::without_ports(&node, pod, &conf::v4(), &portmap(&ports))
        })
        .collect();
    let outcomes = threads::at_once(&all, |_, mapped| mapped.try_ports("ADD").code == Some(0));
    assert_eq!(outcomes.iter().filter(|done| **done).count(), 1, "{outcomes:?}");
    let listed = rules(&node);
    for (mapped, has) in all.iter().zip(outcomes) {
        let check = mapped.try_ports("CHECK");
        assert_eq!(check.code == Some(0), has, "{check:?}\n{listed}");
        mapped.try_ports("DEL").ok();
    }
    assert_eq!(rules(&node), "");
}
