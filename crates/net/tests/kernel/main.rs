//! Every verb in a real kernel, each test in network namespaces of its own, with iproute2 as the
//! oracle. Needs root, iproute2 and strace; nothing outside those namespaces is touched.
// Clippy's allow-unwrap-in-tests knows functions with #[test], not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod batch;
mod common;
mod deletion;
mod dumps;
mod links;
mod monitor;
mod neighbours;
mod netns;
mod packet;
mod qdiscs;
mod reconcile;
mod routes;
mod socket;
mod vlans;
mod vxlan;
