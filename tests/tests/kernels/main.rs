//! What needs parts of the kernel that not every machine has: VLAN filtering and devices, dummies,
//! bonds, netem, SCTP, br_netfilter, VRFs. `scripts/test` runs this suite on Linux 6.1, by `scripts/vm`;
//! `cargo test` leaves it out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod br_netfilter;
mod losses;
mod peer;
mod rest;
mod sctp;
mod underlay;
mod vlan;
mod vrf;
