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

    /// Removes the veth pair with the given host end, if it is the attachment's.
    ///
    /// # Errors
    /// The kernel's; a link of the name that is another's.
    pub fn remove_veth(&mut self, host: &str, alias: &str) -> Result<()> {
        match self.own_veth(host, alias)? {
            Some(link) => self.remove_link(&link),
            None => Ok(()),
        }
    }

    /// Sets the host end of a veth pair down, if it is the attachment's: from then on its pod
    /// reaches nobody. Quick, where removing takes milliseconds.
    ///
    /// # Errors
    /// The kernel's; a link of the name that is another's.
    pub fn silence_veth(&mut self, host: &str, alias: &str) -> Result<Option<Link>> {
        let Some(link) = self.own_veth(host, alias)? else { return Ok(None) };
        match self.host.set(&link::set_down(link.index, host)) {
            Err(error) if !error.is_gone() => Err(error.into()),
            _ => Ok(Some(link)),
        }
    }

    /// The host end of a veth pair that carries the alias, or none: a kill between its making and
    /// its marking leaves it so, and the name derives from the attachment.
    fn own_veth(&mut self, host: &str, alias: &str) -> Result<Option<Link>> {
        let Some(link) = self.link(Place::Host, host)? else { return Ok(None) };
        if link.kind != "veth" || !(link.alias.is_empty() || link.alias == alias) {
            return Err(Error::Conflict(format!(
                "link {host} is left alone: it is a {} with the alias {:?}, not ours",
                link.kind, link.alias
            )));
        }
        Ok(Some(link))
    }

    /// The aliases of all veth links of the host.
    ///
    /// # Errors
    /// The kernel's.
    pub fn aliases(&mut self) -> Result<Vec<String>> {
        let links = self.host.list(&link::list())?;
        Ok(links.into_iter().filter(|l| l.kind == "veth").map(|link| link.alias).collect())
    }

    /// Removes the veth pairs whose host end's alias holds the hash as its second word, and the
    /// one that is named by it and not marked yet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_marked(&mut self, hash: &str) -> Result<()> {
        let named = format!("veth{}", hash.get(..11).unwrap_or(hash));
        for link in self.host.list(&link::list())? {
            let marked = link.alias.split(' ').nth(1) == Some(hash);
            let unmarked = link.name == named && link.alias.is_empty();
            if link.kind == "veth" && (marked || unmarked) {
                self.remove_link(&link)?;
            }
        }
        Ok(())
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
