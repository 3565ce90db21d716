//! Tunnels over IPv6 where nodes have both families.

use crate::cluster::{ALL, Cluster, Member, node_list};
use ferrule_tests::node::Place;
use ferrule_tests::packets::tcp_source;
use ferrule_tests::within;
use std::time::Duration;

/// Waits until every node's tunnel ends at an address of these.
#[track_caller]
fn ends(cluster: &Cluster, prefix: &str) {
    for member in &cluster.members {
        let device = || member.node.try_run("ip -d link show dev fvxlan.100").stdout;
        let ends = || device().contains(&format!("local {prefix}")).then_some(());
        assert!(within(Duration::from_secs(20), ends).is_some(), "{}", member.log());
        member.in_sync();
    }
}

/// Packets pass with pods' own addresses, in the tunnel, and over IPv6 as said.
#[track_caller]
fn pods_reach_each_other(cluster: &Cluster, over_ipv6: bool, mtu: u64) {
    let pods: Vec<_> = cluster.members.iter().map(Member::pod).collect();
    let (before, six) = (cluster.tunnelled().0, cluster.seen("inet", "six"));
    for (from, own) in &pods {
        assert_eq!(from.link("eth0").unwrap()["mtu"], mtu);
        for (to, addresses) in pods.iter().filter(|(to, _)| to.id() != from.id()) {
            for (address, own) in addresses.iter().zip(own) {
                let seen = tcp_source(from, to, address).map(|seen| seen.to_string());
                assert_eq!(seen.as_ref(), Ok(own), "the source that {address} saw");
            }
        }
    }
    let full = mtu - 28;
    pods[0].0.run(&format!("ping -n -c1 -W2 -M do -s {full} {}", pods[2].1[0]));
    let after = cluster.tunnelled().0;
    assert!(after > before, "nothing went through the tunnel");
    let six = cluster.seen("inet", "six") - six;
    assert_eq!(six, if over_ipv6 { after - before } else { 0 });
}

#[test]
fn ipv6_is_taken_while_every_node_has_it() {
    let cluster = Cluster::with("[vxlan]\nprefer = \"ipv6\"", &ALL);
    cluster.router.sh("nft add counter inet seen six
         nft add rule inet seen forward meta nfproto ipv6 udp dport 4789 counter name six");
    ends(&cluster, "2001:db8:");
    pods_reach_each_other(&cluster, true, 1430);
    let one = &cluster.members[0];
    assert!(one.node.read("/run/ferrule/node.json").contains("\"local\": \"2001:db8:a::1\""));
    // A node that lacks it: a device carries one family.
    cluster.write_nodes(&node_list(&ALL).replace(", \"2001:db8:a::2\"", ""));
    ends(&cluster, "1");
    for member in &cluster.members {
        let status = member.status_when(|status| status["problems"].to_string().contains("prefer"));
        let problems = status["problems"].to_string();
        assert!(problems.contains("node two has no IPv6 address in the node set"), "{problems}");
    }
    pods_reach_each_other(&cluster, false, 1450);
    cluster.set_nodes(&ALL);
    ends(&cluster, "2001:db8:");
    one.status_when(|status| status["problems"] == serde_json::json!([]));
    pods_reach_each_other(&cluster, true, 1430);
}
