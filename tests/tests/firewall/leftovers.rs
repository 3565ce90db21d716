//! DEL, GC and what stays; CHECK after a firewall's reload.

use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Attachment, Node, Snapshot};
use serde_json::json;

use crate::chain::{Chain, leaves, load, node};

fn state(node: &Node) -> Snapshot {
    // Other programs of the machine mount namespaces there.
    Snapshot::of(node).without_first_use("cni0").without_files(&["/run/netns"])
}

/// A node with policy drop and an administrator's chain.
fn prepared() -> (Node, ferrule_tests::Outside) {
    let (node, outside) = node();
    for tool in ["iptables-nft", "ip6tables-nft"] {
        node.sh(&format!(
            "{tool} -P FORWARD DROP; {tool} -N CNI-ADMIN
            {tool} -A FORWARD -s 192.0.2.1 -j ACCEPT 2>/dev/null || true"
        ));
    }
    (node, outside)
}

#[test]
fn del_removes_everything_in_every_circumstance() {
    let damage = [
        ("nothing", "true"),
        ("the record", "rm /run/ferrule/attachments/firewall-*"),
        ("our table", "nft delete table inet ferrule"),
        ("their table", "iptables-nft -F FORWARD"),
    ];
    for (lost, damage) in damage {
        for (netns, previous) in [(true, true), (false, false), (false, true)] {
            let (node, _outside) = prepared();
            let before = state(&node);
            let pod = Chain::add(&node, &json!({}));
            node.sh(damage);
            let mut del: Attachment<'_> = pod.firewall.clone();
            if !netns {
                del = del.netns(None);
            }
            for _ in 0..2 {
                del.del(previous.then_some(&pod.result));
            }
            pod.del();
            let after = state(&node);
            if lost == "their table" {
                // Their own rule went with the flush.
                assert!(!before.difference(&after).contains('+'), "{}", before.difference(&after));
            } else {
                assert_same(&before, &after);
            }
        }
    }
}

#[test]
fn gc_removes_what_is_not_valid_and_nothing_else() {
    for lost in [false, true] {
        let (node, outside) = prepared();
        let before = state(&node);
        let pods = [Chain::add(&node, &json!({})), Chain::add(&node, &json!({}))];
        if lost {
            node.sh("rm /run/ferrule/attachments/firewall-*");
        }
        let gc = pods[0].firewall.clone().with(&json!({"cniVersion": "1.1.0"}));
        gc.gc(&[(pods[1].pod.id(), "eth0")]).ok();
        assert!(!leaves(&pods[0], &outside) && leaves(&pods[1], &outside));
        pods[1].check();
        gc.gc(&[]).ok();
        for pod in &pods {
            pod.del();
        }
        assert_same(&before, &state(&node));
    }
}

#[test]
fn a_repeated_add_adds_nothing_and_mends_what_a_reload_took() {
    let (node, outside) = prepared();
    let pod = Chain::add(&node, &json!({}));
    let whole = node.run("nft -s list ruleset");
    let again = || pod.firewall.call("ADD", Some(&pod.result)).run(&node).ok();
    assert_eq!(again(), pod.result);
    assert_eq!(node.run("nft -s list ruleset"), whole);
    for (reload, named) in [
        ("iptables-nft -F FORWARD", "the jump to CNI-FORWARD in chain FORWARD of table ip filter"),
        ("iptables-nft -F", "our rule in chain CNI-FORWARD of table ip filter"),
        ("nft flush ruleset", "table inet ferrule is missing"),
        ("iptables-nft -I FORWARD -j DROP", "is never reached"),
        (
            "nft add chain inet ferrule late { type filter hook forward priority 400; policy drop; }",
            "",
        ),
    ] {
        node.run(reload);
        if !named.is_empty() {
            let found = pod.differences();
            assert!(found.contains(named), "{reload}: {found}");
        }
        node.run("iptables-nft -P FORWARD DROP");
        again();
        pod.check();
        if !named.is_empty() {
            assert!(leaves(&pod, &outside), "{reload}");
        }
    }
}

#[test]
fn a_chain_that_denies_and_came_after_the_pod_is_named_and_the_next_pods_add_mends_it() {
    let (node, outside) = node();
    let pod = Chain::add(&node, &json!({}));
    load(
        &node,
        "table inet late { chain forward {
        type filter hook forward priority 5; policy drop; } }",
    );
    assert!(!leaves(&pod, &outside));
    let found = pod.differences();
    assert!(
        found.contains("chain forward of table inet late denies what no rule accepts"),
        "{found}"
    );
    let next = Chain::add(&node, &json!({}));
    for pod in [&pod, &next] {
        assert!(leaves(pod, &outside));
        pod.check();
    }
}

#[test]
fn counters_and_rules_of_others_are_as_they_were() {
    let (node, _outside) = node();
    node.run("iptables-nft -A FORWARD -s 192.0.2.1 -c 7 700 -j ACCEPT");
    node.run("iptables-nft -P FORWARD DROP");
    let pod = Chain::add(&node, &json!({}));
    let counted = "-A FORWARD -s 192.0.2.1/32 -c 7 700 -j ACCEPT";
    assert!(node.run("iptables-nft -v -S FORWARD").contains(counted));
    pod.del();
    assert!(node.run("iptables-nft -v -S FORWARD").contains(counted));
}
