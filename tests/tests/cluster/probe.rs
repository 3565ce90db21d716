//! `[probe]`: networks that drop pods' sources, and do not say so.

use crate::cluster::{Cluster, Member};
use ferrule_tests::node::Place;
use serde_json::Value;

const CONFIG: &str = "/run/route-sync.toml";
const PROBE: &str = "[probe]\nenabled = true\ninterval = 1";

/// What the machine's own addresses are not, as clouds and switches with anti-spoofing drop it.
const CLOUD: &str = "nft add table bridge cloud
     nft add chain bridge cloud f '{ type filter hook forward priority 0; }'
     nft add rule bridge cloud f ip saddr 10.244.0.0/16 drop
     nft add rule bridge cloud f ip6 saddr fd00:10:244::/48 drop";

/// The problems that the probe found.
fn found(status: &Value) -> Vec<String> {
    let problems = status["problems"].as_array().unwrap().iter();
    let found = problems.filter(|problem| problem["what"].as_str().unwrap().contains("node "));
    found.map(|problem| format!("{}: {}", problem["what"], problem["error"])).collect()
}

/// Some rounds from now everything has answered, and no problem is reported.
#[track_caller]
fn stays_well(member: &Member) {
    let figure = |status: &Value, key: &str| status["probe"][key].as_u64().unwrap();
    let before = member.status().unwrap();
    let status = member.status_when(|status| {
        figure(status, "rounds") > figure(&before, "rounds") + 3
            && figure(status, "answered") > figure(&before, "answered") + 3
    });
    assert_eq!(status["problems"], serde_json::json!([]), "{}", member.log());
    let shown = member.node.try_run(&member.command("status"));
    assert_eq!(shown.status.code(), Some(0), "{}", shown.stdout);
    assert!(shown.stdout.contains("probe    every 1s: "), "{}", shown.stdout);
}

#[track_caller]
fn goes_silent(member: &Member) {
    member.status_when(|status| found(status).is_empty());
    stays_well(member);
}

#[test]
fn a_network_that_drops_pods_sources_is_reported_until_it_passes_them() {
    let cluster = Cluster::with(PROBE, &["one", "two"]);
    let one = &cluster.members[0];
    stays_well(one);
    cluster.router.sh(CLOUD);
    for member in &cluster.members {
        let status = member.status_when(|status| found(status).len() == 2);
        let [four, six] = &found(&status)[..] else { panic!("{status:#?}") };
        assert!(four.contains("IPv4") && six.contains("IPv6"), "{status:#?}");
        assert!(four.contains("set mode = \\\"vxlan\\\""), "{four}");
        assert_eq!(status["probe"]["silent"], 2);
        assert_eq!(status["synced"], true, "pods may start all the same");
        assert_eq!(member.node.try_run(&member.command("status")).status.code(), Some(1));
        assert!(member.log().contains("answers and its pod network does not"));
    }
    cluster.router.run("nft delete table bridge cloud");
    cluster.members.iter().for_each(goes_silent);
    assert!(one.log().contains("well again"));
}

#[test]
fn a_node_that_is_away_is_no_verdict() {
    let cluster = Cluster::with(PROBE, &["one", "two"]);
    let one = &cluster.members[0];
    cluster.router.sh(CLOUD);
    one.status_when(|status| found(status).len() == 2);
    cluster.router.run("ip link set two down");
    let status = one.status_when(|status| found(status).is_empty());
    let rounds = status["probe"]["rounds"].as_u64().unwrap();
    let later = one.status_when(|status| status["probe"]["rounds"].as_u64() > Some(rounds + 3));
    assert!(found(&later).is_empty(), "{later:#?}");
}

/// The remedy is one: the tunnel's packets have the nodes' addresses.
#[test]
fn mode_vxlan_is_well_where_pods_sources_are_dropped() {
    let cluster = Cluster::with(&format!("mode = \"vxlan\"\n{PROBE}"), &["one", "two"]);
    cluster.router.sh(CLOUD);
    cluster.members.iter().for_each(stays_well);
}

/// Across a router, and the nodes on one link with each other.
#[test]
fn a_firewall_that_drops_the_tunnels_port_is_reported() {
    let cluster = Cluster::with(&format!("mode = \"vxlan\"\n{PROBE}"), &["one", "three"]);
    let (one, three) = (&cluster.members[0], &cluster.members[1]);
    stays_well(three);
    cluster.router.sh("nft add table inet wall
         nft add chain inet wall f '{ type filter hook forward priority 0; }'
         nft add rule inet wall f udp dport 4789 drop");
    let status = one.status_when(|status| found(status).len() == 2);
    let reported = found(&status).join("\n");
    assert!(reported.contains("node three answers and its pod network does not"), "{reported}");
    assert!(
        reported.contains("drops UDP port 4789 between 192.0.2.1 and 198.51.100.3"),
        "{reported}"
    );
    cluster.router.run("nft delete table inet wall");
    goes_silent(one);
}

/// In mode direct a node has an address of its pod CIDRs with its first pod.
#[test]
fn mode_direct_is_probed_from_the_pods_bridge() {
    let cluster = Cluster::with(&format!("mode = \"direct\"\n{PROBE}"), &["one", "two"]);
    let one = &cluster.members[0];
    let waits = one.status_when(|status| status["probe"]["waits"] == true);
    assert_eq!(waits["problems"], serde_json::json!([]));
    let shown = one.node.try_run(&one.command("status"));
    assert_eq!(shown.status.code(), Some(0), "{}", shown.stdout);
    assert!(shown.stdout.contains("the probe asks no node: "), "{}", shown.stdout);
    let plain = serde_json::json!({
        "cniVersion": "1.1.0", "name": "plain", "type": "bridge", "isGateway": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}],
                                                  [{"subnet": "fd00:10:244:1::/64"}]]}
    });
    let _pod = one.pod_on(&plain);
    one.status_when(|status| status["probe"]["waits"] == false);
    stays_well(one);
    cluster.router.sh(CLOUD);
    one.status_when(|status| found(status).len() == 2);
    cluster.router.run("nft delete table bridge cloud");
    goes_silent(one);
}

/// CAP_NET_RAW is bit 13; it is kept from the start or not at all.
#[test]
fn the_probe_keeps_the_privilege_that_it_needs() {
    let mut cluster = Cluster::with("", &["one", "two"]);
    let one = &mut cluster.members[0];
    let effective = |one: &Member, caps: u64| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", one.pid())).unwrap();
        assert!(status.contains(&format!("CapEff:\t{caps:016x}\n")), "{status}");
    };
    effective(one, 1 << 12);
    let text = one.node.read(CONFIG);
    one.node.write(CONFIG, &format!("{text}\n{PROBE}\n"));
    let problem =
        |text: &'static str| move |status: &Value| status["problems"].to_string().contains(text);
    let status = one.status_when(problem("cannot probe: open an ICMP socket: Permission denied"));
    assert!(problem("restart route-sync with CAP_NET_RAW")(&status), "{status:#?}");
    one.node.sh("sysctl -qw net.ipv4.ping_group_range='0 0'");
    one.status_when(|status| status["problems"] == serde_json::json!([]));
    stays_well(one);
    one.node.sh("sysctl -qw net.ipv4.ping_group_range='1 0'");
    one.kill();
    one.start();
    one.in_sync();
    effective(one, 1 << 12 | 1 << 13);
    stays_well(one);
}
