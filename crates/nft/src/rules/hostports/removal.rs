//! Ending host ports, and what is left when the last one goes.

use std::net::SocketAddr;

use crate::Nft;
use crate::kernel::answer::ElementState;
use crate::kernel::batch::Batch;
use crate::kernel::comment;
use crate::kernel::error::Result;
use crate::kernel::query::Marked;
use crate::kernel::set::{Data, Set, key_name};
use crate::rules::tables::{
    HOSTPORT_LINKS, HOSTPORT_NOT_LO, HOSTPORTS_BASES, HOSTPORTS_MAPS, HOSTPORTS_OWNED, HOSTPORTS4,
    INET,
};

use super::types::{HostPort, MappedPod, Mapping, Sources};
use super::{ROUTE_LOCALNET_WAS, near_key, self_key, sets_of, target_key};

/// A link whose `route_localnet` was switched on for host ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalnetLink {
    /// Its name.
    pub name: String,
    /// Whether it was on before.
    pub was: bool,
}

/// What is left where no host port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedHostPorts {
    /// Links that are guarded still.
    pub links: Vec<LocalnetLink>,
    generation: Option<u32>,
}

/// One element that is removed.
struct Found {
    set: Set<'static>,
    key: Vec<u8>,
    /// What it maps, if it does.
    mapping: Option<Mapping>,
}

impl Found {
    fn of(set: Set<'static>, key: Vec<u8>, data: Option<&Data>) -> Found {
        let to = data.and_then(Data::socket_address);
        let port = |to: SocketAddr| HostPort::of_key(&key, to.is_ipv4());
        let mapping = to.and_then(|to| Some(Mapping { port: port(to)?, to }));
        Found { set, key, mapping }
    }
}

