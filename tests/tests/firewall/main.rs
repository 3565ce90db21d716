//! The plugin firewall behind bridge: which packets pass a node that drops what it does not accept,
//! and what is left. What the reference's firewall lets through is asked of its executable too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod admin;
mod chain;
mod denials;
mod leftovers;
mod legacy;
mod policies;
mod races;
mod swap;
