//! NetworkPolicy on one node: packets between pods, through sequences of changes, and from a pod's first
//! packet on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod hold;
