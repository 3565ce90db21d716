//! Input in bad faith, through the front door of the built executables.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod chained;
mod input;
