//! Host ports in the kernel: beside their elements of nf_tables `route_localnet` of the link to the
//! pod, and the UDP flows that the kernel remembers.

use crate::item::Place;
use crate::kernel::{Error, Kernel, Result};
use crate::owned::{HostPort, HostPorts, MappedPod, Mapping, Sources, Transport};
use cni::{Label, log};
use net::{Conntrack, Family, Flow, Link, link, route, sysctl};
use nft::{Added, LocalnetLink};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// How often the rest of the last host port is removed again, as other attachments come between.
const ROUNDS: usize = 16;

/// The sysctl that lets a link carry packets from and to 127.0.0.0/8.
fn route_localnet(link: &str) -> String {
    format!("net/ipv4/conf/{link}/route_localnet")
}

fn is_on(link: &str) -> Result<bool> {
    Ok(sysctl::get(&route_localnet(link))?.as_deref() == Some("1"))
}

/// Switches it; a link that is gone has none.
fn switch(link: &LocalnetLink, on: bool) -> Result<()> {
    match sysctl::set(&route_localnet(&link.name), if on || link.was { "1" } else { "0" }) {
        Err(error) if !error.is_gone() => Err(error.into()),
        _ => Ok(()),
    }
}

fn taken(port: HostPort, holder: &str) -> Error {
    let who = match Label::read(holder) {
        Some(Label { attachment: of, .. }) => format!(
            "{} of container {:?} in network {:?} has it",
            of.ifname, of.container_id, of.network
        ),
        None => format!("an element of table inet ferrule has it, with the comment {holder:?}"),
    };
    Error::Taken(
        format!("host port {port} is taken"),
        format!("{who}; ask for another hostPort or hostIP, or remove that attachment"),
    )
}

