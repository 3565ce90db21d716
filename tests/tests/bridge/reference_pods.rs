//! Attachments that the reference made before its executables were replaced.

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{ping, tcp_source};
use ferrule_tests::{Bins, Node, Outside, Pod};

use crate::veth;

/// The lines of all rulesets that are the reference's.
fn rules(node: &Node) -> Vec<String> {
    let listed =
        node.run("iptables-save") + &node.run("ip6tables-save") + &node.run("nft list ruleset");
    let theirs = |line: &&str| line.contains("CNI-") || line.contains("cni-br-iface");
    listed.lines().filter(theirs).map(|line| line.trim().to_owned()).collect()
}

/// The reference does not wait until its IPv6 addresses can be used.
fn settled(node: &Node, pods: &[&Pod]) {
    node.settle();
    pods.iter().for_each(|pod| pod.settle());
}

#[test]
fn one_made_by_the_reference_is_deleted_whole() {
    for netns in [true, false] {
        let (node, pod) = (Node::new(), Pod::new());
        let outside = Outside::beside(&node);
        let theirs = node.attach(&conf::full(), &pod).by(&Bins::reference());
        let result = theirs.add();
        let rules_then = rules(&node).join("\n");
        assert!(rules_then.contains("-j CNI-"), "{rules_then}");
        assert!(rules_then.contains("cni-br-iface"), "{rules_then}");
        assert_eq!(node.leases().len(), 2);
        ping(&pod, GATEWAY4);
        assert_eq!(tcp_source(&pod, &outside, OUTSIDE4), Ok(NODE4.parse().unwrap()));
        let mut ours = node.attach(&conf::full(), &pod);
        ours.check(&result);
        if !netns {
            ours = ours.netns(None);
        }
        ours.del(Some(&result));
        assert!(!node.links().contains(&veth(&result).to_owned()), "{:?}", node.links());
        assert!(pod.links().is_empty());
        assert!(rules(&node).is_empty(), "{:#?}", rules(&node));
        assert!(node.leases().is_empty(), "{:?}", node.leases());
        ours.del(Some(&result));
    }
}

/// Another's of the same network stays whole, with packets.
#[test]
fn deleting_one_made_by_the_reference_leaves_another() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    let staying = node.attach(&conf::full(), &two).by(&Bins::reference());
    let kept = staying.add();
    let alone = rules(&node);
    let gone = node.attach(&conf::full(), &one).by(&Bins::reference()).add();
    settled(&node, &[&one, &two]);
    assert_ne!(rules(&node), alone);
    node.attach(&conf::full(), &one).del(Some(&gone));
    assert_eq!(rules(&node), alone);
    assert_eq!(tcp_source(&two, &outside, OUTSIDE4), Ok(NODE4.parse().unwrap()));
    assert_eq!(tcp_source(&two, &outside, OUTSIDE6), Ok(NODE6.parse().unwrap()));
    ping(&two, GATEWAY6);
    staying.check(&kept);
}

#[test]
fn gc_removes_the_references_masquerade_of_what_is_not_valid() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    node.attach(&conf::full(), &one).by(&Bins::reference()).add();
    node.attach(&conf::full(), &two).by(&Bins::reference()).add();
    settled(&node, &[&one, &two]);
    let masquerade = |pod: &Pod| {
        let saved = node.run("iptables-save") + &node.run("ip6tables-save");
        let id = format!("id: \\\"{}\\\"", pod.id());
        saved.lines().filter(|line| line.contains(&id)).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = masquerade(&two);
    assert!(!masquerade(&one).is_empty() && !before.is_empty(), "{}", node.run("iptables-save"));
    node.attach(&conf::full(), &two).gc(&[(two.id(), "eth0")]).ok();
    assert!(masquerade(&one).is_empty(), "{:#?}", masquerade(&one));
    assert_eq!(masquerade(&two), before);
    assert_eq!(tcp_source(&two, &outside, OUTSIDE4), Ok(NODE4.parse().unwrap()));
    assert_eq!(tcp_source(&two, &outside, OUTSIDE6), Ok(NODE6.parse().unwrap()));
    ping(&two, GATEWAY4);
}
