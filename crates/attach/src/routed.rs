//! What a pod without a bridge needs of its host: routes and neighbours, and the node's way out.

use crate::compare::{Differences, differs, missing};
use crate::item::{HostRoute, Neighbour, Place};
use crate::kernel::{Error, Kernel, Result};
use ipnetwork::IpNetwork;
use net::{Link, link, neighbour, route};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that nothing but a default route leads to (RFC 5737, RFC 3849).
const FAR_AWAY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

impl Kernel {
    pub(crate) fn add_host_route(&mut self, wanted: &HostRoute) -> Result<()> {
        let link = self.index(Place::Host, &wanted.link)?;
        let mut route = route::Route::new(IpNetwork::from(wanted.address), None, link);
        route.protocol = wanted.protocol;
        match self.host.set(&route::create(&route)) {
            Err(error) if error.is_exists() => {
                let holder = self.host.get(&route::toward(wanted.address))?;
                let holder = holder.and_then(|route| route.hops.first().map(|hop| hop.link));
                let holder = holder.map(|index| self.link_of_index(index)).transpose()?.flatten();
                let holder = holder.map_or_else(String::new, |link| format!(" by {}", link.name));
                Err(Error::Conflict(format!(
                    "the host has a route to {} already{holder}",
                    wanted.address
                )))
            }
            Err(error) => Err(error.into()),
            Ok(()) => self.source_host_route(route, wanted),
        }
    }

    /// The kernel sends from 0.0.0.0 where a node has no address (net/ipv4/devinet.c,
    /// inet_select_addr), as in a fabric of IPv6.
    fn source_host_route(&mut self, mut route: route::Route, wanted: &HostRoute) -> Result<()> {
        if wanted.last_source.is_none() {
            return Ok(());
        }
        let taken = self.host.get(&route::taken_to(wanted.address))?;
        if taken.is_some_and(|taken| taken.source.is_some()) {
            return Ok(());
        }
        route.source = wanted.last_source;
        Ok(self.host.set(&route::replace(&route))?)
    }

    pub(crate) fn check_host_route(&mut self, wanted: &HostRoute) -> Result<Differences> {
        let link = self.index(Place::Host, &wanted.link)?;
        let found = match self.host.get(&route::toward(wanted.address)) {
            Err(error) if error.is_unreachable() => None,
            found => found?,
        };
        let exact = found.filter(|route| route.dst == IpNetwork::from(wanted.address));
        let Some(found) = exact else { return Ok(missing()) };
        let hops: Vec<u32> = found.hops.iter().map(|hop| hop.link).collect();
        let mut differences = differs("link index", hops, vec![link]);
        differences.extend(differs("protocol", found.protocol, wanted.protocol));
        Ok(differences)
    }

    pub(crate) fn set_neighbour(&mut self, wanted: &Neighbour) -> Result<()> {
        let link = self.index(wanted.place, &wanted.link)?;
        let &Neighbour { address, mac, permanent, .. } = wanted;
        let verb = if permanent {
            neighbour::replace(&neighbour::Neighbour { link, address, mac, permanent })
        } else {
            neighbour::learn(link, address, mac)
        };
        Ok(self.socket(wanted.place)?.set(&verb)?)
    }

    /// One that is not there is asked for when it is needed; one that is not permanent follows its
    /// owner. But a wrong one for good leads nowhere.
    pub(crate) fn check_neighbour(&mut self, wanted: &Neighbour) -> Result<Differences> {
        if !wanted.permanent {
            return Ok(Vec::new());
        }
        let link = self.index(wanted.place, &wanted.link)?;
        let list = neighbour::of_link(link, wanted.address.is_ipv6());
        let present = self.socket(wanted.place)?.list(&list)?;
        let found = present.iter().find(|n| n.permanent && n.address == wanted.address);
        Ok(found.map_or_else(Vec::new, |found| differs("MAC address", found.mac, wanted.mac)))
    }

    /// The host's link by which the rest of the world is reached, IPv4's before IPv6's.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn uplink(&mut self) -> Result<Option<Link>> {
        for address in FAR_AWAY {
            let route = match self.host.get(&route::toward(address)) {
                Err(error) if error.is_unreachable() => continue,
                route => route?,
            };
            let hop = route.and_then(|route| route.hops.first().copied());
            if let Some(hop) = hop.filter(|hop| hop.link > 0) {
                return Ok(self.host.get(&link::by_index(hop.link))?);
            }
        }
        Ok(None)
    }
}
