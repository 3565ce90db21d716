//! What the daemon `route-sync` and the plugins agree on about a node: the file `node.json`
//! ([`Node`]), the daemon's lock ([`Lock`]) and the facts of a VXLAN tunnel end point that every node
//! derives for every other ([`vtep`]), so that nothing needs to be exchanged; and with `policy-sync` the
//! file `policy.json` ([`Policy`]).

mod file;
pub mod files;
pub mod keeper;
mod lock;
pub mod policy;
mod run_file;
pub mod vtep;

pub use file::{Bgp, Earlier, Error, Node, Vxlan};

/// The protocol number of what comes from the node set: the daemon's routes, and the addresses of
/// gateways inside of the node's own pod CIDRs.
pub const PROTOCOL: u8 = 118;
pub use keeper::Keeper;
pub use lock::Lock;
pub use policy::Policy;

/// Where node.json and the daemon's lock are by default.
pub const RUN_DIR: &str = "/run/ferrule";
