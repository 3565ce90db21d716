//! The reference beside ours: the same configuration and the same client for a server.

use crate::lan::Lan;
use crate::{Daemon, pods};
use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Pod};
use serde_json::{Value, json};

/// What a pod of a suite gets: addresses and routes.
fn leased(lan: &Lan, bins: &Bins, version: &str, ipam: &Value) -> (Value, Value) {
    let daemon = Daemon::start_of(&lan.node, bins, "");
    let pod = Pod::new();
    let mut attachment = lan.node.attach(&pods(ipam), &pod).by(bins);
    attachment.config["cniVersion"] = json!(version);
    attachment.container = "same".to_owned();
    let result = attachment.add();
    if version >= "0.4.0" {
        attachment.check(&result);
    }
    attachment.del(Some(&result));
    drop(daemon);
    lan.node.run("rm -f /run/cni/dhcp.sock");
    let mut ips = result["ips"].clone();
    for ip in ips.as_array_mut().into_iter().flatten() {
        ip.as_object_mut().unwrap().remove("interface");
    }
    (if ips.is_null() { result["ip4"].clone() } else { ips }, result["routes"].clone())
}

#[test]
fn a_pod_gets_the_same_from_ours_and_from_the_reference() {
    let lan = Lan::new();
    let _dnsmasq = lan.dnsmasq(
        "--dhcp-range=10.9.0.50,10.9.0.50,255.255.255.0,10m --dhcp-option=3,10.9.0.1 \
         --dhcp-option=121,192.0.2.0/24,10.9.0.7,0.0.0.0/0,10.9.0.8 --dhcp-option=33,192.168.7.0,10.9.0.3",
    );
    let all = [
        json!({}),
        json!({"request": [{"option": "121"}], "priority": 70}),
        json!({"request": [{"option": "33"}, {"option": "3"}, {"option": "1", "skipDefault": true}]}),
        json!({"provide": [{"option": "host-name", "value": "web"}]}),
    ];
    for ipam in all {
        for version in ["0.2.0", "1.0.0"] {
            let ours = leased(&lan, &Bins::ours(), version, &ipam);
            let theirs = leased(&lan, &Bins::reference(), version, &ipam);
            assert_eq!(ours, theirs, "{version} {ipam}");
        }
    }
}
