//! Each thing that others delete or alter comes back by the kernel's events alone: packets flow
//! again, and everything is exactly as before.

use crate::cluster::Cluster;
use ferrule_tests::node::Place;
use ferrule_tests::packets::first_ping;
use ferrule_tests::within;
use std::time::Duration;

/// On the first node, of which the third is beyond the router and the second on the link.
const HARM: &[&str] = &[
    "ip route del 10.244.3.0/24",
    "ip -6 route del fd00:10:244:3::/64",
    "ip route del 10.244.2.0/24",
    "ip -6 route del fd00:10:244:2::/64",
    "ip route del blackhole 10.244.1.0/24 metric 1000000",
    "ip -6 route del blackhole fd00:10:244:1::/64 metric 1000000",
    "ip route change 10.244.3.0/24 via 192.0.2.77 proto 118",
    "ip route change 10.244.2.0/24 via 192.0.2.77 proto 118",
    "ip -6 route change fd00:10:244:3::/64 via 2001:db8:a::77 proto 118",
    "ip route append 10.244.3.0/24 via 192.0.2.77 proto 118",
    "ip route flush proto 118; ip -6 route flush proto 118",
    "ip neighbour del 10.244.3.0 dev fvxlan.100",
    "ip neighbour replace 10.244.3.0 lladdr 02:00:00:00:00:09 dev fvxlan.100 nud permanent",
    "ip -6 neighbour flush dev fvxlan.100 nud permanent",
    "bridge fdb del 02:56:c6:33:64:03 dev fvxlan.100 dst 198.51.100.3",
    "bridge fdb replace 02:56:c6:33:64:03 dev fvxlan.100 dst 198.51.100.77",
    "bridge fdb append 02:56:c6:33:64:03 dev fvxlan.100 dst 198.51.100.77",
    "bridge fdb append 00:00:00:00:00:00 dev fvxlan.100 dst 198.51.100.77
     bridge fdb append 00:00:00:00:00:00 dev fvxlan.100 dst 198.51.100.78",
    "ip link del fvxlan.100",
    "ip link set fvxlan.100 down",
    "ip link set fvxlan.100 down; ip link set fvxlan.100 up",
    "ip link set fvxlan.100 mtu 1280",
    "ip link set fvxlan.100 address 02:00:00:00:00:07",
    "ip link set fvxlan.100 type vxlan learning",
    // Linux before 6.2 renames no link that is up, and the daemon brings it up again.
    "until ip link set fvxlan.100 name stolen 2>/dev/null; do ip link set fvxlan.100 down; done",
    "ip address flush dev fvxlan.100",
    "ip address del 10.244.1.0/32 dev fvxlan.100",
    "ip address del fd00:10:244:1::/128 dev fvxlan.100",
    "nft delete table inet ferrule",
    "nft flush ruleset",
    "nft flush chain inet ferrule overlay",
    "nft flush set inet ferrule overlay-peers4",
    "nft delete element inet ferrule overlay-peers4 '{ 198.51.100.3 }'",
    "nft add element inet ferrule overlay-peers4 '{ 203.0.113.9 }'",
    "nft flush set inet ferrule cluster4",
];

#[test]
fn whatever_is_deleted_or_altered_comes_back() {
    let cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let others = [1, 2].map(|at: usize| cluster.members[at].pod());
    let addresses: Vec<&String> = others.iter().flat_map(|(_, addresses)| addresses).collect();
    let member = &cluster.members[0];
    member.in_sync();
    let before = member.kept();
    for harm in HARM {
        member.node.sh(harm);
        let back = within(Duration::from_secs(10), || {
            let flows = addresses.iter().all(|address| first_ping(&near, address));
            (flows && member.kept() == before).then_some(())
        });
        let now = || format!("{}\n--- before\n{before}\n{}", member.kept(), member.log());
        assert!(back.is_some(), "after {harm}:\n{}", now());
    }
    member.in_sync();
}
