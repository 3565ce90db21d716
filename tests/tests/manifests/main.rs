//! conf/kubernetes: that the variants, the chart and the image are made from one source, that what they
//! configure is valid, and that the API server grants what route-sync uses and nothing else. Suite
//! `kubernetes` applies the same files to a cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod accepted;
mod built;
mod chart;
mod image;
mod rights;
mod text;
mod variants;
