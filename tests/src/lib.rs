//! The harness of the black-box suites: nodes and pods as namespaces, CNI calls, packets,
//! and a node's whole state to compare.
//!
//! Namespaces are held by file descriptors of the test process alone, so nothing outlives it,
//! not even when it is killed. Suites run side by side: no two nodes share anything.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a broken test bench has to stop the test"
)]

pub mod background;
pub mod bins;
pub mod chain;
pub mod chained;
pub mod cluster;
pub mod cnitool;
pub mod conf;
pub mod dhcp;
pub mod hostile;
pub mod invoke;
pub mod kubernetes;
pub mod lingering;
pub mod node;
pub mod ns;
pub mod outside;
pub mod packets;
pub mod peers;
pub mod pidns;
pub mod raw;
pub mod reset;
pub mod routers;
pub mod snapshot;
pub mod threads;
pub mod tool;

pub use background::Background;
pub use bins::Bins;
pub use chain::Chain;
pub use invoke::{Attachment, Call, Failure, Outcome};
pub use node::{Node, Pod};
pub use ns::Namespace;
pub use outside::Outside;
pub use pidns::Pidns;
pub use snapshot::Snapshot;

use std::time::{Duration, Instant};

/// Whether the tests run at full length: `scripts/test --long`.
pub fn long() -> bool {
    std::env::var_os("FERRULE_LONG").is_some_and(|set| !set.is_empty())
}

/// A time limit as this machine needs it: `$FERRULE_PATIENCE` times as long, where that is set.
/// Emulated machines are slow.
pub fn patience(limit: Duration) -> Duration {
    let times = std::env::var("FERRULE_PATIENCE").ok().and_then(|times| times.parse().ok());
    limit * times.unwrap_or(1)
}

/// Waits until `probe` gives a value, at most `limit`; None when it never did.
pub fn within<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patience(limit);
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
