//! What was dropped, as packets recorded it.

use std::net::IpAddr;

use super::frame::{FAMILIES, POLICY, names};
use super::keys;
use crate::Nft;
use crate::kernel::batch::elements;
use crate::kernel::error::Result;
use netlink_packet_netfilter::nftables::NfTablesMessage;

/// Packets that were dropped in the last ten minutes, or would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dropped {
    /// Who sent them.
    pub source: IpAddr,
    /// Whom to, after translation.
    pub destination: IpAddr,
    /// Their protocol's number.
    pub protocol: u8,
    /// Their destination port; of ICMP type and code, a byte each.
    pub port: u16,
    /// How many.
    pub packets: u64,
    /// They passed: a policy in dry run would have dropped them.
    pub trial: bool,
}

impl Nft {
    /// What was dropped in the last ten minutes, at most 4,096 flows of each family.
    ///
    /// # Errors
    /// As the kernel reports them; without our table nothing was dropped.
    pub fn policy_drops(&mut self) -> Result<Vec<Dropped>> {
        let mut drops = Vec::new();
        for family in FAMILIES {
            let names = names(family);
            for (set, trial) in [(names.drops, false), (names.trials, true)] {
                let what = format!("list {} of table {}", set.name, POLICY.title);
                let question =
                    NfTablesMessage::GetSetElement(elements(POLICY, set.name, Vec::new()));
                for (key, packets) in self.socket.counted(&what, POLICY.family, question)? {
                    let flow = keys::read_flow(&key);
                    drops.extend(flow.map(|(source, destination, protocol, port)| Dropped {
                        source,
                        destination,
                        protocol,
                        port,
                        packets,
                        trial,
                    }));
                }
            }
        }
        Ok(drops)
    }
}
