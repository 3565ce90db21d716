//! What the reference's firewall leaves to the plugin that deletes an attachment that it made: two
//! rules in CNI-FORWARD for each address.

use std::net::IpAddr;

use super::forward::{CNI_FORWARD, FILTER};
use crate::Nft;
use crate::kernel::batch::Batch;
use crate::kernel::error::Result;
use crate::kernel::expr::{Ip, in_network};
use crate::kernel::foreign::Foreign;
use crate::kernel::ruling::{End, Ruling};
use crate::rules::tables::INET;

/// `-s ADDRESS -j ACCEPT`, or `-d ADDRESS -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
/// which has more conditions behind its first two expressions.
fn is_of(rule: &Ruling, address: IpAddr) -> bool {
    let ip = Ip::of(address.into());
    let mut first = rule.clone();
    first.conditions.truncate(2);
    let from = rule.asks(&in_network(ip, ip.saddr(), address.into()));
    let to = first.asks(&in_network(ip, ip.daddr(), address.into()));
    rule.end == End::Accept && rule.comment.is_none() && (from || to)
}

impl Nft {
    /// Removes the rules that the reference's firewall made for an address, and its chain
    /// CNI-FORWARD with the last.
    ///
    /// # Errors
    /// As the kernel reports them; what is not there is success.
    pub fn del_reference_forwarded(&mut self, address: IpAddr) -> Result<()> {
        let table = Foreign::of_iptables(Ip::of(address.into()), FILTER);
        self.at_generation(|nft, generation| {
            let rules = nft.rulings(&table, CNI_FORWARD)?;
            let ended = |rule: &Ruling| is_of(rule, address);
            if !rules.iter().any(ended) {
                return Ok(());
            }
            let mut batch = Batch::new(INET);
            nft.del_cni_forward(&mut batch, &table, &rules, &ended)?;
            nft.commit_removal(&batch, generation).map(drop)
        })
    }
}
