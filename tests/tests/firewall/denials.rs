//! Rulesets that deny forwarded packets by default, and what passes them.

use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, UPLINK};
use ferrule_tests::packets::tcp_source_by;
use ferrule_tests::{Bins, Node};
use serde_json::json;

use crate::chain::{Chain, leaves, load, network, node, reaches};

const OPEN: fn() -> serde_json::Value = || json!({});

/// Of iptables-nft, for both families.
fn iptables(node: &Node, rules: &[&str]) {
    for tool in ["iptables-nft", "ip6tables-nft"] {
        for rule in rules {
            node.run(&format!("{tool} {rule}"));
        }
    }
}

/// A pod without the plugin does not reach the host outside; one with it does, and is answered, and
/// no host reaches it from there with a new connection.
fn pods_pass(deny: impl Fn(&Node)) {
    let (node, outside) = node();
    deny(&node);
    let without = Chain::bridged(&node, &Bins::ours(), &network("cni0", 1), &OPEN());
    assert!(!leaves(&without, &outside), "the ruleset drops nothing");
    let pod = Chain::add(&node, &OPEN());
    assert!(leaves(&pod, &outside), "{}", node.run("nft list ruleset"));
    assert!(!leaves(&without, &outside), "a pod without the plugin");
    assert!(!reaches(&outside, &pod), "from outside, unasked");
    pod.check();
    pod.del();
    let gone = node.run("nft list ruleset");
    assert!(!gone.contains("ferrule.firewall") && !gone.contains("CNI-FORWARD"), "{gone}");
}

#[test]
fn iptables_nft_with_policy_drop() {
    pods_pass(|node| iptables(node, &["-P FORWARD DROP"]));
}

#[test]
fn iptables_nft_with_a_last_rule_that_rejects() {
    pods_pass(|node| iptables(node, &["-A FORWARD -i lo -j ACCEPT", "-A FORWARD -j REJECT"]));
}

#[test]
fn a_base_chain_of_inet_with_policy_drop_and_no_iptables() {
    pods_pass(|node| {
        load(
            node,
            "table inet filter { chain forward {
            type filter hook forward priority filter; policy drop; } }",
        );
    });
}

#[test]
fn several_base_chains_before_and_after_each_other() {
    pods_pass(|node| {
        iptables(node, &["-P FORWARD DROP", "-t mangle -P FORWARD DROP"]);
        load(
            node,
            "table inet early { chain forward {
                type filter hook forward priority -200; policy drop; } }
            table inet late { chain forward {
                type filter hook forward priority 200; policy drop; } }
            table ip late { chain forward {
                type filter hook forward priority 300; policy drop; } }
            table ip6 late { chain forward {
                type filter hook forward priority 300; policy drop; } }",
        );
    });
}

/// As firewalld 1.3 makes it, with nftables for its backend.
#[test]
fn firewallds_ruleset() {
    pods_pass(|node| {
        load(
            node,
            "table inet firewalld {
            chain filter_FORWARD {
                type filter hook forward priority filter + 10; policy accept;
                ct state established,related accept
                ct status dnat accept
                iifname \"lo\" accept
                ct state invalid drop
                jump filter_FORWARD_POLICIES
                reject with icmpx admin-prohibited
            }
            chain filter_FORWARD_POLICIES { iifname \"eth7\" jump filter_FWD_public; }
            chain filter_FWD_public { oifname \"eth7\" accept; }
        }",
        );
    });
}

/// As Docker 24 makes it with iptables-nft.
#[test]
fn dockers_ruleset() {
    pods_pass(|node| {
        iptables(
            node,
            &[
                "-P FORWARD DROP",
                "-N DOCKER",
                "-N DOCKER-ISOLATION-STAGE-1",
                "-N DOCKER-ISOLATION-STAGE-2",
                "-N DOCKER-USER",
                "-A FORWARD -j DOCKER-USER",
                "-A FORWARD -j DOCKER-ISOLATION-STAGE-1",
                "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                "-A FORWARD -o docker0 -j DOCKER",
                "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
                "-A FORWARD -i docker0 -o docker0 -j ACCEPT",
                "-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2",
                "-A DOCKER-ISOLATION-STAGE-1 -j RETURN",
                "-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP",
                "-A DOCKER-ISOLATION-STAGE-2 -j RETURN",
                "-A DOCKER-USER -j RETURN",
            ],
        );
    });
}

/// As ufw 0.36 makes it, in the chains that forwarded packets go by.
#[test]
fn ufws_ruleset() {
    pods_pass(|node| {
        iptables(
            node,
            &[
                "-P FORWARD DROP",
                "-N ufw-before-forward",
                "-N ufw-after-forward",
                "-N ufw-reject-forward",
                "-N ufw-user-forward",
                "-A FORWARD -j ufw-before-forward",
                "-A FORWARD -j ufw-after-forward",
                "-A FORWARD -j ufw-reject-forward",
                "-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                "-A ufw-before-forward -j ufw-user-forward",
                "-A ufw-reject-forward -j REJECT",
            ],
        );
    });
}

#[test]
fn what_others_drop_by_a_rule_stays_dropped() {
    let (node, outside) = node();
    load(
        &node,
        "table inet filter { chain forward {
        type filter hook forward priority filter; policy drop;
        ip daddr 198.51.100.0/24 drop
        ip6 daddr 2001:db8:ffff::/64 drop } }",
    );
    let pod = Chain::add(&node, &OPEN());
    assert!(!leaves(&pod, &outside));
    node.run("nft flush chain inet filter forward");
    let mended = pod.differences();
    assert!(mended.contains("chain forward of table inet filter denies"), "{mended}");
}

/// A connection to a host port, which a plugin behind leads to the pod, is no connection to the pod's
/// address.
#[test]
fn a_host_port_that_leads_to_the_pod_passes() {
    let (node, outside) = node();
    iptables(&node, &["-P FORWARD DROP"]);
    let pod = Chain::add(&node, &OPEN());
    let address = pod.address(false);
    node.run(&format!(
        "iptables-nft -t nat -A PREROUTING -i {UPLINK} -p tcp -d {NODE4} -j DNAT --to {address}"
    ));
    assert!(tcp_source_by(&outside, &pod.pod, &address, NODE4).is_ok());
}

#[test]
fn the_mark_is_gone_when_the_packet_leaves_and_others_bits_stay() {
    let (node, outside) = node();
    iptables(&node, &["-P FORWARD DROP"]);
    load(
        &node,
        "table inet seen {
        chain marks { type filter hook prerouting priority mangle; meta mark set 0x10002; }
        chain seen { type filter hook postrouting priority 0;
            ip saddr 10.1.0.0/24 meta mark != 0x10002 counter drop
            ip saddr 10.1.0.0/24 counter } }",
    );
    let pod = Chain::add(&node, &OPEN());
    assert!(leaves(&pod, &outside), "{}", node.run("nft list table inet seen"));
}

#[test]
fn a_node_that_drops_nothing_has_the_administrators_chain_alone_in_the_end() {
    let (node, outside) = node();
    let pod = Chain::add(&node, &OPEN());
    assert!(leaves(&pod, &outside) && reaches(&outside, &pod));
    let all = node.run("iptables-nft -S") + &node.run("ip6tables-nft -S");
    assert_eq!(
        all.matches("-A FORWARD -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD")
            .count(),
        2
    );
    pod.del();
    let tables = node.run("nft list ruleset");
    assert!(!tables.contains("ferrule") && !tables.contains("CNI-FORWARD"), "{tables}");
    assert_eq!(tables.matches("chain CNI-ADMIN {").count(), 2, "{tables}");
}
