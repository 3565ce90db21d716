//! Every version of the specification, and the protocol as such, for each executable.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod loopback;
mod protocol;
mod results;

use ferrule_tests::Bins;

/// All versions, oldest first.
const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Every plugin, of which the reference has the first three.
fn plugins() -> &'static [&'static str] {
    const ALL: [&str; 7] = ["bridge", "host-local", "loopback", "static", "dhcp", "bgp", "vxlan"];
    if Bins::ours().is_reference() { &ALL[..5] } else { &ALL }
}
