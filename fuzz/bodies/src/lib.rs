//! What must hold for any bytes that come from outside.
//!
//! A function for each door, which panics when something does not hold. cargo-fuzz runs them over
//! what it makes up (`fuzz/fuzz_targets/`), and `cargo test` over the corpus, over mutations of
//! it and over noise (`tests/`). None needs root, and none changes the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what does not hold has to stop the run"
)]

mod bgp;
mod dhcp;
mod lease;
mod leases;
mod netlink;
mod prev_result;
mod resolv_conf;
mod stdin;

pub use bgp::bgp;
pub use dhcp::dhcp;
pub use lease::lease;
pub use leases::leases;
pub use netlink::{nftables, rtnetlink};
pub use prev_result::prev_result;
pub use resolv_conf::resolv_conf;
pub use stdin::stdin;

/// What must hold for some bytes.
pub type Body = fn(&[u8]);

/// Every body, by the name of its target.
pub const BODIES: [(&str, Body); 9] = [
    ("stdin", stdin),
    ("prev_result", prev_result),
    ("lease", lease),
    ("leases", leases),
    ("resolv_conf", resolv_conf),
    ("rtnetlink", rtnetlink),
    ("nftables", nftables),
    ("bgp", bgp),
    ("dhcp", dhcp),
];

/// An error is one document in every version of the protocol.
fn is_told(error: &cni::Error) {
    for version in cni::Version::ALL {
        let document: serde_json::Value =
            serde_json::from_slice(&error.to_json(version)).expect("one JSON document");
        assert_eq!(document["cniVersion"], version.as_str());
        assert!(document["code"].as_u64().is_some_and(|code| code > 0), "{document}");
        assert!(document["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{document}");
    }
}
