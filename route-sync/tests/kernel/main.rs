//! The daemon's inside against the real kernel.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod admission;
mod bgp;
mod common;
mod failures;
mod repair;
mod tunnel;
