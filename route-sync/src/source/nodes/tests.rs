use super::*;
use crate::prefix::overlap;
use proptest::prelude::*;

fn node(name: &str, addresses: &[&str], cidrs: &[&str]) -> Node {
    Node {
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        pod_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
    }
}

fn accept(nodes: Vec<Node>) -> Accepted {
    let services = ["10.96.0.0/16".parse().unwrap()];
    NodeSet { nodes, ..NodeSet::default() }.accept("own", &[], &services)
}

/// The one refusal of a set, in words.
fn refusal(nodes: Vec<Node>) -> String {
    let accepted = accept(nodes);
    let [refused] = &accepted.refused[..] else { panic!("{accepted:#?}") };
    let cidr = refused.cidr.map(|cidr| format!("{cidr} ")).unwrap_or_default();
    format!("{} {cidr}{}", refused.node, refused.reason)
}

#[test]
fn a_valid_set_is_taken_whole() {
    let own = node("own", &["192.0.2.1"], &["10.1.1.0/24", "fd00:1::/64"]);
    let b = node("b", &["192.0.2.2", "2001:db8::2"], &["10.1.2.0/24"]);
    let a = node("a", &["192.0.2.3"], &[]);
    let accepted = accept(vec![b.clone(), own.clone(), a.clone()]);
    let without_ipv6 = Some("a".to_owned());
    let others = vec![a, b];
    let expected = Accepted { own: Some(own), others, without_ipv6, ..Accepted::default() };
    assert_eq!(accepted, expected);
    assert_eq!(accept(vec![]).own, None);
}

/// Only accepted addresses count, equally on every node; a node without an address has no effect.
#[test]
fn who_lacks_ipv6_is_the_same_wherever_one_looks_from() {
    let both = |name: &str, at: &str| {
        node(name, &[&format!("192.0.2.{at}"), &format!("2001:db8::{at}")], &[])
    };
    let six = node("six", &["2001:db8::6"], &[]);
    let none = node("none", &[], &[]);
    let all = vec![both("b", "2"), both("own", "1"), six, none];
    assert_eq!(accept(all.clone()).without_ipv6, None);
    let link_local = node("link", &["192.0.2.9", "fe80::9"], &[]);
    let taken = node("taken", &["192.0.2.8", "2001:db8::2"], &[]);
    let nodes = [all, vec![taken, link_local]].concat();
    for own in ["own", "link", "taken", "b"] {
        let accepted = NodeSet { nodes: nodes.clone(), ..NodeSet::default() }.accept(own, &[], &[]);
        assert_eq!(accepted.without_ipv6.as_deref(), Some("link"), "{own}");
    }
}

#[test]
fn a_node_without_a_cidr_may_be_withheld() {
    let of = |own: Node, refused: Vec<Refused>| {
        let other = node("b", &["192.0.2.2"], &[]);
        let set = NodeSet { nodes: vec![own, other], refused };
        let mut accepted = set.accept("own", &["10.1.0.0/16".parse().unwrap()], &[]);
        accepted.withhold_unassigned();
        (accepted.own.is_some(), accepted.unassigned)
    };
    assert_eq!(of(node("own", &["192.0.2.1"], &["10.1.1.0/24"]), vec![]), (true, false));
    assert_eq!(of(node("own", &["192.0.2.1"], &[]), vec![]), (false, true));
    // One that is refused was assigned; something else that is refused does not matter.
    assert_eq!(of(node("own", &["192.0.2.1"], &["10.9.1.0/24"]), vec![]), (true, false));
    let refused = Refused { node: "own".to_owned(), cidr: None, reason: "x".to_owned() };
    assert_eq!(of(node("own", &["192.0.2.1"], &[]), vec![refused]), (false, true));
    assert_eq!(of(node("other", &["192.0.2.1"], &[]), vec![]), (false, false));
}

#[test]
fn what_the_source_refused_is_refused() {
    let refused = vec![Refused { node: "b".to_owned(), cidr: None, reason: "x".to_owned() }];
    let set = NodeSet { nodes: vec![], refused: refused.clone() };
    assert_eq!(set.accept("own", &[], &[]).refused, refused);
}

