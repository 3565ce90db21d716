//! What the reference suite (containernetworking/plugins) leaves to the plugin that deletes an attachment
//! that it made: rules of its own, found by its own hash of the attachment.
//!
//! | for | table | rules | chains |
//! |---|---|---|---|
//! | ipMasq by iptables-nft | `ip nat`, `ip6 nat` | jumps in POSTROUTING | `CNI-` and 24 hex of SHA-512 of network and container |
//! | ipMasq by nftables | `inet cni_plugins_masquerade` | in `masq_checks`, by comment | |
//! | portmap by iptables-nft | `ip nat`, `ip6 nat` | jumps in CNI-HOSTPORT-DNAT | `CNI-DN-` and 21 hex of SHA-512 of network and container |
//! | portmap by nftables | `ip cni_hostport`, `ip6 cni_hostport` | in three chains, by comment: the container | |
//! | macspoofchk | `bridge nat` | jumps in PREROUTING | `cni-br-iface-<container>-<interface>`, and with `-mac` |

use netlink_packet_netfilter::NetfilterProtoFamily;
use sha2::{Digest, Sha512};

use crate::Nft;
use crate::kernel::answer::FoundRule;
use crate::kernel::batch::{Batch, Table};
use crate::kernel::error::Result;

mod hostports;

const IP_NAT: Table = Table { family: NetfilterProtoFamily::IPv4, name: "nat", title: "ip nat" };
const IP6_NAT: Table = Table { family: NetfilterProtoFamily::IPv6, name: "nat", title: "ip6 nat" };
const BRIDGE_NAT: Table =
    Table { family: NetfilterProtoFamily::Bridge, name: "nat", title: "bridge nat" };
const MASQUERADE: Table = Table {
    family: NetfilterProtoFamily::Inet,
    name: "cni_plugins_masquerade",
    title: "inet cni_plugins_masquerade",
};

const HOSTPORTS: [Table; 2] = [
    Table { family: NetfilterProtoFamily::IPv4, name: "cni_hostport", title: "ip cni_hostport" },
    Table { family: NetfilterProtoFamily::IPv6, name: "cni_hostport", title: "ip6 cni_hostport" },
];
const HOSTPORT_CHAINS: [&str; 3] = ["hostports", "hostip_hostports", "masquerading"];
const HOSTPORT_DNAT: &str = "CNI-HOSTPORT-DNAT";

const POSTROUTING: &str = "POSTROUTING";
const MASQ_CHECKS: &str = "masq_checks";
const PREROUTING: &str = "PREROUTING";

impl Nft {
    /// Removes the masquerade and MAC spoofing rules that the reference made for an attachment.
    /// Rules of iptables-legacy are not in nf_tables and stay.
    ///
    /// # Errors
    /// As the kernel reports them; what is not there is success.
    pub fn del_reference(&mut self, network: &str, container: &str, ifname: &str) -> Result<()> {
        let chain = masquerade_chain(network, container);
        for table in [IP_NAT, IP6_NAT] {
            let chains = [chain.clone()];
            self.del_foreign(table, POSTROUTING, &chains, &|rule| jumps_to(rule, &chain))?;
        }
        let instance = masquerade_comment(network, container, ifname);
        let ours =
            |rule: &FoundRule| rule.comment.as_ref().is_some_and(|c| c.starts_with(&instance));
        self.del_foreign(MASQUERADE, MASQ_CHECKS, &[], &ours)?;
        self.del_reference_macspoof(&macspoof_chain(container, ifname))
    }

    /// Removes the host ports that the reference's portmap made for a container, by either backend.
    /// Rules of iptables-legacy are not in nf_tables and stay.
    ///
    /// # Errors
    /// As the kernel reports them; what is not there is success.
    pub fn del_reference_host_ports(&mut self, network: &str, container: &str) -> Result<()> {
        let chain = host_ports_chain(network, container);
        for table in [IP_NAT, IP6_NAT] {
            let chains = [chain.clone()];
            self.del_foreign(table, HOSTPORT_DNAT, &chains, &|rule| jumps_to(rule, &chain))?;
        }
        let ours = |rule: &FoundRule| rule.comment.as_deref() == Some(container);
        for table in HOSTPORTS {
            for chain in HOSTPORT_CHAINS {
                self.del_foreign(table, chain, &[], &ours)?;
            }
        }
        Ok(())
    }

    /// Removes a chain ([`macspoof_chain`]) that checks source MAC addresses for the reference,
    /// with the one behind it and the jump to it.
    ///
    /// # Errors
    /// As the kernel reports them; what is not there is success.
    pub fn del_reference_macspoof(&mut self, chain: &str) -> Result<()> {
        let chains = [chain.to_owned(), format!("{chain}-mac")];
        self.del_foreign(BRIDGE_NAT, PREROUTING, &chains, &|rule| jumps_to(rule, chain))
    }

