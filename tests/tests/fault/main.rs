//! Faults: what a node looks like after a bad day. Each operation made to fail, calls killed at any
//! instant, DEL in every bad circumstance; and the node as it was.
//!
//! `FERRULE_LONG=1` is the whole of it by the same code, and prints the tables that
//! docs/fault.md keeps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failed expectation is a failed test, and the tables are for people"
)]

mod bench;
mod del;
mod kill;
mod report;
mod seam;
mod steps;

use ferrule_tests::conf;
use serde_json::{Value, json};

/// Whether the whole of it is asked for.
fn long() -> bool {
    std::env::var_os("FERRULE_LONG").is_some_and(|set| !set.is_empty())
}

/// Both families, masquerade and the check of MAC addresses.
fn full() -> Value {
    conf::with(&conf::dual(), &json!({"ipMasq": true, "macspoofchk": true}))
}
