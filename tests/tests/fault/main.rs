//! Faults: what a node looks like after a bad day. Each operation made to fail, calls killed at any
//! instant, DEL in every bad circumstance; and the node as it was.
//!
//! `FERRULE_LONG=1` is the whole of it by the same code, and prints the tables that
//! docs/fault.md keeps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failed expectation is a failed test, and the tables are for people"
)]

mod bench;
mod chained;
mod del;
mod deletion;
mod dhcp;
mod forever;
mod kill;
mod report;
mod seam;
mod started;
mod steps;
mod sysctls;

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::on_each_chained_plugin as on_each_plugin;
use serde_json::{Value, json};

/// The same network without a bridge, by the plugin bgp.
fn routed(network: &Value) -> Value {
    let others = ["bridge", "isGateway", "macspoofchk"].map(|key| (key.to_owned(), Value::Null));
    let others = Value::Object(others.into_iter().collect());
    conf::with(&conf::with(network, &others), &json!({"type": "bgp", "ipam": {"routes": null}}))
}

/// What answers a pod of a network of [`conf::full`] or [`routed`].
fn gateway(network: &Value) -> &'static str {
    if network["type"] == "bgp" { "169.254.1.1" } else { GATEWAY4 }
}
