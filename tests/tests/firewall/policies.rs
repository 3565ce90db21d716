//! ingressPolicy, by packets between bridges, as the reference's.

use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node, conf};
use serde_json::{Value, json};

use crate::chain::{Chain, leaves, network, node, reaches};

/// Frames between the pods of a bridge pass hook forward too.
fn filter_bridged(node: &Node) {
    for key in ["iptables", "ip6tables"] {
        node.set_sysctl(&format!("net/bridge/bridge-nf-call-{key}"), "1");
    }
}

fn policy(policy: &str) -> Value {
    match policy {
        "" => json!({"backend": "iptables"}),
        policy => json!({"backend": "iptables", "ingressPolicy": policy}),
    }
}

/// Which packets arrive: within the first bridge, from it to the second, and back.
fn paths(bins: &Bins, first: &str, second: &str) -> [bool; 3] {
    let (node, outside) = node();
    filter_bridged(&node);
    let one = Chain::add_by(&node, bins, &network("br-one", 1), &policy(first));
    let peer = Chain::add_by(&node, bins, &network("br-one", 1), &policy(first));
    let two = Chain::add_by(&node, bins, &network("br-two", 2), &policy(second));
    for pod in [&one, &peer, &two] {
        pod.check();
        assert!(leaves(pod, &outside) && reaches(&outside, pod), "{first} {second}: outside");
    }
    [reaches(&one.pod, &peer), reaches(&one.pod, &two), reaches(&two.pod, &one)]
}

#[test]
fn bridges_with_a_policy_are_apart_as_the_references_are() {
    for (first, second, wanted) in [
        ("open", "open", [true, true, true]),
        ("", "same-bridge", [true, true, true]),
        ("same-bridge", "open", [true, true, true]),
        ("same-bridge", "same-bridge", [true, false, false]),
        ("isolated", "same-bridge", [false, false, false]),
        ("isolated", "open", [false, true, true]),
    ] {
        for bins in [Bins::ours(), Bins::reference()] {
            assert_eq!(paths(&bins, first, second), wanted, "{first:?} {second:?} {bins:?}");
        }
    }
}

#[test]
fn a_bridge_is_open_again_when_its_last_pod_with_a_policy_is_gone() {
    let (node, _outside) = node();
    let ours = Bins::ours();
    let keys = policy("same-bridge");
    let pods = [1, 1, 2].map(|number| {
        Chain::add_by(&node, &ours, &network(&format!("br-{number}"), number), &keys)
    });
    assert!(!reaches(&pods[1].pod, &pods[2]));
    pods[0].del();
    assert!(!reaches(&pods[1].pod, &pods[2]));
    let open = Chain::add_by(&node, &ours, &network("br-1", 1), &policy("open"));
    pods[1].del();
    assert!(reaches(&open.pod, &pods[2]) && reaches(&pods[2].pod, &open));
    pods[2].check();
    for pod in [&pods[2], &open] {
        pod.del();
    }
    assert!(!node.run("nft list ruleset").contains("ferrule"));
}

#[test]
fn a_policy_needs_no_iptables_and_holds_where_all_is_accepted() {
    let (node, _outside) = node();
    let keys = json!({"ingressPolicy": "same-bridge"});
    let pods =
        [1, 2].map(|n| Chain::add_by(&node, &Bins::ours(), &network(&format!("br-{n}"), n), &keys));
    node.run("iptables-nft -I FORWARD -j ACCEPT");
    node.run("ip6tables-nft -I FORWARD -j ACCEPT");
    assert!(!reaches(&pods[0].pod, &pods[1]));
}

#[test]
fn what_cannot_be_a_policy_is_refused_before_anything_is_made() {
    let (node, _outside) = node();
    let pod = Chain::bridged(&node, &Bins::ours(), &network("cni0", 1), &json!({}));
    let before = node.run("nft list ruleset");
    let bare = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}]});
    // As macvlan and host-device answer. The node has a link of that name too.
    let of_the_pod =
        conf::with(&bare, &json!({"interfaces": [{"name": "eth0", "sandbox": pod.pod.netns()}]}));
    for (keys, previous, code, text) in [
        (json!({"ingressPolicy": "closed"}), &pod.result, 7, "unknown ingress policy: \"closed\""),
        (
            json!({"ingressPolicy": "isolated"}),
            &bare,
            7,
            "make sure to chain \"firewall\" plugin with \"bridge\"",
        ),
        (
            json!({"ingressPolicy": "same-bridge"}),
            &of_the_pod,
            7,
            "the first interface of prevResult, \"eth0\", is the pod's",
        ),
        (
            json!({"iptablesAdminChainName": "DROP"}),
            &pod.result,
            7,
            "iptablesAdminChainName \"DROP\"",
        ),
        (json!({"backend": "firewalld"}), &pod.result, 2, "backend \"firewalld\" is not served"),
        (
            json!({"iptablesAdminChainName": "FORWARD"}),
            &pod.result,
            7,
            "iptablesAdminChainName \"FORWARD\"",
        ),
    ] {
        let call = pod.firewall.clone().with(&keys);
        call.call("ADD", Some(previous)).run(&node).err().expect(code, text);
    }
    pod.firewall.call("ADD", None).run(&node).err().expect(7, "Required prevResult missing");
    assert_eq!(node.run("nft list ruleset"), before);
    assert!(
        !node.exists("/run/ferrule/attachments")
            || !node.sh("ls /run/ferrule/attachments").contains("firewall")
    );
}
