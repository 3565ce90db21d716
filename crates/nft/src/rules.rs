//! What Ferrule keeps in nf_tables: a file for each feature, and below the types that it exports.

pub(crate) mod adopt;
pub(crate) mod firewall;
pub(crate) mod hostports;
pub(crate) mod invalid;
pub(crate) mod macspoof;
pub(crate) mod masquerade;
pub(crate) mod monitor;
pub(crate) mod neighbours;
pub(crate) mod node;
pub mod policy;
pub(crate) mod reference;
pub(crate) mod rpfilter;
pub(crate) mod rule;
pub(crate) mod spans;
pub(crate) mod tables;

pub use firewall::{ACCEPT_MARK, Forwarded, Isolation};
pub use hostports::{
    Added, HostPort, HostPorts, LocalnetLink, MappedPod, Mapping, Sources, Transport,
    UnusedHostPorts,
};
pub use macspoof::Macspoof;
pub use masquerade::Masquerade;
pub use monitor::Monitor;
pub use node::sources::PodSources;
pub use node::{Guard, NodeMasquerade, NodeRules};
pub use reference::macspoof_chain as reference_macspoof_chain;
pub use rpfilter::Rpfilter;

use crate::Nft;
use crate::kernel::error::Result;

/// What removes the frame of each feature whose elements are gone.
const DEL_UNUSED: [fn(&mut Nft) -> Result<()>; 5] = [
    Nft::del_unused_masquerade,
    Nft::del_unused_rpfilter,
    Nft::del_unused_macspoof,
    Nft::del_unused_firewall,
    Nft::del_unused_host_ports,
];

impl Nft {
    /// Removes what has no element any more, because a removal was ended halfway: chains of
    /// subnets, base chains with their sets, and our tables.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn del_unused(&mut self) -> Result<()> {
        DEL_UNUSED.iter().try_for_each(|del_unused| del_unused(self))
    }
}
