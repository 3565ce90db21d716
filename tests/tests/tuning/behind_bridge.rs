//! CHECK of the plugin that attached the pod does not name what tuning set.

use ferrule_tests::conf::{self, with};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Bins, Chain, Node, Pod};
use serde_json::json;

use crate::{MAC, tuned};

/// Each sysctl of the pod that bridge sets, set otherwise.
#[test]
fn bridges_check_passes_over_what_tuning_set() {
    let keys = json!({"mac": MAC, "mtu": 1400, "sysctl": {
        "net.ipv4.conf.IFNAME.arp_notify": "0", "net.ipv6.conf.IFNAME.accept_ra": "1",
        "net.ipv6.conf.IFNAME.accept_redirects": "1", "net.ipv4.conf.IFNAME.accept_redirects": "1",
        "net.ipv4.conf.all.accept_redirects": "1", "net.ipv6.conf.IFNAME.accept_dad": "1",
        "net.ipv6.conf.IFNAME.keep_addr_on_down": "0", "net.ipv6.conf.IFNAME.ndisc_notify": "0"}});
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let (node, pod) = (Node::new(), Pod::new());
        let main = with(&conf::dual(), &json!({"cniVersion": version}));
        let chain = Chain::new(&node, &pod, &main, &[with(&json!({"type": "tuning"}), &keys)]);
        let result = chain.add();
        chain.check(&result);
        // What someone else alters is still named, by the plugin that set it last.
        pod.set_sysctl("net/ipv4/conf/eth0/arp_notify", "1");
        chain.links[0].check(&result);
        let error = chain.last().try_check(&result).err();
        assert!(error.text().contains("arp_notify"), "{version}: {error:?}");
        chain.last().del(Some(&result));
        // Then it is the main plugin's matter again.
        pod.set_sysctl("net/ipv4/conf/eth0/arp_notify", "0");
        let error = chain.links[0].try_check(&result).err();
        assert!(error.text().contains("arp_notify"), "{version}: {error:?}");
    }
}

/// The reference's tuning leaves the MTU of before in the result.
#[test]
fn bridges_check_passes_over_what_the_references_tuning_set() {
    let (node, pod) = (Node::new(), Pod::new());
    let mut chain = tuned(&node, &pod, &json!({"mac": MAC, "mtu": 1400}));
    chain.links[1] = chain.links[1].clone().by(&Bins::reference());
    let result = chain.add();
    assert_eq!(result["interfaces"][2]["mtu"], 1500);
    chain.check(&result);
    chain.del(Some(&result));
}

/// A pod whose MAC address is set is found at it at once, also by those who knew the earlier one.
#[test]
fn a_mac_address_that_is_set_is_followed() {
    let (node, pod, other) = (Node::new(), Pod::new(), Pod::new());
    node.attach(&conf::dual(), &other).add();
    let chain = tuned(&node, &pod, &json!({"mac": MAC}));
    let before = chain.add_before();
    for to in ["10.1.0.3", "fd00:1::3"] {
        ping(&node, to);
        ping(&other, to);
    }
    let result = chain.try_add_last(&before).ok();
    for to in ["10.1.0.3", "fd00:1::3"] {
        ping(&node, to);
        ping(&other, to);
    }
    chain.last().del(Some(&result));
    for to in ["10.1.0.3", "fd00:1::3"] {
        ping(&node, to);
        ping(&other, to);
    }
}
