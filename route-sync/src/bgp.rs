//! The BGP speaker: sessions over TCP, in which this node's CIDRs are announced and routes are
//! learned. The protocol itself is the crate `bgp-speaker`.
//!
//! [`Speaker`] is driven by the daemon's loop: it waits with [`Speaker::next_event`], acts on the event
//! ([`Speaker::act`]), and returns which routes changed ([`Speaker::follow`]). [`crate::sync`] puts
//! them into the kernel.

pub mod config;
mod dial;
mod driver;
mod follow;
mod identity;
mod limit;
mod listen_failure;
mod lookup;
mod neighbor;
#[cfg(test)]
mod netns;
mod refusals;
mod refused;
mod reload;
mod remarks;
pub mod report;
pub mod status;
mod steady;
pub mod table;
mod tcp;

pub use driver::Speaker;
pub use tcp::NetworkEvent;
