//! The remaining keys, and what is refused.

use std::net::Ipv6Addr;
use std::time::Duration;

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::raw::Sniffer;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod, Snapshot};
use serde_json::{Value, json};

use crate::veth;

/// Each of these is refused with its text, and nothing is touched.
#[test]
fn contradictions_and_nonsense_are_refused_before_anything_is_touched() {
    let cases: [(Value, &str); 14] = [
        (
            json!({"hairpinMode": true, "promiscMode": true}),
            "cannot set hairpin mode and promiscuous mode at the same time",
        ),
        (
            json!({"disableContainerInterface": true}),
            "cannot use IPAM when DisableContainerInterface flag is set",
        ),
        (json!({"vlan": 4095}), "invalid VLAN ID 4095 (must be between 0 and 4094)"),
        (json!({"vlan": -1}), "invalid VLAN ID -1 (must be between 0 and 4094)"),
        (json!({"vlanTrunk": [{"minID": 1, "maxID": 4095}]}), "incorrect trunk maxID parameter"),
        (json!({"vlanTrunk": [{"minID": 0, "maxID": 10}]}), "incorrect trunk minID parameter"),
        (json!({"vlanTrunk": [{"id": 4095}]}), "incorrect trunk id parameter"),
        (
            json!({"vlanTrunk": [{"minID": 9, "maxID": 5}]}),
            "minID is greater than maxID in trunk parameter",
        ),
        (
            json!({"vlanTrunk": [{"minID": 9}]}),
            "minID and maxID should be configured simultaneously, maxID is missing",
        ),
        (
            json!({"vlanTrunk": [{"maxID": 9}]}),
            "minID and maxID should be configured simultaneously, minID is missing",
        ),
        (json!({"mtu": "big"}), "mtu"),
        (json!({"bridge": "a-name-longer-than-fifteen"}), "a-name-longer-than-fifteen"),
        (json!({"ipMasq": true, "ipMasqBackend": "ebtables"}), "ebtables"),
        (json!({"runtimeConfig": {"mac": "not-a-mac"}}), "not-a-mac"),
    ];
    for (keys, text) in cases {
        let (node, pod) = (Node::new(), Pod::new());
        let before = Snapshot::of(&node);
        let error = node.attach(&conf::v4(), &pod).with(&keys).try_add().err();
        error.expect(7, text);
        assert_same(&before, &Snapshot::of(&node));
        assert!(pod.links().is_empty());
    }
}

pub fn kernel_filters_vlans() -> bool {
    Node::new().try_run("ip link add probe type bridge vlan_filtering 1").status.success()
}

#[test]
fn a_vlan_separates_pods_or_the_kernels_lack_is_said() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let before = Snapshot::of(&node);
    let config = conf::with(&conf::l2(), &json!({"vlan": 100}));
    if kernel_filters_vlans() {
        node.attach(&config, &one).add();
        node.attach(&conf::with(&conf::l2(), &json!({"vlan": 200})), &two).add();
        one.run("ip addr add 192.0.2.1/24 dev eth0");
        two.run("ip addr add 192.0.2.2/24 dev eth0");
        ferrule_tests::packets::no_ping(&one, "192.0.2.2");
    } else {
        let error = node.attach(&config, &one).try_add().err();
        assert!(error.text().to_uppercase().contains("VLAN"), "{error:?}");
        assert_same(&before, &Snapshot::of(&node));
    }
}

#[test]
fn a_disabled_container_interface_stays_down_and_bare() {
    let (node, pod) = (Node::new(), Pod::new());
    let config = conf::with(&conf::l2(), &json!({"disableContainerInterface": true}));
    let attachment = node.attach(&config, &pod);
    let result = attachment.add();
    let link = pod.link("eth0").unwrap();
    assert!(!link["flags"].as_array().unwrap().contains(&json!("UP")), "{link}");
    assert_eq!(pod.run("ip -o addr show dev eth0"), "");
    attachment.check(&result);
    attachment.del(Some(&result));
    assert!(pod.links().is_empty());
}

#[test]
fn the_pods_sysctls_are_set() {
    let (node, pod) = (Node::new(), Pod::new());
    let result = node.attach(&conf::dual(), &pod).add();
    assert_eq!(pod.sysctl("net/ipv4/conf/eth0/arp_notify"), "1");
    assert_eq!(pod.sysctl("net/ipv6/conf/eth0/accept_dad"), "0");
    assert_eq!(pod.sysctl("net/ipv6/conf/eth0/disable_ipv6"), "0");
    assert_eq!(pod.sysctl("net/ipv6/conf/eth0/keep_addr_on_down"), "1");
    // Router advertisements from pods (CVE-2020-10749).
    assert_eq!(node.sysctl("net/ipv6/conf/cni0/accept_ra"), "0");
    assert_eq!(node.sysctl(&format!("net/ipv6/conf/{}/accept_ra", veth(&result))), "0");
    assert_eq!(node.sysctl("net/ipv4/ip_forward"), "1");
    assert_eq!(node.sysctl("net/ipv6/conf/all/forwarding"), "1");
}