    /// The ports whose source MAC addresses the reference checks, and the chains that do.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn reference_macspoofs(&mut self) -> Result<Vec<(String, String)>> {
        let rules = self.rules(BRIDGE_NAT, PREROUTING)?;
        let checks =
            rules.iter().filter_map(|rule| Some((rule.compared_name()?, rule.jump()?.to_owned())));
        Ok(checks.filter(|(_, chain)| chain.starts_with(MACSPOOF_PREFIX)).collect())
    }

    /// Removes the masquerade rules that the reference made for attachments of a network other
    /// than the valid ones, given as container and interface.
    ///
    /// # Errors
    /// As the kernel reports them; what is not there is success.
    pub fn gc_reference(&mut self, network: &str, valid: &[(&str, &str)]) -> Result<()> {
        let keep: Vec<_> = valid.iter().map(|(id, _)| masquerade_chain(network, id)).collect();
        let of_network = format!("name: {network:?} id: ");
        for table in [IP_NAT, IP6_NAT] {
            // A chain's name tells nothing of the network; the comment of the jump to it does.
            let stale: Vec<String> = self
                .rules(table, POSTROUTING)?
                .iter()
                .filter(|rule| rule.iptables_comment().is_some_and(|c| c.starts_with(&of_network)))
                .filter_map(FoundRule::jump)
                .map(str::to_owned)
                .filter(|chain| chain.starts_with(CHAIN_PREFIX) && !keep.contains(chain))
                .collect();
            for chain in stale {
                let chains = [chain.clone()];
                self.del_foreign(table, POSTROUTING, &chains, &|rule| jumps_to(rule, &chain))?;
            }
        }
        let of_network = format!("{}-", hash(16, network));
        let keep: Vec<_> =
            valid.iter().map(|(id, ifname)| masquerade_comment(network, id, ifname)).collect();
        self.del_foreign(MASQUERADE, MASQ_CHECKS, &[], &|rule| {
            rule.comment.as_ref().is_some_and(|comment| {
                comment.starts_with(&of_network)
                    && !keep.iter().any(|valid| comment.starts_with(valid.as_str()))
            })
        })
    }

    /// Removes rules of a chain, and then chains, in one batch.
    fn del_foreign(
        &mut self,
        table: Table,
        base: &str,
        chains: &[String],
        ours: &dyn Fn(&FoundRule) -> bool,
    ) -> Result<()> {
        self.at_generation(|nft, generation| {
            let mut present = Vec::new();
            for chain in chains {
                if nft.chain(table, chain)?.is_some() {
                    present.push(chain);
                }
            }
            // The rules lead to a chain: without it there are none, and nothing is listed.
            if present.is_empty() && !chains.is_empty() {
                return Ok(());
            }
            let rules: Vec<_> = nft.rules(table, base)?.into_iter().filter(ours).collect();
            let mut batch = Batch::new(table);
            for rule in &rules {
                batch.del_rule(base, rule.handle);
            }
            for chain in present {
                batch.del_chain(chain);
            }
            if batch.steps().is_empty() {
                return Ok(());
            }
            nft.commit_removal(&batch, generation).map(drop)
        })
    }
}

/// That many hexadecimal digits of SHA-512, as the reference's `FormatHashWithPrefix` takes them.
fn hash(digits: usize, text: &str) -> String {
    let bytes = Sha512::digest(text);
    bytes.iter().take(digits / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// How the chains begin, one for each container, that iptables-nft's POSTROUTING jumps to.
const CHAIN_PREFIX: &str = "CNI-";

fn masquerade_chain(network: &str, container: &str) -> String {
    format!("{CHAIN_PREFIX}{}", hash(24, &format!("{network}{container}")))
}

/// All chains' names have 28 characters.
fn host_ports_chain(network: &str, container: &str) -> String {
    let mut name = format!("{CHAIN_PREFIX}DN-{}", hash(22, &format!("{network}{container}")));
    name.truncate(28);
    name
}

const MACSPOOF_PREFIX: &str = "cni-br-iface-";

/// The chain that the frames of an attachment whose source MAC address the reference checks go
/// through first.
pub fn macspoof_chain(container: &str, ifname: &str) -> String {
    format!("{MACSPOOF_PREFIX}{container}-{ifname}")
}

/// How the comment of an attachment's rules in `masq_checks` begins.
fn masquerade_comment(network: &str, container: &str, ifname: &str) -> String {
    format!("{}-{}", hash(16, network), hash(16, &format!("{ifname}:{container}")))
}

fn jumps_to(rule: &FoundRule, chain: &str) -> bool {
    rule.jump() == Some(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_references() {
        // utils.FormatChainName("test", "1234") of its own tests.
        assert_eq!(format!("CNI-{}", hash(24, "test1234")), "CNI-2bbe0c48b91a7d1b8a6753a8");
    }
}
