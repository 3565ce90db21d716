//! `ferrule`: each symptom on a node that is broken in just that way, silence on a healthy one, the way of packets,
//! and the archive for bug reports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod addresses;
mod bench;
mod configuration;
mod health;
mod overlay;
mod packets;
mod programs;
mod show;
mod support;
mod trace;
