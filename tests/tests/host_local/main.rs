//! The host-local plugin on its own: addresses, leases on disk, and life beside the reference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod allocation;
mod disk;
mod refusals;
mod requests;
mod upkeep;
mod with_reference;

use ferrule_tests::{Node, Pod, conf};
use serde_json::{Value, json};

/// Where leases of the network `pods` are.
const LEASES: &str = "/var/lib/cni/networks/pods";

/// One range set for each argument.
fn ranges(sets: &[Value]) -> Value {
    let sets: Vec<Value> = sets.iter().map(|range| json!([range])).collect();
    conf::host_local(&json!(sets))
}

/// Addresses 10.1.0.2 to 10.1.0.6 (.1 is the gateway, .7 the broadcast).
fn five() -> Value {
    ranges(&[json!({"subnet": "10.1.0.0/29"})])
}

/// ADD for a new pod; gives the pod and its first address.
fn lease(node: &Node, config: &Value) -> (Pod, String) {
    let pod = Pod::new();
    let result = node.attach(config, &pod).add();
    let first = ferrule_tests::invoke::addresses(&result).first().cloned();
    (pod, first.expect("an address"))
}
