//! The BGP speaker: sessions over TCP, what is heard as routes of the kernel, this node's CIDRs
//! announced. The protocol itself is the crate `bgp-speaker`.
//!
//! [`Speaker`] is driven by the daemon's loop: it waits with [`Speaker::hear`], acts on what came
//! ([`Speaker::act`]), and tells which routes changed ([`Speaker::follow`]). What is installed is
//! [`crate::sync`]'s.

pub mod config;
mod dial;
mod driver;
mod follow;
mod limit;
mod lookup;
mod neighbor;
#[cfg(test)]
mod netns;
mod refused;
mod reload;
mod remarks;
pub mod report;
pub mod status;
mod steady;
pub mod table;
mod tcp;

pub use driver::Speaker;
pub use tcp::Heard;
