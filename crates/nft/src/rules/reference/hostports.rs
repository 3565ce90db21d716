//! Host ports that the reference's portmap plugin made.
//!
//! | backend | table | rules | chains |
//! |---|---|---|---|
//! | iptables-nft | `ip nat`, `ip6 nat` | jumps in `CNI-HOSTPORT-DNAT` | `CNI-DN-` and 21 hex of SHA-512 of network and container |
//! | nftables | `ip cni_hostport`, `ip6 cni_hostport` | in `hostports`, `hostip_hostports`, `masquerading`, by the container's ID as their comment | |

use super::{IP_NAT, IP6_NAT, hash, jumps_to};
use crate::Nft;
use crate::kernel::answer::FoundRule;
use crate::kernel::batch::Table;
use crate::kernel::error::Result;
use netlink_packet_netfilter::NetfilterProtoFamily;

const NAME: &str = "cni_hostport";
const TABLES: [Table; 2] = [
    Table { family: NetfilterProtoFamily::IPv4, name: NAME, title: "ip cni_hostport" },
    Table { family: NetfilterProtoFamily::IPv6, name: NAME, title: "ip6 cni_hostport" },
];
const CHAINS: [&str; 3] = ["hostports", "hostip_hostports", "masquerading"];

/// What every container's jump stands in.
const JUMPS: &str = "CNI-HOSTPORT-DNAT";
/// How the chains begin, one for each container.
const PREFIX: &str = "CNI-DN-";

impl Nft {
    /// Removes the host ports that the reference made for a container. Rules of iptables-legacy are
    /// not in nf_tables and stay.
    ///
    /// # Errors
    /// As the kernel reports them; what is not there is success.
    pub fn del_reference_hostports(&mut self, network: &str, container: &str) -> Result<()> {
        let chain = dnat_chain(network, container);
        for table in [IP_NAT, IP6_NAT] {
            let chains = [chain.clone()];
            self.del_foreign(table, JUMPS, &chains, &|rule| jumps_to(rule, &chain))?;
        }
        let own = |rule: &FoundRule| rule.comment.as_deref() == Some(container);
        for table in TABLES {
            for chain in CHAINS {
                self.del_foreign(table, chain, &[], &own)?;
            }
        }
        Ok(())
    }

    /// Removes the host ports that the reference made by iptables for containers of a network other
    /// than the valid ones. Its rules of nftables do not name the network, and stay.
    ///
    /// # Errors
    /// As the kernel reports them; what is not there is success.
    pub fn gc_reference_hostports(&mut self, network: &str, valid: &[&str]) -> Result<()> {
        let keep: Vec<_> = valid.iter().map(|container| dnat_chain(network, container)).collect();
        let of_network = format!("dnat name: \"{network}\" id: ");
        for table in [IP_NAT, IP6_NAT] {
            let mut stale: Vec<String> = self
                .rules(table, JUMPS)?
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
                self.del_foreign(table, JUMPS, &chains, &|rule| jumps_to(rule, &chain))?;
            }
        }
        Ok(())
    }
}

fn dnat_chain(network: &str, container: &str) -> String {
    let digits = hash(22, &format!("{network}{container}"));
    format!("{PREFIX}{}", digits.get(..21).unwrap_or(&digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_named_as_the_reference_names_them() {
        // utils.MustFormatChainNameWithPrefix("test", "1234", "DN-").
        assert_eq!(dnat_chain("test", "1234"), "CNI-DN-2bbe0c48b91a7d1b8a675");
    }
}
