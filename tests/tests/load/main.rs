//! The plugins under load: many at once, many of them, for long, and with hostile input.
//!
//! `FERRULE_LONG=1` makes the counts those of a long run. Every test prints what it counted:
//! `cargo test -p ferrule-tests --test load -- --nocapture --test-threads=1`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod again;
mod crowd;
mod full;
mod garbage;
mod gc;
mod life;
mod names;
mod stdin;
mod swap;
mod waves;
mod writers;

use std::time::{Duration, Instant};

use ferrule_tests::conf::{self, BRIDGE};
use ferrule_tests::node::Place;
use ferrule_tests::{Node, Snapshot, within};
use serde_json::{Value, json};

/// Where the leases of the network `pods` are.
const LEASES: &str = "/var/lib/cni/networks/pods";

/// A count of the normal run, or of the long one.
fn count(normal: usize, long: usize) -> usize {
    if ferrule_tests::long() { long } else { normal }
}

/// Prints a line of the suite's report.
#[allow(clippy::print_stdout, reason = "the counts are what a long run is for")]
fn report(text: &str) {
    println!("load: {text}");
}

/// Runs a step; gives its result and the milliseconds that it took.
fn timed<T>(step: impl FnOnce() -> T) -> (T, u128) {
    let start = Instant::now();
    let result = step();
    (result, start.elapsed().as_millis())
}

/// [`conf::full`] over ranges that hold more than 500 pods.
fn full() -> Value {
    let ranges = json!([[{"subnet": "10.1.0.0/20"}], [{"subnet": "fd00:1::/64"}]]);
    conf::with(&conf::full(), &json!({"ipam": {"ranges": ranges}}))
}

/// A node's state without what its first pod leaves for the next by intent.
fn steady(node: &Node) -> Snapshot {
    Snapshot::of(node).without_first_use(BRIDGE)
}

/// A node's state after its last pod went: the bridge stays, and loses its carrier a moment later.
fn idle(node: &Node) -> Snapshot {
    let lost =
        || node.link(BRIDGE)?["flags"].as_array()?.contains(&json!("NO-CARRIER")).then_some(());
    within(Duration::from_secs(20), lost).expect("a bridge without ports has no carrier");
    Snapshot::of(node).without_lease_history()
}

/// The records of attachments.
fn records(node: &Node) -> usize {
    let listed = node.sh("[ ! -d /run/ferrule/attachments ] || ls -1 /run/ferrule/attachments");
    listed.lines().count()
}
