//! What route-sync does for the container runtime of its node (`[cni]`): the network's conflist, the
//! plugins' executables, uninstall.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod confined;
mod conflist;
mod executables;
mod scene;
mod uninstall;
