//! Removing what is owned.

use crate::item::{Item, Place};
use crate::kernel::{Error, Kernel, Result};
use net::{Link, link};

impl Kernel {
    /// Removes the owned items of a list, last first. Shared items stay; what the pod holds goes
    /// with its link; what is gone already is no error. Goes on after an error.
    pub fn remove(&mut self, items: &[Item]) -> Vec<Error> {
        items.iter().rev().filter_map(|item| self.remove_one(item).err()).collect()
    }

    fn remove_one(&mut self, item: &Item) -> Result<()> {
        match item {
            Item::Veth(veth) => self.remove_veth(&veth.host, &veth.alias),
            Item::Masquerade(m) => Ok(self.nft()?.del_masquerade(m.address, &m.comment)?),
            Item::Macspoof(m) => Ok(self.nft()?.del_macspoof(&m.port, m.mac, &m.comment)?),
            _ => Ok(()),
        }
    }

    /// Removes the veth pair with the given host end, if it carries the alias, or none: a kill
    /// between its making and its marking leaves it so, and the name derives from the attachment.
    ///
    /// # Errors
    /// The kernel's; a link of the name that is another's.
    pub fn remove_veth(&mut self, host: &str, alias: &str) -> Result<()> {
        let Some(link) = self.link(Place::Host, host)? else { return Ok(()) };
        if link.kind != "veth" || !(link.alias.is_empty() || link.alias == alias) {
            return Err(Error::Conflict(format!(
                "link {host} is left alone: it is a {} with the alias {:?}, not ours",
                link.kind, link.alias
            )));
        }
        self.remove_link(&link)
    }

    /// Removes a link of the host; of a veth pair both ends go.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_link(&mut self, link: &Link) -> Result<()> {
        self.forget(Place::Host, &link.name);
        match self.host.set(&link::del(link.index, &link.name)) {
            Err(error) if !error.is_gone() => Err(error.into()),
            _ => Ok(()),
        }
    }
}
