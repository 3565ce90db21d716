//! Host ports that the reference made, before its executables were replaced by ours.

use attach::{Foreign, Kernel, Link, failed};
use cni::{Attachment, Error, Request, Result};

/// The plugin portmap of containernetworking.
pub struct Reference;

impl Foreign for Reference {
    /// The link is the main plugin's.
    fn silence(&self, _: &Request, _: &mut Kernel, _: &Attachment) -> Result<Option<Link>> {
        Ok(None)
    }

    fn remove_rules(&self, kernel: &mut Kernel, attachment: &Attachment) -> Result<()> {
        let Attachment { network, container_id, .. } = attachment;
        let removed =
            kernel.nft().and_then(|nft| Ok(nft.del_reference_host_ports(network, container_id)?));
        removed.map_err(|error| failed(&error))
    }

    /// Its rules by nftables do not tell the network, so nothing is known to be stale.
    fn gc(&self, _: &Request, _: &mut Kernel, _: &mut Vec<Attachment>) -> Vec<Error> {
        Vec::new()
    }
}
