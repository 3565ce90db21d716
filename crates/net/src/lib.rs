//! The kernel's network configuration: namespaces, rtnetlink verbs and sysctls. It knows nothing
//! of CNI, and decides nothing.
//!
//! A verb ([`Verb`]) is a message and the parser of its reply; [`Socket`] carries verbs out and
//! blocks. [`Monitor`] receives what any process changed, and does not block. The kernel's
//! errno stays matchable in [`Error`], its extended-ack text reaches the reader.

pub mod address;
mod child;
mod conntrack;
mod deletion;
pub mod echo;
mod family;
pub mod fdb;
pub mod filter;
mod holder;
pub mod link;
mod monitor;
pub mod neighbour;
mod netns;
mod packet;
pub mod qdisc;
pub mod route;
pub mod rule;
mod socket;
pub mod sysctl;
pub mod tcp;
pub mod vxlan;
pub mod xtables;

pub use conntrack::{Connection, Conntrack, Flow, Selection};
pub use deletion::delete;
pub use family::Family;
pub use holder::{hand_over, leave};
pub use libc::ENOENT;
pub use link::Link;
pub use monitor::{Event, Monitor, NeighbourFilter};
pub use netlink::{Answer, Error, Mac, Result, Verb};
pub use netns::{NetNs, not_astray};
pub use packet::PacketSocket;
pub use socket::Socket;
