//! What the reference made is deleted by ours whole: its `CNI-…` chains and jumps, its commented
//! nft rules, its veth and its lease.

use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node, Pod};
use serde_json::Value;

use crate::{Kind, kinds, left, newest, require_bare, rules, veths};

struct Made {
    node: Node,
    pod: Pod,
    config: Value,
    result: Value,
}

fn by_reference(kind: Kind) -> Made {
    let (node, pod, config) = (Node::new(), Pod::new(), kind.config());
    let result = node.attach(&config, &pod).by(&Bins::reference()).add();
    let made = rules(&node);
    let expected = kind.masquerade || kind.spoof_check;
    assert_eq!(!made.is_empty(), expected, "the reference made {made:#?}");
    Made { node, pod, config, result }
}

/// Makes and ends an attachment of each kind; fails with all that is left of any.
#[track_caller]
fn bare_after(end: impl Fn(&Made)) {
    let mut text = String::new();
    for kind in kinds(false).chain(kinds(true)) {
        let made = by_reference(kind);
        end(&made);
        let left = left(&made.node);
        if !left.is_empty() {
            text += &format!("{kind:?}: left are\n{left}");
        }
    }
    assert!(text.is_empty(), "{text}");
}

#[test]
fn del_with_everything_known() {
    bare_after(|made| {
        made.node.attach(&made.config, &made.pod).del(Some(&made.result));
        assert!(made.pod.links().is_empty());
    });
}

/// The pod's netns is gone, and its veth with it; the rest is found by name.
#[test]
fn del_without_a_netns() {
    for netns in [None, Some("/run/netns/gone")] {
        bare_after(|made| {
            made.pod.run("ip link del eth0");
            made.node.attach(&made.config, &made.pod).netns(netns).del(Some(&made.result));
        });
    }
}

/// The veth that lives is named by the result alone.
#[test]
fn del_of_a_living_pod_without_its_netns() {
    let made = by_reference(Kind { dual: true, masquerade: true, spoof_check: true });
    made.node.attach(&made.config, &made.pod).netns(None).del(Some(&made.result));
    require_bare(&made.node, "no netns");
}

/// The network no longer masquerades by its configuration: what it made goes all the same.
#[test]
fn del_under_a_changed_configuration() {
    let made = by_reference(Kind { dual: true, masquerade: true, spoof_check: true });
    let plain = Kind { dual: true, masquerade: false, spoof_check: false }.config();
    made.node.attach(&plain, &made.pod).del(Some(&made.result));
    require_bare(&made.node, "ipMasq and macspoofchk switched off");
}

#[test]
fn gc_spares_what_is_listed() {
    let made = by_reference(Kind { dual: true, masquerade: true, spoof_check: true });
    let before = (rules(&made.node), veths(&made.node));
    made.node.attach(&newest(&made.config), &made.pod).gc(&[(made.pod.id(), "eth0")]).ok();
    assert_eq!((rules(&made.node), veths(&made.node)), before);
    made.node.attach(&made.config, &made.pod).check(&made.result);
}

/// DEL of one takes nothing of another, of whichever network.
#[test]
fn del_spares_the_neighbours() {
    let kind = Kind { dual: true, masquerade: true, spoof_check: true };
    let made = by_reference(kind);
    let neighbour = Pod::new();
    let attachment = made.node.attach(&made.config, &neighbour).by(&Bins::reference());
    let result = attachment.add();
    let foreign = "-A POSTROUTING -s 192.0.2.0/24 -m comment --comment CNI-lookalike -j MASQUERADE";
    made.node.run(&format!("iptables -t nat {foreign}"));
    made.node.attach(&made.config, &made.pod).del(Some(&made.result));
    attachment.check(&result);
    attachment.del(Some(&result));
    let rest = rules(&made.node);
    assert!(rest.iter().any(|rule| rule.contains("CNI-lookalike")), "{rest:#?}");
    made.node.run(&format!("iptables -t nat {}", foreign.replacen("-A", "-D", 1)));
    require_bare(&made.node, "after both");
}
