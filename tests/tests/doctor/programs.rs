//! Other programs on the node.

use crate::bench::{Bench, OVERLAY, all, alone, doctor, what};
use ferrule_tests::node::Place;

#[test]
fn networkd_without_our_file() {
    let bench = Bench::new();
    bench.node.write(&format!("{OVERLAY}/run/systemd/netif/state"), "OPER_STATE=routable\n");
    let finding = alone(&bench.node, "networkd");
    assert!(what(&finding).starts_with("systemd-networkd runs"), "{finding:#}");
    let file = format!("{OVERLAY}/etc/systemd/network/10-ferrule.network");
    bench.node.write(&file, include_str!("../../../conf/10-ferrule.network"));
    assert_eq!(doctor(&bench.node, "").0, 0);
}

#[test]
fn both_kinds_of_iptables() {
    let bench = Bench::new();
    bench.node.sh("nft add table ip filter
        nft add chain ip filter INPUT '{ type filter hook input priority 0; }'
        nft add rule ip filter INPUT accept");
    bench.node.write(&format!("{OVERLAY}/proc/net/ip_tables_names"), "nat\n");
    let finding = alone(&bench.node, "mixed-iptables");
    assert!(all(&finding).contains("of iptables-legacy: ip nat"), "{finding:#}");
    assert!(all(&finding).contains("of iptables-nft: ip filter"), "{finding:#}");
}

#[test]
fn what_another_suite_left() {
    let bench = Bench::new();
    bench.node.run("ip link add flannel.1 type bridge");
    bench.node.write(&format!("{OVERLAY}/run/flannel/subnet.env"), "FLANNEL_SUBNET=10.1.0.1/24\n");
    let finding = alone(&bench.node, "leftovers");
    assert!(all(&finding).contains("link flannel.1"), "{finding:#}");
    assert!(all(&finding).contains("file /run/flannel/subnet.env"), "{finding:#}");
}
