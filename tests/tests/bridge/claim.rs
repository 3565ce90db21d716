//! The host veth is the claim on an attachment, and what is ours is recognised by name.

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, OUTSIDE4};
use ferrule_tests::packets::{ping, tcp_source};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Outside, Pod, Snapshot};
use serde_json::{Value, json};

use crate::{address, steady, veth};

#[test]
fn the_host_veth_is_known_by_its_name_and_alias() {
    let (node, pod) = (Node::new(), Pod::new());
    let result = node.attach(&conf::full(), &pod).add();
    let name = veth(&result);
    let hash = name.strip_prefix("veth").expect("veth and a hash");
    assert!(hash.len() == 11 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
    let alias = node.read(&format!("/sys/class/net/{name}/ifalias"));
    for part in [hash, "pods", pod.id(), "eth0"] {
        assert!(alias.contains(part), "`{part}` in {alias}");
    }
    let rules = node.run("nft list ruleset");
    assert!(rules.contains(hash), "our elements carry the same hash:\n{rules}");
}

/// A saved ruleset loads again: comments are no longer than nft takes.
#[test]
fn the_ruleset_can_be_saved_and_restored() {
    let (node, pod) = (Node::new(), Pod::new());
    let mut attachment = node.attach(&conf::full(), &pod);
    attachment.container = format!("long-{}", "x".repeat(200));
    let result = attachment.add();
    node.sh("nft list ruleset >/run/saved; nft flush ruleset");
    attachment.try_check(&result).err();
    node.sh("nft -f /run/saved; rm /run/saved");
    attachment.check(&result);
    attachment.del(Some(&result));
}

/// Two networks on a node: the last pod of one takes its chains along, and no more.
#[test]
fn a_network_that_ends_leaves_another_whole() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    let keys = json!({"name": "others", "bridge": "cni1", "ipam": {"ranges":
        [[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]]}});
    let (ours, theirs) =
        (node.attach(&conf::full(), &one), node.attach(&conf::full(), &two).with(&keys));
    let first = ours.add();
    let alone = node.run("nft -s list ruleset");
    let second = theirs.add();
    theirs.del(Some(&second));
    assert_eq!(node.run("nft -s list ruleset"), alone);
    ours.check(&first);
    assert_eq!(tcp_source(&one, &outside, OUTSIDE4), Ok(NODE4.parse().unwrap()));
    ours.del(Some(&first));
    assert_eq!(node.run("nft -s list ruleset"), "", "no tables without users");
}

/// Everything of an attachment goes by its network's name, so a network may be renamed, bridged
/// differently or given other ranges while pods live: they are still taken down by their old name.
#[test]
fn a_bridge_renamed_in_the_configuration_does_not_orphan_a_pod() {
    let (node, pod) = (Node::new(), Pod::new());
    let result = node.attach(&conf::full(), &pod).add();
    let changed = json!({"bridge": "cni9", "ipMasq": false, "macspoofchk": false});
    node.attach(&conf::full(), &pod).with(&changed).netns(None).del(None);
    assert!(!node.links().contains(&veth(&result).to_owned()));
    assert_eq!(node.run("nft -s list ruleset"), "");
}

/// Somebody else marked the link: it is not taken from him, and the pod that still sends keeps its
/// address to itself.
#[test]
fn del_of_a_link_that_another_took_over_keeps_the_lease() {
    for with_result in [true, false] {
        let (node, pod) = (Node::new(), Pod::new());
        let before = steady(Snapshot::of(&node));
        let small = json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/29"}]]}});
        let config = conf::with(&conf::full(), &small);
        let attachment = node.attach(&config, &pod);
        let result = attachment.add();
        let host = veth(&result);
        let alias = node.read(&format!("/sys/class/net/{host}/ifalias"));
        node.run(&format!("ip link set {host} alias mon"));
        let error = attachment.try_del(with_result.then_some(&result)).err();
        assert!(error.text().contains("mon"), "{error:?}");
        let link = node.link(host).expect("the link stays");
        let flags: Vec<&str> =
            link["flags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(flags.contains(&"UP") && flags.contains(&"LOWER_UP"), "it stays up: {flags:?}");
        ping(&pod, GATEWAY4);
        assert_eq!(node.leases(), [address(&result, 0)]);
        // The range goes once around: no other pod gets the address.
        for _ in 0..6 {
            let other = Pod::new();
            let next = node.attach(&config, &other);
            let given = next.add();
            assert_ne!(address(&given, 0), address(&result, 0));
            next.del(Some(&given));
        }
        node.sh(&format!("ip link set {host} alias '{alias}'"));
        attachment.del(with_result.then_some(&result));
        assert!(node.leases().is_empty());
        assert!(pod.links().is_empty());
        assert_same(&before, &steady(Snapshot::of(&node)));
    }
}
