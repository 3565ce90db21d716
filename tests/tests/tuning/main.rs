//! The tuning plugin behind bridge, as the runtime and the pod see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod allowlist;
mod behind_bridge;
mod failure;
mod restored;
mod set;

use ferrule_tests::conf;
use ferrule_tests::node::Place;
use ferrule_tests::{Chain, Node, Pod};
use serde_json::{Value, json};

/// `eth0` of a pod behind bridge, tuned with these keys.
fn tuned<'a>(node: &'a Node, pod: &Pod, keys: &Value) -> Chain<'a> {
    let tuning = conf::with(&json!({"type": "tuning"}), keys);
    Chain::new(node, pod, &conf::dual(), &[tuning])
}

const MAC: &str = "02:00:00:00:00:42";

/// Every key.
fn all_keys() -> Value {
    json!({"mac": MAC, "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 77, "sysctl": {
        "net.core.somaxconn": "77", "net.ipv4.conf.IFNAME.arp_filter": "1",
        "net.ipv4.ip_local_port_range": "2000 3000"}})
}

/// What [`all_keys`] sets, as the pod has it.
fn values(pod: &Pod) -> Vec<String> {
    let link = pod.link("eth0").expect("eth0");
    let flags: Vec<_> = link["flags"].as_array().into_iter().flatten().collect();
    let mut values: Vec<String> =
        ["address", "mtu", "txqlen"].map(|key| link[key].to_string()).into();
    values.extend(["PROMISC", "ALLMULTI"].map(|flag| flags.contains(&&json!(flag)).to_string()));
    let sysctls = ["core/somaxconn", "ipv4/conf/eth0/arp_filter", "ipv4/ip_local_port_range"];
    values.extend(sysctls.map(|key| pod.sysctl(&format!("net/{key}"))));
    values
}

/// [`values`] after ADD.
const SET: [&str; 8] =
    ["\"02:00:00:00:00:42\"", "1400", "77", "true", "true", "77", "1", "2000\t3000"];