#[test]
fn contradictions_are_refused_and_named() {
    let own = || node("own", &["192.0.2.1"], &["10.1.1.0/24"]);
    let cases = [
        (
            node("b", &[], &["10.1.0.0/16"]),
            "b 10.1.0.0/16 it overlaps 10.1.1.0/24 of node own; give each node a range of its own",
        ),
        (
            node("b", &[], &["10.1.1.128/25"]),
            "b 10.1.1.128/25 it overlaps 10.1.1.0/24 of node own; give each node a range of its own",
        ),
        (
            node("b", &[], &["10.1.1.0/24"]),
            "b 10.1.1.0/24 it overlaps 10.1.1.0/24 of node own; give each node a range of its own",
        ),
        (
            node("b", &[], &["10.96.4.0/24"]),
            "b 10.96.4.0/24 it overlaps the service range 10.96.0.0/16",
        ),
        (
            node("b", &[], &["192.0.2.0/24"]),
            "b 192.0.2.0/24 it covers 192.0.2.1, which is a node's address; give node b another range",
        ),
        (
            node("b", &[], &["10.1.2.1/24"]),
            "b 10.1.2.1/24 it has host bits; did you mean 10.1.2.0/24?",
        ),
        (
            node("b", &[], &["0.0.0.0/0"]),
            "b 0.0.0.0/0 it is no range of pod addresses: it is wider than /8; give the node another range",
        ),
        (
            node("b", &[], &["fe80::/64"]),
            "b fe80::/64 it is no range of pod addresses: fe80::/10 are link-local addresses; give the node another range",
        ),
        (
            node("b", &[], &["2000::/3"]),
            "b 2000::/3 it is no range of pod addresses: it is wider than /16; give the node \
             another range",
        ),
        (node("b", &[], &["10.1.2.0/24", "10.1.2.0/24"]), "b 10.1.2.0/24 it is listed twice"),
        (node("z", &["192.0.2.1"], &[]), "z address 192.0.2.1 is node own's too; one node has it"),
        (node("b", &["192.0.2.1"], &[]), "own address 192.0.2.1 is node b's too; one node has it"),
        (
            node("b", &["127.0.0.1"], &[]),
            "b 127.0.0.1 is no address that other nodes can reach; give the node one of a link",
        ),
        (
            node("own", &[], &["10.1.2.0/24"]),
            "own the name is in the node set twice; give each node one entry",
        ),
    ];
    for (wrong, words) in cases {
        assert_eq!(refusal(vec![own(), wrong]), words);
    }
}

#[test]
fn the_others_are_served_all_the_same() {
    let accepted = accept(vec![
        node("c", &["192.0.2.3"], &["10.1.3.0/24", "10.1.2.0/24"]),
        node("b", &["192.0.2.2"], &["10.1.2.0/24"]),
        node("own", &["192.0.2.1"], &["10.1.1.0/24"]),
    ]);
    assert_eq!(accepted.refused.len(), 1);
    assert_eq!(accepted.others[0], node("b", &["192.0.2.2"], &["10.1.2.0/24"]));
    assert_eq!(accepted.others[1], node("c", &["192.0.2.3"], &["10.1.3.0/24"]));
}

/// Whoever asks: of two nodes with one address both say the same of whose it is.
#[test]
fn every_node_gives_an_address_to_the_same_node() {
    let set = NodeSet {
        refused: vec![],
        nodes: vec![
            node("b", &["192.0.2.1", "192.0.2.2"], &["10.1.2.0/24"]),
            node("a", &["192.0.2.1"], &["10.1.1.0/24", "10.1.2.0/24"]),
        ],
    };
    for own in ["a", "b"] {
        let accepted = set.accept(own, &[], &[]);
        let of =
            |name| accepted.own.iter().chain(&accepted.others).find(|n| n.name == name).unwrap();
        assert_eq!(of("a").addresses, node("", &["192.0.2.1"], &[]).addresses);
        assert_eq!(of("b").addresses, node("", &["192.0.2.2"], &[]).addresses);
        // Its CIDR each keeps: its pods are there.
        assert!(accepted.own.unwrap().pod_cidrs.contains(&"10.1.2.0/24".parse().unwrap()));
    }
}

