//! The daemon's part of nftables, and forwarding: what packets of pods may do on this node.

pub mod forwarding;
pub mod plan;
pub mod rules;
mod sources;
