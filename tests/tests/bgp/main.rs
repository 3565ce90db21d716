//! The bgp plugin as a runtime and the pods see it. What other nodes learn of them is not tested here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod chain;
mod crowd;
mod failure;
mod forwarding;
mod gc_status;
mod node_file;
mod pods;
mod results;
mod routers;
mod routes;
mod spoof;

use ferrule_tests::conf::{version, with};
use ferrule_tests::{Node, Snapshot};
use serde_json::{Value, json};

/// Every pod's gateway of each family.
const GATEWAY4: &str = "169.254.1.1";
const GATEWAY6: &str = "fe80::1";

/// A network of both families, with ranges of its own.
fn dual() -> Value {
    json!({
        "cniVersion": version(),
        "name": "pods",
        "type": "bgp",
        "ipam": {"type": "host-local",
            "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]},
    })
}

/// The same, masqueraded.
fn full() -> Value {
    with(&dual(), &json!({"ipMasq": true}))
}

/// The host side's veth of a result.
fn veth(result: &Value) -> &str {
    result["interfaces"][0]["name"].as_str().expect("the first interface is the host's veth")
}

/// The address of a result, the nth, without its length.
fn address(result: &Value, nth: usize) -> String {
    ferrule_tests::invoke::addresses(result).get(nth).cloned().expect("an address")
}

/// A node's state, but for the leases' history and the switches that make it forward.
fn steady(node: &Node) -> Snapshot {
    Snapshot::of(node).without_lease_history().without_forwarding()
}
