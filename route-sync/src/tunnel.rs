//! The tunnel to nodes that are on no link of this one: its device, and what goes through it.

pub mod device;
pub mod ensure;
pub mod filter;
pub mod plan;
