//! Leases outlive the daemon.

use crate::lan::{Lan, SERVER, address};
use crate::{Daemon, PATIENCE, pods, records};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Pod, within};
use serde_json::json;

#[test]
fn a_lease_is_kept_on_by_the_next_daemon_after_a_kill() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(40, (100, 199), "");
    let pod = Pod::new();
    let attachment = lan.node.attach(&pods(&json!({})), &pod);
    let first = Daemon::start(&lan.node, "");
    let result = attachment.add();
    let own = address(&pod);
    // Killed without a word: its socket stays.
    drop(first);
    assert!(lan.node.exists("/run/cni/dhcp.sock"));
    assert_eq!(records(&lan.node).join(" "), own);
    attachment.status().err().expect(51, "no process renews the 1 leases of this node");
    let daemon = Daemon::start(&lan.node, "");
    daemon.says("1 leases are kept");
    // It is confirmed at once, and then renewed in time.
    daemon.says(&format!("{own} renewed for 40 s"));
    let renewed = || (daemon.count("renewed for 40 s") >= 2).then_some(());
    within(PATIENCE, renewed).unwrap_or_else(|| panic!("{}", daemon.log()));
    attachment.check(&result);
    ping(&pod, SERVER);
    attachment.del(Some(&result));
    lan.becomes(&own, "free");
}

#[test]
fn del_without_a_daemon_gives_the_lease_back_itself() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    let pod = Pod::new();
    let attachment = lan.node.attach(&pods(&json!({})), &pod);
    let first = Daemon::start(&lan.node, "");
    let result = attachment.add();
    let own = address(&pod);
    drop(first);
    attachment.del(Some(&result));
    lan.becomes(&own, "free");
    assert!(records(&lan.node).is_empty() && pod.links().is_empty());
    let daemon = Daemon::start(&lan.node, "");
    assert!(daemon.leases().is_empty());
    attachment.del(None);
}

#[test]
fn a_pod_that_went_while_no_daemon_ran_is_dropped() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    let (gone, stays) = (Pod::new(), Pod::new());
    let first = Daemon::start(&lan.node, "");
    for pod in [&gone, &stays] {
        lan.node.attach(&pods(&json!({})), pod).add();
    }
    drop(first);
    // Its link too is gone with it.
    gone.run("ip link del eth0");
    drop(gone);
    let daemon = Daemon::start(&lan.node, "");
    daemon.says("the pod is gone");
    let left = || (records(&lan.node) == [address(&stays)]).then_some(());
    within(PATIENCE, left).unwrap_or_else(|| panic!("{:?}", records(&lan.node)));
    assert_eq!(daemon.leases().len(), 1);
}

/// Without an answer to the first question the lease goes on by its times (RFC 2131 section 4.4.2).
#[test]
fn a_restart_without_a_server_costs_no_lease() {
    let lan = Lan::new();
    let dhcpd = lan.dhcpd(600, (100, 199), "");
    let pod = Pod::new();
    let attachment = lan.node.attach(&pods(&json!({})), &pod);
    let first = Daemon::start(&lan.node, "");
    let result = attachment.add();
    drop((first, dhcpd));
    let daemon = Daemon::start(&lan.node, "-timeout 1s");
    daemon.says("1 leases are kept");
    attachment.check(&result);
    assert_eq!(daemon.reaches("bound")["address"], format!("{}/24", address(&pod)));
    ping(&pod, SERVER);
}

/// A daemon that is stopped keeps its leases too, and removes its socket.
#[test]
fn a_daemon_that_stops_keeps_the_leases_of_pods_that_live() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    let pod = Pod::new();
    let mut first = Daemon::start(&lan.node, "");
    lan.node.attach(&pods(&json!({})), &pod).add();
    lan.node.run(&format!("kill -TERM {}", first.process.pid()));
    within(PATIENCE, || (!first.process.running()).then_some(())).expect("it stops");
    assert!(!lan.node.exists("/run/cni/dhcp.sock"));
    assert_eq!(lan.state_of(&address(&pod)), "active");
    assert_eq!(records(&lan.node), [address(&pod)]);
}

/// A pod whose runtime forgot DEL: its name is another pod's now, in another namespace.
#[test]
fn another_pod_of_the_same_name_leases_anew() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    let daemon = Daemon::start(&lan.node, "");
    let (one, two) = (Pod::new(), Pod::new());
    let config =
        json!({"cniVersion": "1.1.0", "name": "pods", "type": "dhcp", "ipam": {"type": "dhcp"}});
    let mut results = Vec::new();
    for pod in [&one, &two] {
        let netns = pod.ns().net_path();
        lan.node.sh(&format!(
            "ip link add {0} type veth peer name eth0 netns {1}; ip link set {0} master cni0 up",
            if std::ptr::eq(pod, &one) { "first" } else { "second" },
            netns.display()
        ));
        let mut attachment = lan.node.attach(&config, pod);
        attachment.container = "same".to_owned();
        results.push(attachment.add());
        // The same pod again has the same lease.
        assert_eq!(attachment.add(), results[results.len() - 1]);
    }
    assert_eq!(daemon.leases().len(), 1);
    assert_eq!(results[0]["ips"], results[1]["ips"], "the server knows the client");
}
