//! NetworkPolicy on one node: packets between pods, through sequences of changes, and from a pod's first
//! packet on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod changes;
mod families;
mod first;
mod hold;
mod life;
#[path = "../../../policy-sync/src/state/tests/naive.rs"]
mod naive;
mod sctp;
mod site;
mod strict;