#[test]
fn ipv6_works_where_it_is_disabled_by_default() {
    let (node, pod) = (Node::new(), Pod::new());
    for place in ["default", "all"] {
        node.set_sysctl(&format!("net/ipv6/conf/{place}/disable_ipv6"), "1");
        pod.set_sysctl(&format!("net/ipv6/conf/{place}/disable_ipv6"), "1");
    }
    let attachment = node.attach(&conf::dual(), &pod);
    let result = attachment.add();
    ping(&pod, GATEWAY4);
    ping(&pod, GATEWAY6);
    attachment.check(&result);
}

#[test]
fn enabledad_detects_a_duplicate_and_leaves_no_tentative_address() {
    let (node, one, two, taken) = (Node::new(), Pod::new(), Pod::new(), Pod::new());
    let config = conf::with(&conf::v6(), &json!({"enabledad": true}));
    node.attach(&config, &one).add();
    assert_eq!(one.sysctl("net/ipv6/conf/eth0/accept_dad"), "1");
    assert_eq!(one.sysctl("net/ipv6/conf/eth0/enhanced_dad"), "1");
    assert_eq!(one.run("ip -6 addr show dev eth0 tentative"), "", "ADD waits for detection");
    ping(&one, GATEWAY6);
    // Someone else has the next address already.
    one.run("ip addr add fd00:1::3/64 dev eth0 nodad");
    let before = Snapshot::of(&node);
    let attachment = node.attach(&config, &taken);
    let error = attachment.try_add().err();
    assert!(error.text().contains("fd00:1::3"), "{error:?}");
    let unleased = |snapshot: Snapshot| snapshot.without_lease_history();
    assert_same(&unleased(before), &unleased(Snapshot::of(&node)));
    assert!(taken.links().is_empty());
    node.attach(&config, &two).add();
    ping(&two, GATEWAY6);
}

/// Detection asks from the unspecified address who else has one (RFC 4862 section 5.4.2): for the
/// pod's no host asks, and its first packet on the link is its ping.
#[test]
fn plain_ipv6_waits_for_no_detection() {
    let (node, pod) = (Node::new(), Pod::new());
    node.attach(&conf::v4(), &Pod::new()).add();
    let sniffer = Sniffer::on(&node, conf::BRIDGE);
    node.attach(&conf::v6(), &pod).with(&json!({"name": "six"})).add();
    assert_eq!(pod.run("ip -6 addr show dev eth0 scope global tentative"), "");
    ping(&pod, GATEWAY6);
    let address: Ipv6Addr = "fd00:1::2".parse().unwrap();
    let of_icmp = |frame: &[u8], kind: u8| {
        frame.len() >= 78 && frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == kind
    };
    let probe = |frame: &[u8]| {
        of_icmp(frame, 135) && frame[22..38] == [0; 16] && frame[62..78] == address.octets()
    };
    let request = |frame: &[u8]| of_icmp(frame, 128) && frame[22..38] == address.octets();
    let received = sniffer.wait(Duration::from_secs(5), |frame| probe(frame) || request(frame));
    assert!(received.is_some_and(|frame| request(&frame)), "a probe came before the ping");
}

#[test]
fn keys_are_read_in_any_case() {
    let (node, pod) = (Node::new(), Pod::new());
    let config = json!({"CNIVersion": conf::version(), "Name": "pods", "type": "bridge",
        "BRIDGE": "odd0", "ISGATEWAY": true, "Mtu": 1400,
        "Ipam": {"TYPE": "host-local", "SUBNET": "10.1.0.0/24", "ROUTES": [{"DST": "0.0.0.0/0"}]}});
    let attachment = node.attach(&config, &pod);
    let result = attachment.add();
    assert_eq!(result["cniVersion"], conf::version());
    assert_eq!(result["interfaces"][0]["name"], "odd0");
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1400);
    ping(&pod, GATEWAY4);
    attachment.check(&result);
    attachment.del(Some(&result));
}

#[test]
fn unknown_args_are_refused_unless_they_may_be_ignored() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&conf::v4(), &pod);
    let error = attachment.clone().args("K8S_POD_NAME=a").try_add().err();
    assert!(error.text().contains("unknown args"), "{error:?}");
    assert!(error.text().contains("K8S_POD_NAME"), "{error:?}");
    assert!(node.links().is_empty());
    for yes in ["1", "true"] {
        let args = format!("IgnoreUnknown={yes};K8S_POD_NAMESPACE=b;K8S_POD_NAME=a");
        let lenient = attachment.clone().args(&args);
        let result = lenient.add();
        lenient.check(&result);
        lenient.del(Some(&result));
    }
}
