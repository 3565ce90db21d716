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

    /// Its rules by nftables do not tell the network, so of these nothing is known to be stale; nor
    /// without a list, as clients of before 1.1.0 call.
    fn gc(&self, request: &Request, kernel: &mut Kernel, _: &mut Vec<Attachment>) -> Vec<Error> {
        let Some(valid) = &request.conf.valid_attachments else { return Vec::new() };
        let valid: Vec<_> = valid.iter().map(|valid| valid.container_id.as_str()).collect();
        let nft = kernel.nft();
        let removed =
            nft.and_then(|nft| Ok(nft.gc_reference_hostports(&request.conf.name, &valid)?));
        removed.err().map(|error| failed(&error)).into_iter().collect()
    }
}
