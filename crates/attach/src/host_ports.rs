//! Host ports in the kernel: beside their elements of nf_tables `route_localnet` of the link to the
//! pod. The UDP flows that the kernel remembers are in [`crate::flows`].

use crate::flows::Stale;
use crate::item::Place;
use crate::kernel::{Error, Kernel, Result};
use crate::owned::{HostPort, HostPorts, MappedPod, Sources};
use cni::Label;
use net::{Family, Link, link, route, sysctl};
use nft::{Added, LocalnetLink};
use std::net::IpAddr;

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

    /// Whether br_netfilter hands the IPv4 or IPv6 frames of a bridge to the hooks of IP: by the
    /// switch of the network namespace or the bridge's own (`br_nf_pre_routing`).
    pub fn frames_pass_hooks(&self, bridge: &Link, family: Family) -> bool {
        let [v4, v6] = bridge.calls_hooks;
        let (own, switch) = match family {
            Family::V4 => (v4, "net/bridge/bridge-nf-call-iptables"),
            Family::V6 => (v6, "net/bridge/bridge-nf-call-ip6tables"),
        };
        let on = || sysctl::get(switch).ok().flatten().is_some_and(|value| value != "0");
        bridge.kind == "bridge" && (own || on())
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
        self.forget_flows(&ports.mappings, Stale::Elsewhere);
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
        self.forget_flows(&gone, Stale::ToThePod);
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
}
