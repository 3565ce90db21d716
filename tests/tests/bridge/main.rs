//! The bridge plugin as a runtime and the pods see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod addresses;
mod bridge_mac;
mod check;
mod claim;
mod delegation;
mod dhcp;
mod failure;
mod first_packet;
mod forwarding;
mod gateways;
mod gc_status;
mod ipv6_rules;
mod keys;
mod learning;
mod links;
mod lost_records;
mod masquerade;
mod pods;
mod read_only_sysctls;
mod records;
mod reference_pods;
mod routers;
mod routes;
mod slow_ipam;
mod spoof;
mod stp;

use ferrule_tests::node::Place;
use ferrule_tests::{Node, Snapshot, conf};
use serde_json::Value;

/// A node's state without what its first pod leaves for the next by intent.
fn steady(snapshot: Snapshot) -> Snapshot {
    snapshot.without_first_use(conf::BRIDGE)
}

/// The host side's veth of a result.
fn veth(result: &Value) -> &str {
    result["interfaces"][1]["name"].as_str().expect("the second interface is the host's veth")
}

/// The address of a result, the nth, without its length.
fn address(result: &Value, nth: usize) -> String {
    ferrule_tests::invoke::addresses(result).get(nth).cloned().expect("an address")
}

/// The records of attachments, a line for each.
fn records(node: &Node) -> String {
    node.sh("ls /run/ferrule/attachments 2>/dev/null || true")
}
