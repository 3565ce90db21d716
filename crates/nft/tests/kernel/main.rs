//! Our tables in a real kernel, each test in a network namespace of its own, with the `nft` tool
//! as the oracle. Needs root and nftables; nothing outside those namespaces is touched.
// Clippy's allow-unwrap-in-tests knows functions with #[test], not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod concurrency;
mod firewall;
mod hostports;
mod macspoof;
mod masquerade;
mod neighbours;
mod node;
mod policy;
mod rpfilter;
