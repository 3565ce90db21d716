//! Rules that have cost others nodes, as far as they are the daemon's, and the test of each:
//!
//! - the blackhole of the own CIDR fights no bridge, whichever came first:
//!   `the_blackhole_and_the_bridge_live_side_by_side`
//! - a packet to a pod that is gone is not sent out again: `a_pod_that_is_gone_is_a_dead_end`
//! - NLM_F_REPLACE overwrites foreign routes, so theirs are reported and left:
//!   `foreign::a_foreign_route_at_our_prefix_is_reported_and_stays`
//! - the holder of VNI and port is named: `foreign::a_foreign_vxlan_with_our_vni_and_port_is_named`
//! - nothing without our name is changed: `foreign::devices_and_rules_of_others_are_untouched`
//! - cleanup removes the daemon's objects and never a plugin's:
//!   `cleanup_leaves_the_plugins_what_is_theirs`
//! - a firewall's reload flushes our table, and our part comes back:
//!   `events::whatever_is_deleted_or_altered_comes_back`
//! - disable_ipv6=1 as a default does not reach our device: `ipv6_is_on_where_it_is_off_by_default`
//! - the node's own packets pass a strict reverse-path filter: `sources`
//! - a VXLAN device set down and up has lost routes and neighbours: `events`
//! - the device goes with its underlay, and an MTU does not reach it: `underlay`
//! - a kept set sweeps nothing, a complete one does:
//!   `life::a_boot_without_the_source_routes_by_the_kept_set`
//! - another's protocol numbers are not ours: `our_protocol_numbers_are_free_and_named`
//!
//! - notifications that are lost: `repair::fifty_thousand_foreign_changes_lose_nothing` of
//!   route-sync/tests/kernel
//! - dumps that are interrupted: `dumps` of crates/net/tests/kernel
//! - sets that are changed meanwhile: `concurrency` of crates/nft/tests/kernel, and the tests of
//!   crates/nft/src/node

use crate::cluster::{Cluster, network};
use ferrule_tests::bins::workspace;
use ferrule_tests::node::Place;
use ferrule_tests::packets::{first_ping, ping};
use ferrule_tests::raw::Sniffer;
use ferrule_tests::within;
use std::fs;
use std::time::Duration;

#[test]
fn the_blackhole_and_the_bridge_live_side_by_side() {
    let mut cluster = Cluster::new();
    let (far, _) = cluster.members[2].pod();
    // The blackhole first, then the bridge; and the other way round.
    for bridge_first in [false, true] {
        let member = &mut cluster.members[0];
        if bridge_first {
            member.kill();
            member.node.sh("ip route flush proto 118; ip -6 route flush proto 118");
            member.start();
            member.in_sync();
        }
        let (one, own) = member.pod();
        let (_two, others) = member.pod();
        others.iter().for_each(|to| ping(&one, to));
        own.iter().for_each(|to| ping(&far, to));
        for command in ["ip route show 10.244.1.0/24", "ip -6 route show fd00:10:244:1::/64"] {
            let routes = member.node.run(command);
            assert!(routes.contains("proto kernel") && routes.contains("blackhole"), "{routes}");
        }
        member.in_sync();
    }
}

/// Before there is a bridge, and after: it would go out by the default route, and come back.
#[test]
fn a_pod_that_is_gone_is_a_dead_end() {
    let cluster = Cluster::new();
    let (far, _) = cluster.members[2].pod();
    let node = &cluster.members[0].node;
    for gone in ["10.244.1.77", "fd00:10:244:1::77"] {
        let sniffer = Sniffer::on(node, "eth0");
        assert!(!first_ping(&far, gone) && !first_ping(node, gone), "{gone} answers");
        // Echo requests that leave: the outer header is VXLAN's on the way in alone.
        let out = sniffer.wait(Duration::from_millis(300), |frame| {
            let (four, six) = (frame[12..14] == [8, 0], frame[12..14] == [0x86, 0xdd]);
            (four && frame.len() > 34 && frame[23] == 1 && frame[34] == 8)
                || (six && frame.len() > 54 && frame[20] == 58 && frame[54] == 128)
        });
        assert!(out.is_none(), "a packet to {gone} went out again: {out:02x?}");
    }
}

#[test]
fn ipv6_is_on_where_it_is_off_by_default() {
    let cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (_far, addresses) = cluster.members[2].pod();
    let node = &cluster.members[0].node;
    node.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    node.run("ip link del fvxlan.100");
    let flows = || addresses.iter().all(|to| first_ping(&near, to)).then_some(());
    within(Duration::from_secs(10), flows).unwrap_or_else(|| panic!("{}", node.run("ip address")));
    cluster.members[0].in_sync();
}

