//! Leases that no server renews, or that one refuses.

use crate::lan::{Lan, SERVER, address};
use crate::{Daemon, pods, status};
use ferrule_tests::Pod;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use serde_json::json;

#[test]
fn a_server_that_comes_back_in_time_costs_nothing() {
    let lan = Lan::new();
    let dhcpd = lan.dhcpd(40, (100, 199), "");
    let daemon = Daemon::start(&lan.node, "-timeout 2s");
    let pod = Pod::new();
    let attachment = lan.node.attach(&pods(&json!({})), &pod);
    let result = attachment.add();
    drop(dhcpd);
    let lease = daemon.reaches("unanswered");
    let problem = lease["problem"].as_str().unwrap();
    assert!(problem.contains("cannot be renewed: no server answers"), "{problem}");
    assert!(daemon.log().contains("the pod loses its network in "), "{}", daemon.log());
    let answer = attachment.status();
    answer.ok();
    assert!(answer.stderr.contains("cannot be renewed"), "{}", answer.stderr);
    ping(&pod, SERVER);
    let _dhcpd = lan.dhcpd(40, (100, 199), "");
    daemon.reaches("bound");
    daemon.says("over: cannot be renewed");
    attachment.check(&result);
    ping(&pod, SERVER);
}

/// As the reference, and log, status and CHECK say so.
#[test]
fn a_lease_that_ends_takes_the_pods_link_down() {
    let lan = Lan::new();
    let dhcpd = lan.dhcpd(12, (100, 199), "");
    let daemon = Daemon::start(&lan.node, "-timeout 1s");
    let pod = Pod::new();
    let attachment = lan.node.attach(&pods(&json!({})), &pod);
    let result = attachment.add();
    let own = address(&pod);
    drop(dhcpd);
    let lease = daemon.reaches("lost");
    assert!(lease["problem"].as_str().unwrap().contains("no server renewed it"), "{lease}");
    assert_eq!(pod.link("eth0").unwrap()["operstate"], "DOWN");
    daemon.says(&format!(
        "{own} was leased, and ended: no server renewed it; eth0 of the pod goes down"
    ));
    assert!(status(&lan.node, "").contains("lost"));
    let alone = json!({"type": "dhcp"});
    let error = lan.node.attach(&pods(&json!({})), &pod).with(&alone).try_check(&result).err();
    error.expect(101, "dhcp: Failed to find address added by container");
    error.expect(101, "restart the pod");
    attachment.del(Some(&result));
    assert!(daemon.leases().is_empty() && pod.links().is_empty());
}

/// A server that begins to lease other addresses, and refuses the old ones (DHCPNAK).
#[test]
fn a_lease_that_the_server_refuses_is_lost() {
    let lan = Lan::new();
    let of = |range: &str| {
        lan.dnsmasq(&format!(
            "--dhcp-authoritative --dhcp-option=option:T1,8 --dhcp-range={range},255.255.255.0,10m"
        ))
    };
    let dnsmasq = of("10.9.0.50,10.9.0.59");
    let daemon = Daemon::start(&lan.node, "");
    let pod = Pod::new();
    let attachment = lan.node.attach(&pods(&json!({})), &pod);
    attachment.add();
    drop(dnsmasq);
    lan.server.run("rm /run/dnsmasq.leases");
    let _dnsmasq = of("10.9.0.60,10.9.0.69");
    let lease = daemon.reaches("lost");
    let problem = lease["problem"].as_str().unwrap();
    assert!(problem.contains("the server refuses (DHCPNAK)"), "{problem}");
    assert!(problem.contains("and offers 10.9.0.6"), "{problem}");
    assert_eq!(pod.link("eth0").unwrap()["operstate"], "DOWN");
    attachment.del(None);
}

