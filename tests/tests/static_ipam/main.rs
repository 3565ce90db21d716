//! The static plugin: below each main plugin by packet, and what its calls say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod calls;
mod networks;

use ferrule_tests::conf;
use serde_json::{Value, json};

/// The `ipam` of an address of each family, of the network's host `host`.
pub fn ipam(host: u8) -> Value {
    json!({"type": "static", "addresses": [
        {"address": format!("10.1.0.{host}/24"), "gateway": "10.1.0.1"},
        {"address": format!("fd00:1::{host}/64"), "gateway": "fd00:1::1"}]})
}

/// static alone.
pub fn alone(ipam: &Value) -> Value {
    json!({"cniVersion": conf::version(), "name": "pods", "type": "static", "ipam": ipam})
}
