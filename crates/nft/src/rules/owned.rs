//! Finding elements by whose they are, where nothing else tells which an attachment owned.

use std::net::IpAddr;

use crate::Nft;
use crate::kernel::error::Result;
use crate::kernel::query::GENERATIONS;
use crate::rules::{macspoof, masquerade, rpfilter};

/// The elements of our tables, each with its comment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// Masqueraded addresses.
    pub masquerades: Vec<(IpAddr, String)>,
    /// Bridge ports with the one source address that they may send from.
    pub macspoofs: Vec<(String, [u8; 6], String)>,
    /// Links by which only sources come in that are routed to them.
    pub rpfilters: Vec<(String, String)>,
}

impl Nft {
    /// Lists every element of our tables. Its cost grows with their number, and a caller that
    /// knows addresses and ports should not need it.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn owned(&mut self) -> Result<Owned> {
        let mut owned = Owned::default();
        for _ in 0..GENERATIONS {
            let before = self.generation()?;
            owned = Owned {
                masquerades: masquerade::owned(self)?,
                macspoofs: macspoof::owned(self)?,
                rpfilters: rpfilter::owned(self)?,
            };
            if self.generation()? == before {
                break;
            }
        }
        Ok(owned)
    }

    /// Removes every element whose comment is accepted, and what an earlier call left behind that
    /// was ended halfway.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn del_owned(&mut self, mut accepts: impl FnMut(&str) -> bool) -> Result<()> {
        let owned = self.owned()?;
        for (address, comment) in owned.masquerades {
            if accepts(&comment) {
                self.del_masquerade(address, &comment)?;
            }
        }
        for (port, mac, comment) in owned.macspoofs {
            if accepts(&comment) {
                self.del_macspoof(&port, mac, &comment)?;
            }
        }
        for (link, comment) in owned.rpfilters {
            if accepts(&comment) {
                self.del_rpfilter(&link, &comment)?;
            }
        }
        self.del_unused()
    }

    /// Removes what has no element any more, since a removal was ended halfway: chains of
    /// subnets, and our tables.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn del_unused(&mut self) -> Result<()> {
        self.del_unused_masquerade()?;
        self.del_unused_rpfilter()?;
        self.del_unused_macspoof()
    }
}
