//! The dhcp plugin and its daemon, against Debian's servers: dhcpd and dnsmasq.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod daemon;
mod leases;
mod losses;
mod options;
mod reference;
mod restarts;

use ferrule_tests::dhcp::{Daemon, PATIENCE, lan, log, pods, records, status};
