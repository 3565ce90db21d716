//! The API server of Kubernetes as a source: the objects that our programs need, reduced to the fields
//! that they need ([`objects`]), as complete sets that follow every change ([`watch()`]).
//!
//! With the feature `client` off there are only the types, for files of objects.

#[cfg(feature = "client")]
mod access;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
pub mod condition;
#[cfg(feature = "client")]
pub mod events;
#[cfg(feature = "client")]
mod fault;
pub mod objects;
#[cfg(test)]
#[cfg(feature = "client")]
mod server;
#[cfg(feature = "client")]
mod watch;

#[cfg(feature = "client")]
pub use access::Access;
#[cfg(feature = "client")]
pub use client::Client;
#[cfg(feature = "client")]
pub use fault::Fault;
#[cfg(feature = "client")]
pub use watch::{Reading, Selection, watch};
