//! Clusters of nodes: route-sync on each, pods attached by the vxlan plugin, packets across.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod doors;
mod events;
mod flannel;
mod flannel_api;
mod foreign;
mod forwarding;
mod guard;
mod kubernetes;
mod life;
mod masquerade;
mod neighbours;
mod node_set;
mod packets;
mod plugin;
mod prefer;
mod probe;
mod rejoin;
mod rules;
mod sample;
mod seen;
mod sources;
mod strain;
mod underlay;

use ferrule_tests::cluster;
