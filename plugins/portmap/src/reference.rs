//! Host ports that the reference's portmap made, before its executable was replaced by this one.

use attach::{Foreign, Kernel, Link, failed};
use cni::{Attachment, Error, Request, Result};

/// Finds them by the reference's own names.
pub(crate) struct Reference;

impl Foreign for Reference {
    fn silence(&self, _: &Request, _: &mut Kernel, _: &Attachment) -> Result<Option<Link>> {
        Ok(None)
    }

    fn remove_rules(&self, kernel: &mut Kernel, attachment: &Attachment) -> Result<()> {
        let Attachment { network, container_id, .. } = attachment;
        let nft = kernel.nft();
        settled(nft.and_then(|nft| Ok(nft.del_reference_hostports(network, container_id)?)))
    }

    fn gc(&self, request: &Request, kernel: &mut Kernel, _: &mut Vec<Attachment>) -> Vec<Error> {
        // Without a list, as clients of before 1.1.0 call, nothing is known to be invalid.
        let Some(valid) = &request.conf.valid_attachments else { return Vec::new() };
        let valid: Vec<_> = valid.iter().map(|valid| valid.container_id.as_str()).collect();
        let nft = kernel.nft();
        let removed =
            nft.and_then(|nft| Ok(nft.gc_reference_hostports(&request.conf.name, &valid)?));
        settled(removed).err().into_iter().collect()
    }
}

/// A kernel without nf_tables holds none of them.
fn settled(removed: attach::Result<()>) -> Result<()> {
    match removed {
        Err(attach::Error::Nft(error)) if error.is_unsupported() => Ok(()),
        removed => removed.map_err(|error| failed(&error)),
    }
}
