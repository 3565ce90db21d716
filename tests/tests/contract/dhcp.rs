//! What a network promises, where a DHCP server leases its addresses: the plugin dhcp under bridge, with
//! its daemon, against dhcpd. Of a pod that ends with its namespace reachable the lease is given back.

use ferrule_tests::dhcp::bench::Bench;
use ferrule_tests::dhcp::lan::{Lan, address};
use ferrule_tests::node::Place;
use ferrule_tests::{Attachment, Pod};
use serde_json::{Value, json};

/// DEL, called so, removes all of a pod; the server has its address back.
#[track_caller]
fn removes_all(del: impl Fn(&Bench<'_>, Attachment<'_>, &Value)) {
    let lan = Lan::new();
    let bench = Bench::new(&lan);
    let (leased, result) = bench.add();
    bench.works(&bench.pod, &result);
    del(&bench, bench.attach(&bench.pod), &result);
    bench.is_clean(Some(&leased));
}

#[test]
fn del_with_everything_known_and_again() {
    removes_all(|_, attachment, result| {
        attachment.del(Some(result));
        attachment.del(Some(result));
        attachment.del(None);
        attachment.netns(None).del(None);
    });
}

#[test]
fn del_without_a_result_or_with_a_damaged_one() {
    removes_all(|_, attachment, _| attachment.del(None));
    let damaged = json!({"cniVersion": "1.0.0", "ips": [{}]});
    removes_all(|_, attachment, _| attachment.del(Some(&damaged)));
}

#[test]
fn del_with_a_lost_record() {
    removes_all(|bench, attachment, result| {
        bench.lan.node.sh("rm -rf /run/ferrule/attachments");
        attachment.del(Some(result));
    });
}

#[test]
fn del_with_a_configuration_that_broke_since() {
    let broken = json!({"vlan": "x", "ipam": {"request": [{"option": "nonsense"}]}});
    removes_all(|_, attachment, result| attachment.with(&broken).del(Some(result)));
}

/// The pod's link went with its namespace: the server keeps the address until the lease ends, and the
/// daemon renews it no more.
#[test]
fn del_without_a_netns_and_of_a_pod_that_is_gone() {
    let lan = Lan::new();
    let mut bench = Bench::new(&lan);
    let (_, result) = bench.add();
    bench.attach(&bench.pod).netns(None).del(Some(&result));
    bench.is_clean(None);
    let (_, result) = bench.add();
    let attachment = bench.attach(&bench.pod);
    bench.pod = Pod::new();
    attachment.netns(Some("/run/netns/gone")).del(Some(&result));
    bench.is_clean(None);
}

/// No daemon runs: the plugin itself gives the lease back.
#[test]
fn del_while_no_daemon_runs() {
    let lan = Lan::new();
    let mut bench = Bench::new(&lan);
    let (leased, result) = bench.add();
    bench.daemon.stop();
    bench.attach(&bench.pod).del(Some(&result));
    lan.becomes(&leased, "free");
    bench.daemon = ferrule_tests::dhcp::Daemon::start(&lan.node, "");
    bench.is_clean(None);
}

#[test]
fn del_after_someone_else_removed_parts() {
    for script in [
        "nft flush ruleset",
        "rm -rf /run/ferrule",
        "rm -f /var/lib/ferrule/dhcp/*.json",
        "ip link del VETH",
        "ip link del VETH; nft flush ruleset; rm -rf /run/ferrule /var/lib/ferrule/dhcp/*.json",
        "ip link set VETH down",
    ] {
        let lan = Lan::new();
        let bench = Bench::new(&lan);
        let (_, result) = bench.add();
        let host = ferrule_tests::chained::veth(&result);
        lan.node.sh(&script.replace("VETH", host));
        bench.attach(&bench.pod).del(Some(&result));
        assert_eq!(bench.left(), "", "after `{script}`");
    }
}

#[test]
fn del_of_what_never_was() {
    let lan = Lan::new();
    let bench = Bench::new(&lan);
    bench.attach(&bench.pod).del(None);
    bench.is_clean(None);
}

#[test]
fn another_pods_lease_stays() {
    let lan = Lan::new();
    let bench = Bench::new(&lan);
    let other = Pod::new();
    let kept = bench.attach(&other).add();
    let own = address(&other);
    let (leased, result) = bench.add();
    assert_ne!(leased, own);
    bench.attach(&bench.pod).del(Some(&result));
    lan.becomes(&leased, "free");
    bench.works(&other, &kept);
    assert_eq!(bench.daemon.leases().len(), 1);
    assert_eq!(lan.state_of(&own), "active");
}

/// Each single thing, and what CHECK names.
#[test]
fn check_names_each_alteration() {
    for (in_pod, script, named) in [
        (true, "ip address flush dev eth0", "10.9.0."),
        (true, "ip route del default", "0.0.0.0/0"),
        (true, "ip link del eth0", "eth0"),
        (true, "ip link set eth0 address 02:00:00:00:00:99", "02:00:00:00:00:99"),
        (false, "ip link del VETH", "eth0"),
        (false, "ip link set VETH nomaster", "is not a port of cni0"),
        (false, "nft flush ruleset", "inet ferrule"),
    ] {
        let lan = Lan::new();
        let bench = Bench::new(&lan);
        let (_, result) = bench.add();
        bench.works(&bench.pod, &result);
        let script = script.replace("VETH", ferrule_tests::chained::veth(&result));
        if in_pod {
            bench.pod.sh(&script)
        } else {
            lan.node.sh(&script)
        };
        let error = bench.attach(&bench.pod).try_check(&result).err();
        assert!(error.text().contains(named), "after `{script}`: {error:?} names no {named}");
    }
}

#[test]
fn a_repeated_add_leaves_the_live_attachment_alone() {
    let lan = Lan::new();
    let bench = Bench::new(&lan);
    let (leased, result) = bench.add();
    let before = bench.left();
    bench.attach(&bench.pod).try_add().err().expect(103, "already exists");
    assert_eq!(bench.left(), before);
    assert_eq!(lan.state_of(&leased), "active");
    bench.works(&bench.pod, &result);
}

/// An ADD that was killed: its lease is there, its veth is not.
#[test]
fn a_lease_without_a_veth_does_not_block_its_own_attachment() {
    let lan = Lan::new();
    let bench = Bench::new(&lan);
    let (leased, result) = bench.add();
    lan.node.run(&format!("ip link del {}", ferrule_tests::chained::veth(&result)));
    let (again, result) = bench.add();
    assert_eq!(again, leased, "the same client gets the same address");
    bench.works(&bench.pod, &result);
    assert_eq!(bench.daemon.leases().len(), 1);
}

#[test]
fn gc_removes_what_is_not_listed_and_nothing_else() {
    for lost in [false, true] {
        let lan = Lan::new();
        let bench = Bench::new(&lan);
        let other = Pod::new();
        let kept = bench.attach(&other).add();
        bench.add();
        if lost {
            lan.node.sh("rm -rf /run/ferrule/attachments");
        }
        let newest = bench.attach(&bench.pod).with(&json!({"cniVersion": "1.1.0"}));
        newest.gc(&[(other.id(), "eth0")]).ok();
        assert!(bench.pod.links().is_empty());
        assert_eq!(bench.daemon.leases().len(), 1);
        bench.works(&other, &kept);
        newest.gc(&[]).ok();
        bench.is_clean(None);
    }
}
