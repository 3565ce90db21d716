//! Host ports that the reference made by iptables-nft for containers that are gone.

use super::{HOSTPORT_DNAT, IP_NAT, IP6_NAT, host_ports_chain, jumps_to};
use crate::Nft;
use crate::kernel::answer::FoundRule;
use crate::kernel::error::Result;

/// How the chains begin, one for each container.
const PREFIX: &str = "CNI-DN-";

impl Nft {
    /// Removes the host ports that the reference made by iptables-nft for containers of a network
    /// other than the valid ones.
    ///
    /// # Errors
    /// As the kernel reports them; what is not there is success.
    pub fn gc_reference_hostports(&mut self, network: &str, valid: &[&str]) -> Result<()> {
        let keep: Vec<_> = valid.iter().map(|id| host_ports_chain(network, id)).collect();
        let of_network = format!("dnat name: \"{network}\" id: ");
        for table in [IP_NAT, IP6_NAT] {
            let mut stale: Vec<String> = self
                .rules(table, HOSTPORT_DNAT)?
                .iter()
                .filter(|rule| rule.iptables_comment().is_some_and(|c| c.starts_with(&of_network)))
                .filter_map(FoundRule::jump)
                .map(str::to_owned)
                .filter(|chain| chain.starts_with(PREFIX) && !keep.contains(chain))
                .collect();
            // A jump for each protocol.
            stale.dedup();
            for chain in stale {
                let chains = [chain.clone()];
                self.del_foreign(table, HOSTPORT_DNAT, &chains, &|rule| jumps_to(rule, &chain))?;
            }
        }
        Ok(())
    }
}
