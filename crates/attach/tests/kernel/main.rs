//! Plans in a real kernel, each test in network namespaces of its own. Needs root, iproute2 and
//! nftables; nothing outside those namespaces is touched.
// Clippy's allow-unwrap-in-tests knows functions with #[test], not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod alter;
mod check;
mod common;
mod races;
mod remove;
mod routed;
mod shared;
mod undo;