/// dhcpd lost its memory, and leases the same addresses: the pod never notices.
#[test]
fn a_server_that_lost_its_memory_leases_the_same_address_again() {
    let lan = Lan::new();
    let dhcpd = lan.dhcpd(16, (100, 109), "");
    let daemon = Daemon::start(&lan.node, "");
    let pod = Pod::new();
    let attachment = lan.node.attach(&pods(&json!({})), &pod);
    let result = attachment.add();
    let own = address(&pod);
    drop(dhcpd);
    lan.server.run("rm /run/dhcpd.leases");
    let _dhcpd = lan.dhcpd(16, (100, 109), "");
    daemon.says(&format!("{own} renewed for 16 s"));
    assert_eq!(lan.state_of(&own), "active");
    attachment.check(&result);
    ping(&pod, SERVER);
}

/// An ACK without a subnet mask is no lease, and goes back.
#[test]
fn an_address_without_a_mask_is_given_back() {
    let lan = Lan::new();
    let _dnsmasq =
        lan.dnsmasq("--dhcp-range=10.9.0.50,10.9.0.99,255.255.255.0,10m --dhcp-option=1");
    let daemon = Daemon::start(&lan.node, "-timeout 2s");
    let pod = Pod::new();
    let error = lan.node.attach(&pods(&json!({})), &pod).try_add().err();
    error.expect(102, "no DHCP lease");
    error.expect(102, "DHCP option Subnet Mask not found in DHCPACK");
    assert!(daemon.leases().is_empty() && pod.links().is_empty());
    let released = || lan.server.read("/run/dnsmasq.leases").is_empty().then_some(());
    ferrule_tests::within(crate::PATIENCE, released).expect("dnsmasq has no lease any more");
}

/// A station that answers first, and leases what would lead all packets of the pod astray.
#[test]
fn a_server_that_leases_nonsense_is_left_out_for_another() {
    let range = "--dhcp-range=10.9.0.50,10.9.0.99,255.255.255.0,10m";
    for nonsense in ["--dhcp-option=1,128.0.0.0", "--dhcp-option=3,224.0.0.1"] {
        let lan = Lan::new();
        let (rogue, _dnsmasq) = lan.rogue(&format!("{range} {nonsense}"));
        // It answers who has asked for a second, so not first.
        let _dhcpd = lan.dhcpd(600, (100, 199), "min-secs 1;");
        let daemon = Daemon::start(&lan.node, "-timeout 30s");
        let pod = Pod::new();
        let attachment = lan.node.attach(&pods(&json!({})), &pod);
        let result = attachment.add();
        assert_eq!(daemon.leases()[0]["server"], SERVER);
        daemon.says("the DHCP server 10.9.0.2 (");
        assert_eq!(rogue.read("/run/dnsmasq.leases"), "", "{nonsense}");
        ping(&pod, SERVER);
        attachment.check(&result);
        attachment.del(Some(&result));
    }
}

/// Alone it fails ADD, which says what it leases; nothing was requested from it.
#[test]
fn nonsense_of_the_only_server_is_named() {
    let range = "--dhcp-range=10.9.0.50,10.9.0.99,255.255.255.0,10m";
    for (nonsense, named) in [
        ("--dhcp-option=1,128.0.0.0", "in a subnet /1;"),
        ("--dhcp-option=3,127.0.0.1", "option 3 of the server has the router 127.0.0.1"),
        ("--dhcp-option=33,127.0.0.0,10.9.0.1", "a route to 127.0.0.0/8, a loopback address"),
    ] {
        let lan = Lan::new();
        let _dnsmasq = lan.dnsmasq(&format!("{range} {nonsense}"));
        let daemon = Daemon::start(&lan.node, "-timeout 1s");
        let pod = Pod::new();
        let ipam = json!({"request": [{"option": "33"}, {"option": "routers"}]});
        let error = lan.node.attach(&pods(&ipam), &pod).try_add().err();
        error.expect(102, "no DHCP lease");
        error.expect(102, named);
        assert!(daemon.leases().is_empty() && pod.links().is_empty());
        assert_eq!(lan.server.read("/run/dnsmasq.leases"), "");
    }
}