#[test]
fn cleanup_leaves_the_plugins_what_is_theirs() {
    let mut cluster = Cluster::new();
    let member = &mut cluster.members[0];
    let mut masqueraded = network();
    masqueraded["ipMasq"] = true.into();
    let (one, _) = member.pod_on(&masqueraded);
    let (two, addresses) = member.pod_on(&masqueraded);
    let rules = |member: &crate::cluster::Member| {
        let table = member.node.run("nft list table inet ferrule");
        let pods = table.lines().filter(|line| line.contains("comment") || line.contains("masq"));
        pods.map(str::to_owned).collect::<Vec<_>>()
    };
    let (before, links) = (rules(member), member.node.links());
    assert!(!before.is_empty(), "the pods have no rules of their own");
    member.kill();
    let reported = member.node.run(&member.command("cleanup"));
    assert!(
        reported.contains("device fvxlan.100") && reported.contains("10.244.3.0/24"),
        "{reported}"
    );
    assert_eq!(rules(member), before);
    let left: Vec<_> = links.into_iter().filter(|link| link != "fvxlan.100").collect();
    assert_eq!(member.node.links(), left);
    assert_eq!(member.node.run("ip route show proto 118"), "");
    addresses.iter().for_each(|to| ping(&one, to));
    drop(two);
    // And it may come back.
    member.start();
    member.in_sync();
    assert_eq!(rules(member), before);
    let again = member.node.try_run(&member.command("cleanup"));
    assert!(!again.status.success(), "cleanup beside a daemon that runs");
}

/// What cannot be removed is reported, and all else is removed.
#[test]
fn cleanup_goes_on_after_an_error() {
    let mut cluster = Cluster::new();
    let member = &mut cluster.members[0];
    member.kill();
    assert!(member.node.exists("/var/lib/ferrule/nodes.json"));
    member.node.sh("nft add chain inet ferrule theirs
         nft add rule inet ferrule theirs ip saddr @overlay-peers4 accept
         rm /run/ferrule/node.json; mkdir -p /run/ferrule/node.json/theirs");
    let done = member.node.try_run(&member.command("cleanup"));
    assert_eq!(done.status.code(), Some(1));
    for part in ["overlay-peers4", "node.json"] {
        assert!(done.stderr.contains(part), "{part} is not in {}", done.stderr);
    }
    for part in ["device fvxlan.100", "10.244.3.0/24", "/var/lib/ferrule/nodes.json"] {
        assert!(done.stdout.contains(part), "{part} is not in {}", done.stdout);
    }
    assert!(!member.node.exists("/var/lib/ferrule/nodes.json"));
    member.node.sh("nft delete chain inet ferrule theirs; rm -r /run/ferrule/node.json");
    let reported = member.node.run(&member.command("cleanup"));
    assert_eq!(reported, "there was nothing to remove\n");
    assert_eq!(member.node.run("nft list ruleset"), "");
}

/// The file for iproute2 agrees with what the daemon uses, and no other program has these numbers.
#[test]
fn our_protocol_numbers_are_free_and_named() {
    let ours = fs::read_to_string(workspace().join("conf/ferrule-rt-protos.conf")).unwrap();
    let read = |text: &str| {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let words =
            lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        words
            .filter(|words| words.len() == 2)
            .map(|words| (words[0].clone(), words[1].clone()))
            .collect::<Vec<_>>()
    };
    let names = [("117", "ferrule-pod"), ("118", "ferrule-node"), ("119", "ferrule-bgp")];
    assert_eq!(read(&ours), names.map(|(number, name)| (number.to_owned(), name.to_owned())));
    let header = fs::read_to_string("/usr/include/linux/rtnetlink.h")
        .expect("/usr/include/linux/rtnetlink.h is missing: apt-get install linux-libc-dev");
    let defined = header.lines().filter(|line| line.starts_with("#define RTPROT_"));
    let numbers = defined.filter_map(|line| line.split_whitespace().nth(2));
    let mut taken: Vec<String> = numbers.map(str::to_owned).collect();
    assert!(taken.len() > 15, "{taken:?}");
    let mut files = vec!["/etc/iproute2/rt_protos".into()];
    files.extend(
        fs::read_dir("/etc/iproute2/rt_protos.d")
            .into_iter()
            .flatten()
            .flatten()
            .map(|file| file.path()),
    );
    for file in files.into_iter().filter(|file| !file.ends_with("ferrule-rt-protos.conf")) {
        taken
            .extend(read(&fs::read_to_string(file).unwrap()).into_iter().map(|(number, _)| number));
    }
    for (number, name) in names {
        assert!(!taken.iter().any(|other| other == number), "{name} has another's number {number}");
    }
    let cluster = Cluster::with("", &["one", "two"]);
    let node = &cluster.members[0].node;
    node.run("mount -t tmpfs tmpfs /etc/iproute2/rt_protos.d");
    node.write("/etc/iproute2/rt_protos.d/ferrule-rt-protos.conf", &ours);
    let shown = node.run("ip route show proto ferrule-node");
    assert!(shown.contains("10.244.2.0/24"), "{shown}");
}
