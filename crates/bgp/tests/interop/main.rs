//! The speaker against BIRD 2 and FRR over TCP, each in a network of its own. The other side is
//! asked what it sees.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation fails the test")]

mod bird;
mod frr;
mod speaker;