impl Kernel {
    /// The host's link that leads to an address without a gateway between.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn link_to(&mut self, address: IpAddr) -> Result<Option<Link>> {
        let route = match self.host.get(&route::toward(address)) {
            Err(error) if error.is_unreachable() => return Ok(None),
            route => route?.filter(|route| route.kind == route::Kind::Unicast),
        };
        let hop = route.and_then(|route| route.hops.first().copied());
        match hop.filter(|hop| hop.gateway.is_none() && hop.link > 0) {
            Some(hop) => Ok(self.host.get(&link::by_index(hop.link))?),
            None => Ok(None),
        }
    }

    /// The link is guarded before it is switched on.
    pub(crate) fn add_host_ports(&mut self, ports: &HostPorts) -> Result<()> {
        let link = ports.loopback_link();
        let was = link.map_or(Ok(false), is_on)?;
        let new_link = match self.nft()?.add_host_ports(ports, was)? {
            Added::Done { new_link } => new_link,
            Added::Taken { port, holder } => return Err(taken(port, &holder)),
        };
        if let Some(link) = link {
            // The last host port of others may have gone in between, and switched it off.
            if new_link && was && !is_on(link)? {
                self.nft()?.set_localnet_was_off(link)?;
            }
            sysctl::set(&route_localnet(link), "1")?;
        }
        let elsewhere = |flow: &Flow, mapping: &Mapping| flow.answers != mapping.to;
        self.forget_flows(&ports.mappings, elsewhere);
        Ok(())
    }

    pub(crate) fn check_host_ports(&mut self, ports: &HostPorts) -> Result<Vec<String>> {
        let mut differences = self.nft()?.check_host_ports(ports)?;
        if let Some(link) = ports.loopback_link()
            && !is_on(link)?
        {
            let key = route_localnet(link);
            differences.push(format!(
                "sysctl {key} is not 1: the node does not reach the pod by 127.0.0.1"
            ));
        }
        Ok(differences)
    }

    /// Whether all were there.
    pub(crate) fn remove_host_ports(
        &mut self,
        ports: &[HostPort],
        pods: &[MappedPod],
        sources: Sources,
        mark: &str,
    ) -> Result<bool> {
        let gone = self.nft()?.del_host_ports(ports, pods, sources, mark)?;
        self.forget_flows(&gone, |flow, mapping| flow.answers == mapping.to);
        let links = pods.iter().filter(|pod| pod.address.is_ipv4() && sources != Sources::Kept);
        let flushed = gone.is_empty() && !ports.is_empty();
        for link in links.filter_map(|pod| pod.link.as_deref()) {
            self.end_own_localnet(link)?;
            if flushed {
                self.end_flushed_localnet(link)?;
            }
        }
        self.end_localnet()?;
        Ok(gone.len() == ports.len() && !ports.is_empty())
    }

    /// Of a pod's own link. That of a bridge is other pods' too.
    fn end_own_localnet(&mut self, name: &str) -> Result<()> {
        match self.link(Place::Host, name)? {
            Some(link) if link.kind != "veth" => return Ok(()),
            Some(_) => switch(&LocalnetLink { name: name.to_owned(), was: false }, false)?,
            None => {}
        }
        Ok(self.nft()?.del_guarded_link(name)?)
    }

    /// Of a link whose old value a flush of nf_tables took along: with the guard gone, pods would reach
    /// the node's loopback. The value of new links counts as the old one.
    fn end_flushed_localnet(&mut self, name: &str) -> Result<()> {
        if self.link(Place::Host, name)?.is_none() || is_on("default")? {
            return Ok(());
        }
        let link = LocalnetLink { name: name.to_owned(), was: false };
        if !self.is_guarded(name)? {
            switch(&link, false)?;
        }
        // By the ADD of another attachment, maybe meanwhile: it found what the flushed one had set.
        if self.is_guarded(name)? {
            self.nft()?.set_localnet_was_off(name)?;
            switch(&link, true)?;
        }
        Ok(())
    }

    fn is_guarded(&mut self, name: &str) -> Result<bool> {
        Ok(self.nft()?.guarded_links()?.iter().any(|link| link.name == name))
    }

    /// Of links that are gone: a pod's own went with the pod, and no record told of it.
    pub(crate) fn end_localnet_of_gone_links(&mut self) -> Result<()> {
        for LocalnetLink { name, .. } in self.nft()?.guarded_links()? {
            if self.link(Place::Host, &name)?.is_none() {
                self.nft()?.del_guarded_link(&name)?;
            }
        }
        Ok(())
    }

    /// After the last host port, gives links their old `route_localnet` and removes what guarded them.
    /// A host port that comes meanwhile has its link switched on in the end.
    pub(crate) fn end_localnet(&mut self) -> Result<()> {
        for _ in 0..ROUNDS {
            let Some(unused) = self.nft()?.unused_host_ports()? else { return Ok(()) };
            unused.links.iter().try_for_each(|link| switch(link, false))?;
            if self.nft()?.del_host_ports_frame(&unused)? {
                return Ok(());
            }
            unused.links.iter().try_for_each(|link| switch(link, true))?;
        }
        Ok(())
    }

    /// Makes the kernel forget the UDP flows to these ports that are stale: their packets would go on
    /// to where the first one went. A failure is no reason to have no host port.
    fn forget_flows(&mut self, mappings: &[Mapping], stale: impl Fn(&Flow, &Mapping) -> bool) {
        for family in [Family::V4, Family::V6] {
            let udp = mappings.iter().filter(|mapping| {
                mapping.port.transport == Transport::Udp && Family::of(mapping.to.ip()) == family
            });
            let udp: BTreeMap<SocketAddr, Mapping> =
                udp.map(|mapping| (mapping.port.at, *mapping)).collect();
            if udp.is_empty() {
                continue;
            }
            if let Err(error) = self.forget_flows_of(family, &udp, &stale) {
                log::warn(&format!(
                    "UDP flows that began before go on to where they went: {error}"
                ));
            }
        }
    }

    fn forget_flows_of(
        &mut self,
        family: Family,
        udp: &BTreeMap<SocketAddr, Mapping>,
        stale: &impl Fn(&Flow, &Mapping) -> bool,
    ) -> Result<()> {
        let any = match family {
            Family::V4 => IpAddr::from([0; 4]),
            Family::V6 => IpAddr::from([0; 16]),
        };
        let ports: BTreeSet<u16> = udp.keys().map(SocketAddr::port).collect();
        let mut conntrack = match self.conntrack.take() {
            Some(conntrack) => conntrack,
            None => Conntrack::open()?,
        };
        let mut to_us = BTreeMap::new();
        let forgotten = conntrack.forget_udp(family, &ports, |flow| {
            let on_all = || udp.get(&SocketAddr::new(any, flow.to.port()));
            match udp.get(&flow.to).or_else(on_all) {
                Some(mapping) if stale(flow, mapping) => *to_us
                    .entry(flow.to)
                    .or_insert_with(|| self.leads_to(mapping, flow.to).unwrap_or(false)),
                _ => false,
            }
        });
        self.conntrack = Some(conntrack);
        forgotten?;
        Ok(())
    }

    /// Whether what is sent to an address of the port comes to this mapping: to one of the node's that
    /// no mapping of its own has.
    fn leads_to(&mut self, mapping: &Mapping, to: SocketAddr) -> Result<bool> {
        if !mapping.port.is_on_all() {
            return Ok(true);
        }
        let route = self.host.get(&route::toward(to.ip()))?;
        let is_local = route.is_some_and(|route| route.kind == route::Kind::LOCAL);
        let own = HostPort { at: to, ..mapping.port };
        Ok(is_local && !self.nft()?.has_host_port(&own)?)
    }
}
