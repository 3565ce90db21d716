//! Forwarded packets pass rules of nf_tables, and those of iptables-legacy, which nf_tables does not
//! see.

use crate::kernel::{Error, Kernel, Result};
use net::xtables;
use nft::{ACCEPT_MARK, Forwarded};
use std::net::IpAddr;

impl Kernel {
    pub(crate) fn add_forwarded(&mut self, forwarded: &Forwarded) -> Result<()> {
        if let Some(dropped) = dropped_by_legacy(forwarded.address)? {
            return Err(Error::Conflict(dropped));
        }
        match self.nft()?.add_forwarded(forwarded) {
            // A chain that only its owner may change.
            Err(nft::Error::Invalid(text)) => Err(Error::Conflict(text)),
            added => Ok(added?),
        }
    }

    pub(crate) fn check_forwarded(&mut self, forwarded: &Forwarded) -> Result<Vec<String>> {
        let mut differences = self.nft()?.check_forwarded(forwarded)?;
        differences.extend(dropped_by_legacy(forwarded.address)?);
        Ok(differences)
    }
}

/// Why iptables-legacy drops what the address sends, and what to do.
fn dropped_by_legacy(address: IpAddr) -> Result<Option<String>> {
    let tool = if address.is_ipv4() { "iptables-legacy" } else { "ip6tables-legacy" };
    let dropped = xtables::forward_drops(address, ACCEPT_MARK)?;
    Ok(dropped.then(|| {
        format!(
            "{tool} drops what {address} sends: the policy of its chain FORWARD is DROP, and Ferrule \
             changes no rules of iptables-legacy; run once, for all pods: {tool} -I FORWARD -m mark \
             --mark {ACCEPT_MARK:#x}/{ACCEPT_MARK:#x} -j ACCEPT"
        )
    }))
}
