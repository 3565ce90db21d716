//! Addresses asked for by name.

use ferrule_tests::invoke::addresses;
use ferrule_tests::{Node, Pod};
use serde_json::{Value, json};

use crate::{five, lease, ranges};

/// The three ways to ask.
fn ways(addresses: &[&str]) -> [(Value, Option<String>); 3] {
    [
        (json!({"runtimeConfig": {"ips": addresses}}), None),
        (json!({"args": {"cni": {"ips": addresses}}}), None),
        (json!({}), Some(format!("IgnoreUnknown=1;IP={}", addresses.join(",")))),
    ]
}

fn ask(node: &Node, config: &Value, way: &(Value, Option<String>)) -> ferrule_tests::Outcome {
    let pod = Pod::new();
    let mut attachment = node.attach(config, &pod).with(&way.0);
    attachment.args = way.1.clone();
    attachment.try_add()
}

#[test]
fn a_free_address_is_given() {
    for way in ways(&["10.1.0.4"]) {
        let result = ask(&Node::new(), &five(), &way).ok();
        assert_eq!(addresses(&result), ["10.1.0.4"], "{way:?}");
    }
}

#[test]
fn a_prefix_length_is_ignored() {
    for way in &ways(&["10.1.0.4/32"])[..2] {
        let result = ask(&Node::new(), &five(), way).ok();
        assert_eq!(result["ips"][0]["address"], "10.1.0.4/29", "{way:?}");
    }
}

#[test]
fn each_range_set_takes_its_own() {
    let config = ranges(&[json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "fd00:1::/64"})]);
    for way in &ways(&["fd00:1::77", "10.1.0.77"])[..2] {
        let result = ask(&Node::new(), &config, way).ok();
        assert_eq!(addresses(&result), ["10.1.0.77", "fd00:1::77"], "{way:?}");
    }
    for way in &ways(&["fd00:1::77"])[..2] {
        let result = ask(&Node::new(), &config, way).ok();
        assert_eq!(addresses(&result), ["10.1.0.2", "fd00:1::77"], "{way:?}");
    }
}

#[track_caller]
fn refused(node: &Node, config: &Value, asked: &[&str], text: &str) {
    for way in ways(asked) {
        if way.1.is_some() && asked.len() > 1 {
            continue;
        }
        let before = node.leases();
        let error = ask(node, config, &way).err();
        assert!(error.text().contains(text), "{way:?}: expected `{text}`, got {error:?}");
        assert_eq!(node.leases(), before, "{way:?} left a lease");
    }
}

#[test]
fn a_taken_address_is_refused() {
    let node = Node::new();
    let (pod, address) = lease(&node, &five());
    refused(
        &node,
        &five(),
        &[&address],
        "requested IP address 10.1.0.2 is not available in range set",
    );
    drop(pod);
}

#[test]
fn the_gateway_is_refused() {
    refused(&Node::new(), &five(), &["10.1.0.1"], "requested ip 10.1.0.1 is subnet's gateway");
}

#[test]
fn what_is_outside_of_every_range_is_refused() {
    let narrow = ranges(&[json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.20",
        "rangeEnd": "10.1.0.30"})]);
    for address in ["10.1.0.19", "10.1.0.31", "192.0.2.1", "fd00::1"] {
        refused(&Node::new(), &narrow, &[address], "failed to allocate all requested IPs");
        refused(&Node::new(), &narrow, &[address], address);
    }
}

#[test]
fn one_request_is_honoured_for_each_set() {
    let asked = ["10.1.0.3", "10.1.0.4"];
    refused(&Node::new(), &five(), &asked, "failed to allocate all requested IPs");
}

#[test]
fn network_and_broadcast_are_refused() {
    let wide = ranges(&[json!({"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.0",
        "rangeEnd": "10.1.0.7"})]);
    for address in ["10.1.0.0", "10.1.0.7"] {
        refused(&Node::new(), &wide, &[address], address);
    }
}

#[test]
fn nonsense_is_refused() {
    for address in ["", "10.1.0", "10.1.0.2.3", "../../etc/passwd", "10.1.0.4/99"] {
        let (node, way) = (Node::new(), &ways(&[address])[0]);
        let error = ask(&node, &five(), way).err();
        assert_eq!(error.code, 7, "{address:?}: {error:?}");
        assert!(node.leases().is_empty());
    }
}

/// A requested address does not make later ADDs skip free ones.
#[test]
fn a_request_does_not_lead_past_free_addresses_for_ever() {
    let node = Node::new();
    ask(&node, &five(), &ways(&["10.1.0.6"])[0]).ok();
    let mut rest: Vec<String> = (0..4).map(|_| lease(&node, &five()).1).collect();
    rest.sort();
    assert_eq!(rest, ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5"]);
}
