//! Pods lease addresses, reach their server and each other, and give the addresses back.

use crate::lan::{Lan, SERVER, address};
use crate::{Daemon, PATIENCE, pods, records};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{ping, tcp_source};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::threads::at_once;
use ferrule_tests::{Pod, Snapshot, within};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn a_pod_leases_an_address_and_gives_it_back() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    let daemon = Daemon::start(&lan.node, "");
    let (pod, config) = (Pod::new(), pods(&json!({})));
    // The first pod makes the bridge as it stays.
    lan.node.attach(&config, &pod).add();
    lan.node.attach(&config, &pod).del(None);
    let before = Snapshot::of(&lan.node).without_files(&["/run/dhcp.log"]);
    let attachment = lan.node.attach(&config, &pod);
    let result = attachment.add();
    let own = address(&pod);
    assert!(own.starts_with("10.9.0.1"), "{own}");
    assert_eq!(result["ips"][0]["address"], format!("{own}/24"));
    assert_eq!(result["ips"][0]["gateway"], SERVER);
    assert_eq!(result["routes"], json!([{"dst": "0.0.0.0/0", "gw": SERVER}]));
    assert_eq!(tcp_source(&pod, &lan.server, SERVER), Ok(own.parse().unwrap()));
    assert_eq!(lan.state_of(&own), "active");
    assert_eq!(records(&lan.node).join(" "), own);
    attachment.check(&result);
    attachment.status().ok();
    let lease = daemon.reaches("bound");
    assert_eq!(lease["address"], format!("{own}/24"));
    assert!((500..=600).contains(&lease["left"].as_u64().unwrap()), "{lease}");
    attachment.del(Some(&result));
    lan.becomes(&own, "free");
    assert!(records(&lan.node).is_empty() && daemon.leases().is_empty());
    attachment.del(None);
    assert!(pod.links().is_empty());
    assert_same(&before, &Snapshot::of(&lan.node).without_files(&["/run/dhcp.log"]));
    let failed = attachment.try_check(&result);
    assert!(failed.err().code > 0);
}

#[test]
fn two_pods_get_two_addresses_and_reach_each_other() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    let _daemon = Daemon::start(&lan.node, "");
    let (one, two) = (Pod::new(), Pod::new());
    let both = [&one, &two].map(|pod| lan.node.attach(&pods(&json!({})), pod));
    let results = [both[0].add(), both[1].add()];
    assert_ne!(address(&one), address(&two));
    assert_eq!(tcp_source(&one, &two, &address(&two)), Ok(address(&one).parse().unwrap()));
    both[0].del(Some(&results[0]));
    ping(&two, SERVER);
    both[1].check(&results[1]);
}

/// However many there are, the daemon has one thread and no more sockets.
#[test]
fn many_pods_at_once_cost_the_daemon_no_thread_and_no_socket() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (10, 200), "");
    let daemon = Daemon::start(&lan.node, "");
    let proc = format!("/proc/{}", daemon.process.pid());
    let sockets = || std::fs::read_dir(format!("{proc}/fd")).unwrap().count();
    let threads = || std::fs::read_dir(format!("{proc}/task")).unwrap().count();
    let idle = sockets();
    let all: Vec<Pod> = (0..24).map(|_| Pod::new()).collect();
    at_once(&all, |_, pod| lan.node.attach(&pods(&json!({})), pod).add());
    let addresses: BTreeSet<String> = all.iter().map(address).collect();
    assert_eq!(addresses.len(), all.len());
    let quiet = || (threads() == 1 && sockets() <= idle + 1).then_some(());
    within(PATIENCE, quiet)
        .unwrap_or_else(|| panic!("{} threads, {} descriptors of {idle}", threads(), sockets()));
    assert_eq!(daemon.leases().len(), all.len());
    at_once(&all, |_, pod| lan.node.attach(&pods(&json!({})), pod).del(None));
    assert!(records(&lan.node).is_empty() && daemon.leases().is_empty());
    for address in addresses {
        lan.becomes(&address, "free");
    }
}

#[test]
fn a_lease_is_renewed_again_and_again() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(20, (100, 199), "");
    let daemon = Daemon::start(&lan.node, "");
    let pod = Pod::new();
    let attachment = lan.node.attach(&pods(&json!({})), &pod);
    let result = attachment.add();
    let own = address(&pod);
    let renewed = || (daemon.count("renewed for 20 s") >= 2).then_some(());
    within(PATIENCE, renewed).unwrap_or_else(|| panic!("{}", daemon.log()));
    assert_eq!(lan.state_of(&own), "active");
    ping(&pod, SERVER);
    attachment.check(&result);
    assert_eq!(daemon.reaches("bound")["address"], format!("{own}/24"));
}

#[test]
fn gc_gives_back_what_is_not_listed() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    let daemon = Daemon::start(&lan.node, "");
    let (one, two) = (Pod::new(), Pod::new());
    for pod in [&one, &two] {
        lan.node.attach(&pods(&json!({})), pod).add();
    }
    let stays = address(&two);
    lan.node.attach(&pods(&json!({})), &two).gc(&[(two.id(), "eth0")]).ok();
    assert_eq!(records(&lan.node), [stays]);
    assert_eq!(daemon.leases().len(), 1);
    ping(&two, SERVER);
}

/// The plugin alone, whose link stays: the lease goes back to the server.
#[test]
fn gc_releases_by_a_link_that_is_still_there() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    let _daemon = Daemon::start(&lan.node, "");
    let pod = Pod::new();
    lan.node.attach(&pods(&json!({})), &pod).add();
    let own = address(&pod);
    let alone =
        json!({"cniVersion": "1.1.0", "name": "pods", "type": "dhcp", "ipam": {"type": "dhcp"}});
    lan.node.attach(&alone, &pod).gc(&[]).ok();
    lan.becomes(&own, "free");
}
