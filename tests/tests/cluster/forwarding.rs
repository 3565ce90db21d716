//! Forwarding that another program switches off.

use crate::cluster::{ALL, Cluster, network};
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::packets::first_ping;
use ferrule_tests::within;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A reload of sysctls, as hardening profiles do; nothing else notifies the daemon.
#[test]
fn what_is_switched_off_is_on_again() {
    let cluster = Cluster::with("mode = \"vxlan\"", &ALL);
    let (one, two) = (&cluster.members[0], &cluster.members[1]);
    let (near, _) = one.pod();
    let (_far, addresses) = two.pod();
    let reach = || addresses.iter().all(|address| first_ping(&near, address)).then_some(());
    within(PATIENCE, reach).expect("pods reach each other");
    for key in [
        "net.ipv4.ip_forward",
        "net.ipv4.conf.all.forwarding",
        "net.ipv4.conf.fvxlan/100.forwarding",
        "net.ipv4.conf.eth0.forwarding",
        "net.ipv6.conf.all.forwarding",
        "net.ipv6.conf.fvxlan/100.forwarding",
    ] {
        one.node.run(&format!("sysctl -qw {key}=0"));
        let on = || (one.node.run(&format!("sysctl -n {key}")).trim() == "1").then_some(());
        assert!(within(PATIENCE, on).is_some(), "{key} stays off: {}", one.log());
        assert!(within(PATIENCE, reach).is_some(), "{key}: pods are cut off");
    }
}

/// In containers /proc/sys is often read-only.
#[test]
fn forwarding_that_cannot_be_switched_on_is_reported() {
    let mut cluster = Cluster::with("mode = \"vxlan\"", &["one", "two"]);
    let one = &mut cluster.members[0];
    one.kill();
    one.node.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
         mount --bind /proc/sys /proc/sys
         mount -o remount,bind,ro /proc/sys");
    one.start();
    let status = one.status_when(|status| status["problems"].to_string().contains("forwarding"));
    let problems = status["problems"].to_string();
    assert!(problems.contains("sysctl -w net.ipv4.ip_forward=1"), "{problems}");
    let status = || one.node.attach(&network(), &one.node.pod()).status();
    status().err().expect(51, "net.ipv4.ip_forward is 0, and route-sync cannot set it");
    one.node.run("umount /proc/sys");
    one.status_when(|status| !status["problems"].to_string().contains("forwarding"));
    assert_eq!(within(PATIENCE, || status().code.filter(|code| *code == 0)), Some(0));
}

/// Hardening profiles switch `conf.default` off, and new links inherit it.
#[test]
fn a_tunnel_forwards_where_new_links_do_not() {
    let mut cluster = Cluster::with("mode = \"vxlan\"", &ALL);
    let one = &mut cluster.members[0];
    one.kill();
    one.node.sh("sysctl -qw net.ipv4.conf.default.forwarding=0 net.ipv6.conf.default.forwarding=0
         ip link del fvxlan.100");
    one.start();
    one.in_sync();
    let one = &cluster.members[0];
    let pod = one.node.pod();
    let attachment = one.node.attach(&network(), &pod);
    let result = attachment.add();
    attachment.check(&result);
    let (far, _) = cluster.members[1].pod();
    for address in addresses(&result) {
        let reach = || first_ping(&far, &address).then_some(());
        assert!(within(PATIENCE, reach).is_some(), "{address}: {}", one.log());
    }
    attachment.status().ok();
    // CHECK compares what the daemon keeps.
    for family in ["ipv4", "ipv6"] {
        let key = format!("net.{family}.conf.fvxlan/100.forwarding");
        one.node.run(&format!("sysctl -qw {key}=0"));
        let on = || (one.node.run(&format!("sysctl -n {key}")).trim() == "1").then_some(());
        assert!(within(PATIENCE, on).is_some(), "{key} stays off: {}", one.log());
        attachment.check(&result);
    }
}
