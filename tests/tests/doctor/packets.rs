//! What drops packets, or leads them astray.

use crate::bench::{Bench, OVERLAY, all, alone, doctor, found, found_by, what};
use ferrule_tests::node::Place;
use ferrule_tests::within;
use serde_json::Value;
use std::time::Duration;

#[test]
fn forwarding_is_off() {
    let bench = Bench::new();
    bench.node.set_sysctl("net/ipv4/ip_forward", "0");
    let finding = alone(&bench.node, "forwarding");
    assert_eq!(what(&finding), "net.ipv4.ip_forward is 0: the node forwards no IPv4 packet");
    bench.node.set_sysctl("net/ipv4/ip_forward", "1");
    bench.node.set_sysctl("net/ipv6/conf/all/forwarding", "0");
    let finding = alone(&bench.node, "forwarding");
    assert_eq!(
        what(&finding),
        "net.ipv6.conf.all.forwarding is 0: the node forwards no IPv6 packet"
    );
}

#[test]
fn forwarding_of_one_link_is_off() {
    let bench = Bench::new();
    bench.node.set_sysctl("net/ipv4/conf/cni0/forwarding", "0");
    let finding = alone(&bench.node, "forwarding");
    assert!(what(&finding).starts_with("net.ipv4.conf.cni0.forwarding is 0"), "{finding:#}");
}

#[test]
fn another_programs_chain_drops_what_it_does_not_accept() {
    let bench = Bench::new();
    bench.node.sh("nft add table ip filter
        nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'");
    let finding = alone(&bench.node, "forward-drops");
    assert_eq!(what(&finding), "chain FORWARD of table ip filter drops forwarded packets of pods");
    bench.node.run("nft add rule ip filter FORWARD iifname cni0 accept");
    assert_eq!(doctor(&bench.node, "").0, 0, "a chain that names the pods' bridge knows them");
}

#[test]
fn another_programs_last_rule_rejects() {
    let bench = Bench::new();
    bench.node.sh("nft add table inet firewalld
        nft add chain inet firewalld forward '{ type filter hook forward priority 10; }'
        nft add rule inet firewalld forward ct state established accept
        nft add rule inet firewalld forward reject");
    let finding = alone(&bench.node, "forward-drops");
    assert_eq!(
        what(&finding),
        "chain forward of table inet firewalld drops forwarded packets of pods"
    );
    bench.node.run("nft insert rule inet firewalld forward ip saddr 10.1.0.0/24 accept");
    assert_eq!(doctor(&bench.node, "").0, 0, "a chain that names the pods' range knows them");
}

#[test]
fn a_route_leads_elsewhere_than_to_the_pod() {
    let bench = Bench::new();
    bench.node.set_sysctl("net/ipv4/conf/cni0/rp_filter", "1");
    bench.node.run("ip route add 10.1.0.0/25 dev uplink0");
    let finding = alone(&bench.node, "one-way");
    assert!(
        what(&finding).ends_with("is behind cni0, and the route 10.1.0.0/25 leads to uplink0"),
        "{finding:#}"
    );
    assert!(all(&finding).contains("strict (1)"), "{finding:#}");
}

#[test]
fn a_bridge_that_takes_smaller_packets_than_its_pods_send() {
    let bench = Bench::new();
    bench.node.run("ip link set cni0 mtu 1400");
    let finding = alone(&bench.node, "mtu");
    assert_eq!(what(&finding), "pods send packets of 1500 bytes, and cni0 takes 1400");
}

#[test]
fn an_uplink_that_takes_smaller_packets_than_pods_send() {
    let bench = Bench::new();
    bench.node.run("ip link set uplink0 mtu 1400");
    let finding = alone(&bench.node, "mtu");
    assert_eq!(what(&finding), "pods send packets of 1500 bytes, and uplink0 takes 1400");
}

#[test]
fn services_between_pods_of_one_bridge_without_br_netfilter() {
    let bench = Bench::new();
    bench.node.sh("nft add table ip nat; nft add chain ip nat KUBE-SERVICES");
    let called = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if bench.node.exists(called) {
        bench.node.set_sysctl("net/bridge/bridge-nf-call-iptables", "0");
    }
    let finding = alone(&bench.node, "service-same-node");
    assert!(
        what(&finding).starts_with("frames between pods on cni0 do not pass netfilter: "),
        "{finding:#}"
    );
    bench.node.write(&format!("{OVERLAY}{called}"), "1");
    assert_eq!(doctor(&bench.node, "").0, 0);
}

#[test]
fn udp_goes_to_a_pod_that_is_gone() {
    let bench = Bench::new();
    bench.node.sh("nft add table ip services
        nft add chain ip services pre '{ type nat hook prerouting priority -100; }'
        nft add rule ip services pre udp dport 5353 dnat to 10.1.0.99");
    let sent = || {
        bench.outside.sh(
            "echo question | socat - UDP:198.51.100.1:5353,sourceport=4444 2>/dev/null || true",
        );
        let (_, report) = doctor(&bench.node, "");
        let findings = report["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|one: &Value| one["check"] == "udp-dead-pod")
    };
    let finding = within(Duration::from_secs(20), sent).expect("the flow is found");
    assert_eq!(finding["remedy"][0], "conntrack -D -p udp --reply-src 10.1.0.99");
}

#[test]
fn connection_tracking_is_nearly_full() {
    let bench = Bench::new();
    let folder = format!("{OVERLAY}/proc/sys/net/netfilter");
    bench.node.write(&format!("{folder}/nf_conntrack_max"), "1000\n");
    bench.node.write(&format!("{folder}/nf_conntrack_count"), "950\n");
    let finding = alone(&bench.node, "conntrack-full");
    assert!(what(&finding).starts_with("950 of 1000 connections are tracked"), "{finding:#}");
}

#[test]
fn connections_race_while_the_doctor_watches() {
    let bench = Bench::new();
    let file = format!("{OVERLAY}/proc/net/stat/nf_conntrack");
    bench.node.write(&file, "entries insert_failed drop\n00000001 00000001 00000000\n");
    assert_eq!(doctor(&bench.node, "").0, 0, "what does not grow is of another time");
    bench.node.write(
        "/run/grow",
        &format!(
            "i=2; while :; do printf 'entries insert_failed drop\\n00000001 %08x 00000000\\n' $i >{file}.new
             mv {file}.new {file}; i=$((i + 1)); sleep 0.05; done"
        ),
    );
    let _growing = bench.node.spawn("sh /run/grow");
    let finding = found_by(&bench.node, "dns-delay", "--watch 2");
    assert!(what(&finding).contains("connections that race"), "{finding:#}");
}

#[test]
fn routes_that_no_daemon_keeps() {
    let bench = Bench::new();
    bench.node.run("ip route add 10.244.9.0/24 via 198.51.100.2 proto 118");
    let finding = alone(&bench.node, "stale-routes");
    assert!(all(&finding).contains("10.244.9.0/24 dev uplink0 proto 118"), "{finding:#}");
    assert_eq!(found(&bench.node, "stale-routes")["remedy"][0], "route-sync cleanup");
}