/// Whose entry is wrong, where a node's address is inside another's pod CIDR.
#[test]
fn one_entry_removes_no_other_nodes_pods() {
    let honest = || {
        let of = |at: u8| {
            let address = format!("192.0.2.{at}");
            let cidr = format!("10.1.{at}.0/24");
            node(&format!("n{at}"), &[address.as_str()], &[cidr.as_str()])
        };
        vec![of(1), of(2), of(3)]
    };
    let evil = |addresses: &[&str], cidrs: &[&str]| {
        let mut nodes = honest();
        nodes.insert(1, node("a-evil", addresses, cidrs));
        nodes
    };
    for (set, words) in [
        (
            evil(&["10.1.2.5"], &[]),
            "a-evil 10.1.2.5 is inside 10.1.2.0/24, pods of node n2; give the node an address \
             outside of all pod CIDRs",
        ),
        (
            evil(&["192.0.2.9"], &["192.0.2.2/32"]),
            "a-evil 192.0.2.2/32 it covers 192.0.2.2, which is a node's address; give node a-evil another range",
        ),
        (
            evil(&["198.51.100.1"], &["192.0.0.0/16"]),
            "a-evil 192.0.0.0/16 it covers 192.0.2.1, which is a node's address; give node a-evil another range",
        ),
    ] {
        for own in ["n1", "n2", "a-evil"] {
            let accepted =
                NodeSet { nodes: set.clone(), ..NodeSet::default() }.accept(own, &[], &[]);
            let all: Vec<&Node> = accepted.own.iter().chain(&accepted.others).collect();
            assert!(honest().iter().all(|node| all.contains(&node)), "{own}: {accepted:#?}");
            let [refused] = &accepted.refused[..] else { panic!("{accepted:#?}") };
            let cidr = refused.cidr.map(|cidr| format!("{cidr} ")).unwrap_or_default();
            assert_eq!(format!("{} {cidr}{}", refused.node, refused.reason), words);
        }
    }
}

#[test]
fn names_are_shown_as_they_are_or_refused() {
    let own = || node("own", &["192.0.2.1"], &["10.1.1.0/24"]);
    for (name, shown) in [("b\u{1b}[2J", "b?[2J"), ("b\nc", "b?c"), ("b\u{202e}", "b?"), ("", "")] {
        let words = refusal(vec![own(), node(name, &["192.0.2.2"], &["10.1.2.0/24"])]);
        assert!(words.starts_with(&format!("{shown} ")) && words.contains("name"), "{words:?}");
    }
    let long = "é".repeat(200);
    let words = refusal(vec![own(), node(&long, &[], &[])]);
    assert!(words.contains("more than 253 bytes"), "{words}");
    assert_eq!(accept(vec![own(), node("Knoten-ä.example", &[], &[])]).refused, []);
}

proptest! {
    /// What is accepted never contradicts itself, and the order of the source does not matter.
    #[test]
    fn accepted_cidrs_are_disjoint(
        nodes in prop::collection::vec((0..6u8, prop::collection::vec((any::<u16>(), 14..=32u8), 0..4)), 0..8),
        turn in 0..8usize,
    ) {
        let nodes: Vec<Node> = nodes
            .into_iter()
            .enumerate()
            .map(|(at, (address, cidrs))| Node {
                name: format!("n{at}"),
                addresses: vec![IpAddr::from([10, 0, 0, address + 1])],
                pod_cidrs: cidrs
                    .into_iter()
                    .map(|(bits, prefix)| {
                        let net = IpNetwork::new(IpAddr::from([10, 0, (bits >> 8) as u8 & 3, bits as u8]), prefix);
                        let net = net.unwrap();
                        IpNetwork::new(net.network(), prefix).unwrap()
                    })
                    .collect(),
            })
            .collect();
        let given: usize = nodes.iter().map(|node| node.pod_cidrs.len()).sum();
        let mut turned = nodes.clone();
        turned.rotate_left(turn.min(nodes.len()));
        let accepted = NodeSet { nodes, ..NodeSet::default() }.accept("n0", &[], &[]);
        prop_assert_eq!(&accepted, &NodeSet { nodes: turned, ..NodeSet::default() }.accept("n0", &[], &[]));
        let all: Vec<IpNetwork> =
            accepted.own.iter().chain(&accepted.others).flat_map(|node| node.pod_cidrs.clone()).collect();
        for (at, a) in all.iter().enumerate() {
            prop_assert!(all[at + 1..].iter().all(|b| !overlap(*a, *b)));
        }
        let refused = accepted.refused.iter().filter(|refused| refused.cidr.is_some()).count();
        prop_assert_eq!(all.len() + refused, given);
    }
}
