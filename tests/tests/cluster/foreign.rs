//! What is not the daemon's: reported where it is in the way, and never touched.

use crate::cluster::{ALL, Cluster, node_list};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{first_ping, no_ping, ping};
use ferrule_tests::snapshot::{Snapshot, assert_same};
use ferrule_tests::within;
use serde_json::Value;
use std::time::Duration;

fn states(status: &Value, state: &str) -> Vec<String> {
    let entries = status["cidrs"].as_array().into_iter().flatten();
    let of = entries.filter(|entry| entry["state"] == state);
    of.filter_map(|entry| entry["cidr"].as_str().map(str::to_owned)).collect()
}

/// At the same prefix and metric, of either family: it stays, and `status` names the CIDR.
#[test]
fn a_foreign_route_at_our_prefix_is_reported_and_stays() {
    let mut cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (_far, addresses) = cluster.members[2].pod();
    let member = &mut cluster.members[0];
    let foreign = ["10.244.3.0/24 via 192.0.2.77", "fd00:10:244:3::/64 via 2001:db8:a::77"];
    // While the daemon runs: another program's replacement is deliberate. And before it starts.
    for restart in [false, true] {
        if restart {
            member.kill();
        }
        for route in foreign {
            member.node.run(&format!("ip route replace {route} metric 1024 proto static"));
            if !route.contains(':') {
                member.node.run(&format!("ip route replace {route} proto static"));
            }
        }
        if restart {
            member.start();
        }
        let status = member.status_when(|status| states(status, "conflict").len() == 2);
        assert_eq!(status["synced"], true, "what is foreign is no fault of the daemon's");
        let error = status["cidrs"].to_string();
        assert!(error.contains("another's route has this destination and metric"), "{error}");
        assert_eq!(member.node.try_run(&member.command("status")).status.code(), Some(1));
        assert!(member.node.run("ip route show 10.244.3.0/24 proto static").contains("192.0.2.77"));
        assert!(member.node.run("ip -6 route show fd00:10:244:3::/64").contains("proto static"));
        no_ping(&near, &addresses[0]);
        // It goes, and ours comes, with no pass in between.
        member.node.run("ip route flush proto static");
        member.node.run("ip -6 route flush proto static");
        let back = || addresses.iter().all(|to| first_ping(&near, to)).then_some(());
        within(Duration::from_secs(10), back).unwrap_or_else(|| panic!("{}", member.log()));
        member.in_sync();
    }
}

/// Of another protocol than ours, at other metrics: side by side.
#[test]
fn foreign_routes_at_other_metrics_do_not_matter() {
    let cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (_far, addresses) = cluster.members[2].pod();
    let node = &cluster.members[0].node;
    node.sh("ip route add 10.244.3.0/24 via 192.0.2.77 metric 4000 proto bird
        ip -6 route add fd00:10:244:3::/64 via 2001:db8:a::77 metric 4000 proto bird
        ip route add 10.244.3.0/24 via 192.0.2.77 table 77");
    node.run("ip route del 10.244.3.0/24 proto 118");
    let back = || first_ping(&near, &addresses[0]).then_some(());
    within(Duration::from_secs(5), back).expect("ours comes back beside another's");
    cluster.members[0].in_sync();
    assert_eq!(node.run("ip route show proto bird").lines().count(), 1);
    assert_eq!(node.run("ip -6 route show proto bird").lines().count(), 1);
    assert_eq!(node.run("ip route show table 77").lines().count(), 1);
}

/// Another's VXLAN device with our VNI and port: the error names it, what needs no tunnel is
/// served, and when it goes ours comes.
#[test]
fn a_foreign_vxlan_with_our_vni_and_port_is_named() {
    let mut cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let [on_link, far] = [1, 2].map(|at: usize| cluster.members[at].pod());
    let member = &mut cluster.members[0];
    member.kill();
    member.node.sh("ip link del fvxlan.100
        ip link add vxlan.calico type vxlan id 100 dstport 4789 local 192.0.2.1 dev eth0 nolearning
        ip link set vxlan.calico up");
    let before = member.node.run("ip -d link show dev vxlan.calico");
    member.start();
    let named = |status: &Value| status["problems"].to_string().contains("vxlan.calico");
    let status = member.status_when(named);
    let problem = status["problems"].to_string();
    let part = "device vxlan.calico has VNI 100 and port 4789 already; choose another vni or port";
    assert!(problem.contains(part), "{problem}");
    assert!(!states(&status, "failing").is_empty() && status["synced"] == false, "{status:#?}");
    on_link.1.iter().for_each(|address| ping(&near, address));
    no_ping(&near, &far.1[0]);
    assert_eq!(member.node.run("ip -d link show dev vxlan.calico"), before);
    member.node.run("ip link del vxlan.calico");
    let back = || far.1.iter().all(|to| first_ping(&near, to)).then_some(());
    within(Duration::from_secs(20), back).unwrap_or_else(|| panic!("{}", member.log()));
    member.in_sync();
}

/// A node that flannel, kube-proxy and a firewall work on too.
#[test]
fn devices_and_rules_of_others_are_untouched() {
    let mut cluster = Cluster::new();
    let member = &mut cluster.members[0];
    member.kill();
    member.node.run(&member.command("cleanup"));
    member.node.sh("ip link add flannel.1 type vxlan id 1 dstport 8472 local 192.0.2.1 dev eth0 nolearning
        ip link set flannel.1 address 02:11:22:33:44:55 up
        ip address add 10.42.0.0/32 dev flannel.1
        ip route add 10.42.1.0/24 via 10.42.1.0 dev flannel.1 onlink
        ip neighbour add 10.42.1.0 lladdr 02:66:77:88:99:aa dev flannel.1 nud permanent
        bridge fdb append 02:66:77:88:99:aa dev flannel.1 dst 192.0.2.77
        ip link add fvxlan.7 type vxlan id 7 dstport 4790 local 192.0.2.1 dev eth0
        ip link add cni0 type bridge
        ip address add 10.42.0.1/24 dev cni0
        ip link set cni0 up
        ip rule add from 10.42.0.0/16 lookup 77
        ip route add blackhole 10.99.0.0/16 proto bird
        iptables -t nat -N FLANNEL-POSTRTG
        iptables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
        iptables -t nat -A FLANNEL-POSTRTG -s 10.42.0.0/16 -d 10.42.0.0/16 -j RETURN
        iptables -t nat -A FLANNEL-POSTRTG -s 10.42.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
        iptables -N KUBE-FORWARD
        iptables -A FORWARD -j KUBE-FORWARD
        nft add table inet filter
        nft add chain inet filter input '{ type filter hook input priority 0; }'
        nft add rule inet filter input tcp dport 9 drop");
    let before = Snapshot::of(&member.node).without_files(&["/run", "/var/lib"]);
    member.start();
    member.in_sync();
    // Everything is done over again, and altered, while they are there.
    member.node.run("ip link del fvxlan.100");
    member.in_sync();
    member.write_nodes(&node_list(&["one", "two"]));
    member.status_when(|status| status["source"]["nodes"] == 2);
    member.write_nodes(&node_list(&ALL));
    member.status_when(|status| status["source"]["nodes"] == 3);
    member.in_sync();
    member.kill();
    member.node.run(&member.command("cleanup"));
    assert_same(&before, &Snapshot::of(&member.node).without_files(&["/run", "/var/lib"]));
}
