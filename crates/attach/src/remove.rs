//! Removing what is owned.

use crate::item::{Item, Place};
use crate::kernel::{Error, Kernel, Result};
use crate::owned::Owned;
use net::{Link, link};
use nft::Nft;
use std::hash::{BuildHasher, Hasher, RandomState};

impl Kernel {
    /// Removes what the attachment of this mark owns of a list of items, last first. Shared items
    /// stay; what the pod holds goes with its link; what is gone already is no error. Goes on after
    /// an error.
    pub fn remove(&mut self, items: &[Item], mark: &str) -> Vec<Error> {
        let owned = items.iter().rev().filter_map(Item::owned);
        owned.filter_map(|owned| self.release(&owned, mark).err()).collect()
    }

    /// Sets the host end of a veth pair down, if it is the attachment's: from then on its pod
    /// has no network. Quick, where removing takes milliseconds.
    ///
    /// # Errors
    /// The kernel's; a link of the name that is another's.
    pub fn silence_veth(&mut self, host: &str, alias: &str) -> Result<Option<Link>> {
        let found = self.own_veth(host, alias)?;
        if let Some(link) = &found {
            self.silence(link)?;
        }
        self.silenced.push((host.to_owned(), found.clone()));
        Ok(found)
    }

    /// Sets a link of the host down, unless it is gone.
    ///
    /// # Errors
    /// The kernel's.
    pub fn silence(&mut self, link: &Link) -> Result<()> {
        match self.host.set(&link::set_down(link.index, &link.name)) {
            Err(error) if !error.is_gone() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Removes a veth pair by its host end, if it is the attachment's. One that was silenced is not
    /// looked for again.
    pub(crate) fn remove_veth(&mut self, host: &str, mark: &str) -> Result<()> {
        let known = self.silenced.iter().position(|(name, _)| name == host);
        let link = match known {
            Some(known) => self.silenced.swap_remove(known).1,
            None => self.own_veth(host, mark)?,
        };
        link.map_or(Ok(()), |link| self.remove_link(&link))
    }

    /// The host end of a veth pair whose alias begins as the given one does, with mark and hash
    /// (the rest may be cut short), or that has none: a kill between its making and its marking
    /// leaves it so, and the name derives from the attachment.
    pub(crate) fn own_veth(&mut self, host: &str, alias: &str) -> Result<Option<Link>> {
        let Some(link) = self.link(Place::Host, host)? else { return Ok(None) };
        let mark = |alias: &str| alias.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        if link.kind != "veth" || !(link.alias.is_empty() || mark(&link.alias) == mark(alias)) {
            return Err(Error::Conflict(format!(
                "link {host} is left alone: it is a {} with the alias {:?}, not ours",
                link.kind, link.alias
            )));
        }
        Ok(Some(link))
    }

    /// The host's veth pairs and IFB devices, each with its alias.
    pub(crate) fn marked_links(&mut self) -> Result<Vec<(String, Owned)>> {
        let mut marked = Vec::new();
        for link in self.host.list(&link::list())? {
            match link.kind.as_str() {
                "veth" => marked.push((link.alias, Owned::Veth { host: link.name })),
                "ifb" => marked.extend(crate::shaping::marked(&link)),
                _ => {}
            }
        }
        Ok(marked)
    }

    /// Removes a link of the host; of a veth pair both ends go. It returns once they are out of
    /// sight ([`net::delete`]).
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_link(&mut self, link: &Link) -> Result<()> {
        self.forget(Place::Host, &link.name);
        self.silenced.retain(|(name, _)| *name != link.name);
        // The process that deletes the link keeps it open; closing it here does not wait.
        let nft = self.nft.take();
        let lingering: Vec<_> = nft.iter().flat_map(Nft::sockets).collect();
        Ok(net::delete(link, &lingering)?)
    }

    /// Removes links of the host as [`Kernel::remove_link`] does, all at once: the kernel waits
    /// for RCU grace periods once for a message, some 20 ms, and takes all links of a group with
    /// one (net/core/rtnetlink.c, rtnl_group_dellink). The group's number is drawn at random.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_links(&mut self, links: &[Link]) -> Result<()> {
        if links.len() < 2 {
            return links.first().map_or(Ok(()), |link| self.remove_link(link));
        }
        // The keys of a RandomState come from getrandom(2). Links are in group 0 by default.
        let group = (RandomState::new().build_hasher().finish() as u32).max(1);
        for link in links {
            self.forget(Place::Host, &link.name);
            self.silenced.retain(|(name, _)| *name != link.name);
            match self.host.set(&link::set_group(link.index, group, &link.name)) {
                Err(error) if !error.is_gone() => return Err(error.into()),
                _ => {}
            }
        }
        match self.host.set(&link::del_group(group)) {
            Err(error) if !error.is_gone() => Err(error.into()),
            _ => Ok(()),
        }
    }
}
