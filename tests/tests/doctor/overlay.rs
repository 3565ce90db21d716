//! Nodes of a cluster, with route-sync and its tunnel.

use crate::bench::{OVERLAY, all, doctor, found, found_by, what, write_conflist};
use ferrule_tests::cluster::{self, Cluster, Member, node_list};
use ferrule_tests::conf;
use ferrule_tests::node::Place;
use ferrule_tests::within;
use serde_json::{Value, json};
use std::time::Duration;

fn cluster() -> Cluster {
    with("")
}

fn with(keys: &str) -> Cluster {
    let cluster =
        Cluster::with(&format!("{keys}\n[masquerade]\nenabled = true\n"), &["one", "two"]);
    for member in &cluster.members {
        write_conflist(&member.node, "10-cluster.conflist", &cluster::network());
    }
    cluster
}

/// Waits until a check finds something.
#[track_caller]
fn found_soon(member: &Member, check: &str) -> Value {
    let look = || {
        let (_, report) = doctor(&member.node, "");
        let findings = report["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|one| one["check"] == check)
    };
    let found = within(Duration::from_secs(30), look);
    found.unwrap_or_else(|| panic!("{check} found nothing: {:#}", doctor(&member.node, "").1))
}

#[test]
fn the_daemon_does_not_run() {
    let mut cluster = cluster();
    let one = &mut cluster.members[0];
    one.kill();
    assert!(what(&found(&one.node, "route-sync-down")).starts_with("route-sync does not run"));
}

#[test]
fn the_node_has_no_pod_cidr() {
    let mut cluster = cluster();
    let one = &mut cluster.members[0];
    one.kill();
    one.node.sh("rm -rf /run/ferrule /var/lib/ferrule");
    one.write_nodes(&node_list(&["two"]));
    one.start();
    let finding = found_soon(one, "no-pod-cidr");
    assert_eq!(what(&finding), "node one has no pod CIDR");
}

#[test]
fn the_source_fails() {
    let cluster = cluster();
    let one = &cluster.members[0];
    one.write_nodes("[[node]\n");
    let finding = found_soon(one, "source-lost");
    assert!(all(&finding).contains("/run/nodes.toml"), "{finding:#}");
}

#[test]
fn two_nodes_are_listed_with_one_address() {
    let cluster = cluster();
    let one = &cluster.members[0];
    let three = node_list(&["three"])
        .replace("198.51.100.3", "192.0.2.2")
        .replace("2001:db8:b::3", "2001:db8:a::2");
    one.write_nodes(&format!("{}{three}", node_list(&["one", "two"])));
    let finding = found_soon(one, "duplicate-node-address");
    assert!(all(&finding).contains("192.0.2.2"), "{finding:#}");
}

#[test]
fn another_device_has_the_tunnels_vni_and_port() {
    let mut cluster = cluster();
    let one = &mut cluster.members[0];
    one.kill();
    one.node.sh("ip link delete fvxlan.100; ip link add flannel.1 type vxlan id 100 dstport 4789 dev eth0 local 192.0.2.1");
    let finding = found(&one.node, "vxlan-taken");
    assert!(what(&finding).starts_with("flannel.1 has VNI 100 and UDP port 4789"), "{finding:#}");
}

#[test]
fn the_tunnels_packets_do_not_fit_the_underlay() {
    let mut cluster = cluster();
    let one = &mut cluster.members[0];
    one.kill();
    one.node.run("ip link set eth0 mtu 1400");
    let finding = found(&one.node, "mtu");
    assert!(what(&finding).starts_with("the tunnel fvxlan.100 sends packets of "), "{finding:#}");
}

#[test]
fn checksums_are_wrong_on_an_old_kernel() {
    let cluster = cluster();
    let node = &cluster.members[0].node;
    node.write(&format!("{OVERLAY}/proc/sys/kernel/osrelease"), "5.4.0-42-generic\n");
    assert_eq!(doctor(node, "").0, 0);
    node.write(&format!("{OVERLAY}/proc/net/snmp"), "Udp: InDatagrams InCsumErrors\nUdp: 100 40\n");
    let finding = found_by(node, "checksums", "");
    assert!(what(&finding).contains("40 since the start"), "{finding:#}");
}

#[test]
fn a_foreign_route_to_another_nodes_pods() {
    let cluster =
        Cluster::with("mode = \"vxlan\"\n[masquerade]\nenabled = true\n", &["one", "two"]);
    let node = &cluster.members[0].node;
    write_conflist(node, "10-cluster.conflist", &cluster::network());
    node.run("ip route add 10.244.2.0/25 dev eth0");
    let finding = found(node, "one-way");
    assert!(
        what(&finding).starts_with("the pods of node two (10.244.2.1) is behind fvxlan.100"),
        "{finding:#}"
    );
}

#[test]
fn an_address_on_the_tunnels_device() {
    let mut cluster = cluster();
    let one = &mut cluster.members[0];
    // A daemon that runs removes it at once.
    one.kill();
    one.node.run("ip address add 169.254.3.3/16 dev fvxlan.100");
    let finding = found(&one.node, "foreign-address");
    assert!(what(&finding).starts_with("fvxlan.100, a link of ours"), "{finding:#}");
}

#[test]
fn a_route_that_the_daemon_does_not_keep() {
    let mut cluster = cluster();
    let one = &mut cluster.members[0];
    one.node.run("ip route add 10.244.77.0/24 dev eth0 proto 119");
    // The daemon removes a route of its protocol once it sees it; until then, and where it may not yet, it is told.
    let seen = found_by_or_gone(one);
    assert!(seen, "neither told nor removed");
}

/// Whether the stale route is told of, or was removed by the daemon.
fn found_by_or_gone(member: &Member) -> bool {
    let (_, report) = doctor(&member.node, "");
    let told =
        report["findings"].as_array().unwrap().iter().any(|one| one["check"] == "stale-routes");
    told || within(Duration::from_secs(20), || {
        member.node.run("ip route show 10.244.77.0/24").trim().is_empty().then_some(())
    })
    .is_some()
}

#[test]
fn the_network_drops_what_pods_send() {
    let cluster = with("mode = \"direct\"\n[probe]\nenabled = true\ninterval = 1");
    let pod = |(member, at): (&Member, u8)| {
        let ipam = json!({"ranges": [[{"subnet": format!("10.244.{at}.0/24")}]]});
        member.pod_on(&conf::with(&conf::v4(), &json!({"ipam": ipam})))
    };
    let _pods: Vec<_> = cluster.members.iter().zip(1..).map(pod).collect();
    cluster.router.sh("nft add rule bridge seen forward ip saddr 10.244.0.0/16 drop");
    let finding = found_soon(&cluster.members[0], "pods-silent");
    assert!(all(&finding).contains("pods of node two, IPv4"), "{finding:#}");
    assert!(all(&finding).contains("mode = \\\"vxlan\\\""), "{finding:#}");
}

#[test]
fn what_route_sync_cannot_do_is_told_in_its_words() {
    let cluster = cluster();
    let one = &cluster.members[0];
    let overlapping = node_list(&["three"]).replace("10.244.3.0/24", "10.96.0.0/24");
    one.write_nodes(&format!("{}{overlapping}", node_list(&["one", "two"])));
    let finding = found_soon(one, "route-sync-problems");
    assert!(all(&finding).contains("10.96.0.0/24"), "{finding:#}");
}