impl Nft {
    /// The comments of all host ports, each once.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn host_ports(&mut self) -> Result<Marked<()>> {
        self.marked_elements(INET, &HOSTPORTS_OWNED, |_| Some(()))
    }

    /// Ends what [`Self::add_host_ports`] began, so far as the elements carry this comment; others are
    /// left alone, and gone is success. Without ports and pods all that carry the comment are looked
    /// for, which costs as much as there are. Gives the mappings that were there. What remains when
    /// all are gone is for [`Self::unused_host_ports`].
    ///
    /// # Errors
    /// As the kernel reports them, but for "gone".
    pub fn del_host_ports(
        &mut self,
        ports: &[HostPort],
        pods: &[MappedPod],
        sources: Sources,
        comment: &str,
    ) -> Result<Vec<Mapping>> {
        let comment = comment::fit(comment);
        self.at_generation(|nft, generation| {
            let found = match (ports, pods) {
                ([], []) => nft.marked_host_ports(&comment)?,
                _ => nft.own_host_ports(ports, pods, sources, &comment)?,
            };
            let mut batch = Batch::new(INET);
            for Found { set, key, .. } in &found {
                batch.del_element(set, key);
            }
            if !batch.steps().is_empty() {
                match nft.socket.commit(&batch, generation) {
                    // Another process removes the same.
                    Err(e) if e.is_gone() && generation.is_some() => return Err(e.outdated()),
                    committed => committed?,
                }
            }
            Ok(found.into_iter().filter_map(|found| found.mapping).collect())
        })
    }

    /// The elements of these keys that carry the comment.
    fn own_host_ports(
        &mut self,
        ports: &[HostPort],
        pods: &[MappedPod],
        sources: Sources,
        comment: &str,
    ) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for port in ports {
            let sets = sets_of(port.at.ip());
            let mapped = self.own_element(sets.of_port(port), port.key(), comment)?;
            let to = mapped.as_ref().and_then(|found| found.mapping).map(|mapping| mapping.to);
            found.extend(mapped);
            match (sources, to) {
                (Sources::All, Some(to)) => {
                    let key = target_key(port.transport, to);
                    // Two ports may lead to one.
                    if !found.iter().any(|found| found.set == sets.all && found.key == key) {
                        found.extend(self.own_element(sets.all, key, comment)?);
                    }
                }
                (Sources::Kept, _) if port.at.is_ipv4() && port.is_on_all() => {
                    found.extend(self.own_element(HOSTPORT_NOT_LO, port.key(), comment)?);
                }
                _ => {}
            }
        }
        for pod in pods.iter().filter(|_| sources == Sources::Near) {
            let sets = sets_of(pod.address);
            found.extend(self.own_element(sets.own, self_key(pod.address), comment)?);
            if let Some(link) = &pod.link {
                found.extend(self.own_element(sets.near, near_key(pod.address, link)?, comment)?);
            }
        }
        Ok(found)
    }

    fn own_element(
        &mut self,
        set: Set<'static>,
        key: Vec<u8>,
        comment: &str,
    ) -> Result<Option<Found>> {
        let found = self.element(INET, &set, &key)?;
        let own = found.filter(|found| found.comment.as_deref() == Some(comment));
        Ok(own.map(|own| Found::of(set, key, own.data.as_ref())))
    }

    /// All elements that carry the comment.
    fn marked_host_ports(&mut self, comment: &str) -> Result<Vec<Found>> {
        self.consistent(|nft| {
            let mut found = Vec::new();
            for set in HOSTPORTS_OWNED {
                let elements = nft.all_elements(INET, &set)?.into_iter();
                let own = elements.filter(|element| element.comment.as_deref() == Some(comment));
                found.extend(own.filter_map(|ElementState { key, data, .. }| {
                    Some(Found::of(set, key?, data.as_ref()))
                }));
            }
            Ok(found)
        })
    }

    /// Whether there is any mapping.
    fn has_host_ports(&mut self) -> Result<bool> {
        for map in &HOSTPORTS_MAPS {
            if self.has_elements(INET, map)? == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is left of the last host port: `None` while there are others, or where nothing is left.
    /// [`Self::del_host_ports_frame`] removes it; `route_localnet` of the links must have its old value
    /// before, since their guard goes.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn unused_host_ports(&mut self) -> Result<Option<UnusedHostPorts>> {
        let generation = Some(self.generation()?);
        if self.has_host_ports()? || self.set(INET, &HOSTPORTS4)?.is_none() {
            return Ok(None);
        }
        let links = self.guarded_links()?;
        Ok(Some(UnusedHostPorts { links, generation }))
    }

    /// The links that are guarded.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn guarded_links(&mut self) -> Result<Vec<LocalnetLink>> {
        let link = |element: ElementState| {
            let comment = element.comment.unwrap_or_default();
            let was = comment.strip_prefix(ROUTE_LOCALNET_WAS).is_some_and(|was| was == "1");
            Some(LocalnetLink { name: key_name(&element.key?), was })
        };
        Ok(self.all_elements(INET, &HOSTPORT_LINKS)?.into_iter().filter_map(link).collect())
    }

    /// Removes what is left, and the table if nothing else is in it; `false` where the ruleset has
    /// changed since it was looked at.
    ///
    /// # Errors
    /// As the kernel reports them, but for "gone" and "still in use".
    pub fn del_host_ports_frame(&mut self, unused: &UnusedHostPorts) -> Result<bool> {
        let mut batch = Batch::new(INET);
        for base in &HOSTPORTS_BASES {
            if self.chain(INET, base.name)?.is_some() {
                batch.del_chain(base.name);
            }
        }
        for set in &HOSTPORTS_OWNED {
            if self.set(INET, set)?.is_some() {
                batch.del_empty_set(set);
            }
        }
        if self.set(INET, &HOSTPORT_LINKS)?.is_some() {
            batch.del_set(&HOSTPORT_LINKS);
        }
        match self.socket.commit(&batch, unused.generation) {
            Err(e) if e.is_outdated() || e.is_busy() || e.is_gone() => return Ok(false),
            committed => committed?,
        }
        self.del_unused_frame().map(|()| true)
    }

    /// Takes a link out of those that are guarded, after its `route_localnet` has its old value, or
    /// the link itself is gone.
    ///
    /// # Errors
    /// As the kernel reports them, but for "gone".
    pub fn del_guarded_link(&mut self, link: &str) -> Result<()> {
        let Some(key) = crate::kernel::set::name_key(link) else { return Ok(()) };
        let mut batch = Batch::new(INET);
        batch.del_element(&HOSTPORT_LINKS, &key);
        self.commit_removal(&batch, None).map(drop)
    }

    /// Removes the frame where no element of it is left: one with guarded links is for those who know
    /// the links.
    pub(crate) fn del_unused_host_ports(&mut self) -> Result<()> {
        match self.unused_host_ports()? {
            Some(unused) if unused.links.is_empty() => self.del_host_ports_frame(&unused).map(drop),
            _ => Ok(()),
        }
    }
}
