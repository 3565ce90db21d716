//! Macspoof: a pod sends no frame with another source address than its own.
//!
//! ```text
//! table bridge ferrule {
//!     set spoof-ports { type ifname; }                  "veth0" comment "…"
//!     set spoof-macs { type ifname . ether_addr; }      "veth0" . 02:00:00:00:00:01 comment "…"
//!     chain macspoof {
//!         type filter hook prerouting priority dstnat; policy accept;
//!         iifname @spoof-ports iifname . ether saddr != @spoof-macs drop
//!     }
//! }
//! ```

use netlink::Mac;

use crate::Nft;
use crate::kernel::batch::Batch;
use crate::kernel::change::Chain;
use crate::kernel::comment;
use crate::kernel::error::{Error, Result};
use crate::kernel::expr::Rule;
use crate::kernel::query::{Marked, WantedChain};
use crate::kernel::set::{Element, NAME_LEN, key_name, name_key};
use crate::rules::rule;
use crate::rules::tables::{BRIDGE, MACSPOOF, SPOOF_MACS, SPOOF_PORTS, SPOOF_SETS};

/// One bridge port from which only one source MAC address is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Macspoof {
    /// The name of the bridge port on the host's side, 1 to 15 bytes.
    pub port: String,
    /// The pod's address, the only source address that its frames may carry.
    pub mac: Mac,
    /// Whose it is; cut to [`crate::COMMENT_MAX`] bytes by [`crate::fit`].
    pub comment: String,
}

/// The two elements. The address first: the port must never be watched without it.
fn elements(port: &str, mac: Mac, comment: &str) -> Result<[Element; 2]> {
    let Some(key) = name_key(port) else {
        return Err(Error::Invalid(format!("macspoof: {port:?} is no interface name")));
    };
    // The second part of the concatenation is padded to whole registers of 4 bytes.
    let both = [&key[..], &mac.0, &[0, 0]].concat();
    let element =
        |set, key, title| Element { set, key, title, data: None, comment: comment::fit(comment) };
    Ok([
        element(SPOOF_MACS, both, format!("{port} . {mac}")),
        element(SPOOF_PORTS, key, port.to_owned()),
    ])
}

fn base_rules() -> Vec<Rule> {
    vec![rule::drop_foreign_source(SPOOF_PORTS.name, SPOOF_MACS.name)]
}

fn frame(batch: &mut Batch) {
    batch.add_table();
    batch.add_base_chain(&MACSPOOF);
    for set in &SPOOF_SETS {
        batch.add_set(set);
    }
}

/// The port and the address that a key of `spoof-macs` consists of.
fn port_and_mac(key: &[u8]) -> Option<(String, Mac)> {
    let (name, mac) = key.split_at_checked(NAME_LEN)?;
    Some((key_name(name), Mac(mac.get(..6)?.try_into().ok()?)))
}

impl Nft {
    /// Drops frames from the port whose source is not this address. Idempotent, as
    /// [`Self::add_masquerade`] is.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a port that is no interface name; [`Error::is_unsupported`] on a
    /// kernel without nf_tables for bridges; EEXIST or EOPNOTSUPP when table `bridge ferrule`
    /// holds something of our names that is not like ours.
    pub fn add_macspoof(&mut self, m: &Macspoof) -> Result<()> {
        let elements = elements(&m.port, m.mac, &m.comment)?;
        let base = Chain { name: MACSPOOF.name, rules: base_rules(), add: &frame };
        self.put(BRIDGE, &elements, &[base]).map(drop)
    }

    /// What is not as [`Self::add_macspoof`] would make it, in words; empty: nothing.
    ///
    /// # Errors
    /// As the kernel reports them; a missing object is a difference and no error.
    pub fn check_macspoof(&mut self, m: &Macspoof) -> Result<Vec<String>> {
        let elements = elements(&m.port, m.mac, &m.comment)?;
        let mut differences = match self.table(BRIDGE)? {
            None => return Ok(vec![format!("table {} is missing", BRIDGE.title)]),
            Some(state) if state.dormant => vec![format!("table {} is dormant", BRIDGE.title)],
            Some(_) => Vec::new(),
        };
        let rules = base_rules();
        let base = [WantedChain::Base(&MACSPOOF, &rules)];
        differences.extend(self.chain_differences(BRIDGE, &base)?.concat());
        for element in &elements {
            differences.extend(self.element_differences(BRIDGE, element)?);
        }
        Ok(differences)
    }

    /// Every element: its port and address, and its comment.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn macspoofs(&mut self) -> Result<Marked<(String, Mac)>> {
        self.marked_elements(BRIDGE, &[SPOOF_MACS], port_and_mac)
    }

    /// Ends what [`Self::add_macspoof`] began, so far as the elements carry this comment;
    /// others are left alone, and gone is success. The last of all takes the table.
    ///
    /// # Errors
    /// As the kernel reports them, but for "gone" and "still in use".
    pub fn del_macspoof(&mut self, port: &str, mac: Mac, comment: &str) -> Result<()> {
        let elements = elements(port, mac, comment)?;
        self.at_generation(|nft, generation| {
            let mut batch = Batch::new(BRIDGE);
            for wanted in &elements {
                let found = nft.element(BRIDGE, &wanted.set, &wanted.key)?;
                if found.is_some_and(|found| found.is(wanted)) {
                    batch.del_element(&wanted.set, &wanted.key);
                }
            }
            if batch.steps().is_empty() {
                return Ok(false);
            }
            nft.commit_removal(&batch, generation)
        })?;
        self.del_unused_macspoof()
    }

    /// Removes the table if nothing else is in it, also where an earlier call was ended before.
    pub(crate) fn del_unused_macspoof(&mut self) -> Result<()> {
        self.del_empty_frame(BRIDGE, &[MACSPOOF], &SPOOF_SETS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_padded_as_registers_are() {
        let [mac, port] = elements("veth0", Mac([2, 0, 0, 0, 0, 1]), "x").unwrap();
        assert_eq!(port.key, b"veth0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(mac.key, b"veth0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\x01\0\0");
        assert_eq!(mac.title, "veth0 . 02:00:00:00:00:01");
    }

    #[test]
    fn what_is_no_interface_name_is_refused() {
        assert!(elements("", Mac::default(), "").is_err());
        assert!(elements("sixteen-bytes-xx", Mac::default(), "").is_err());
        assert!(elements("fifteen-bytes-x", Mac::default(), "").is_ok());
    }
}
