//! What the kernel tells: single objects become dirty, more is left to a full pass.

use super::{Sync, is_own};
use crate::facts::GATEWAY_PROTOCOLS;
use crate::routes::diff::{self, Change, Object, RouteKey};
use crate::routes::protocols::{PROTOCOL, is_ours};
use net::{Event, Link, NeighbourFilter, address, fdb, neighbour, route};
use std::collections::HashMap;
use std::net::IpAddr;
use tracing::warn;

impl Sync {
    /// What the kernel tells. Single objects are noted as dirty, more is left to a full pass.
    pub fn events(&mut self, events: Vec<Event>) {
        let mut well = HashMap::new();
        for event in events {
            if let Some(object) = self.event(event).filter(|_| !self.dirty.is_empty()) {
                well.insert(object, self.dirty.len());
            }
        }
        // What was missing before is there again: what the daemon itself removes and makes anew in
        // one go is told so.
        let mut nth = 0..;
        self.dirty.retain(|change| {
            let noted = nth.next().zip(well.get(&change.object()));
            change.deletes() || noted.is_none_or(|(nth, well)| nth >= *well)
        });
    }

    /// From now on neighbours of the tunnel's device alone are received by this filter's monitor.
    pub fn receive_neighbours_by(&mut self, filter: NeighbourFilter) {
        match filter.only(None) {
            Ok(()) => self.neighbour_filter = Some((filter, None)),
            // What is not the tunnel's is dropped later, at a higher price.
            Err(error) => warn!("{error}"),
        }
    }

    /// Receives those of the device that there is, before they are read.
    pub(super) fn filter_neighbours(&mut self) {
        let link = self.tunnel.as_ref().map(|link| link.index);
        let Some((filter, of)) = &mut self.neighbour_filter else { return };
        if *of != link {
            match filter.only(link) {
                Ok(()) => *of = link,
                Err(error) => self.trouble("neighbours", &error),
            }
        }
    }

    /// Gives what is as it shall be.
    fn event(&mut self, event: Event) -> Option<Object> {
        match event {
            Event::Overrun => {
                self.figures.overruns += 1;
                self.pending = Some("notifications were lost");
            }
            Event::ForwardingOff(link) => self.forwarding_off(link),
            Event::Link(link) => self.link(&link),
            Event::LinkGone(index, _) => {
                let tunnel = match &self.tunnel {
                    Some(link) => link.index == index,
                    // It may be what held VNI and port.
                    None => self.desired.tunnel.is_some(),
                };
                // It may be the last pod's.
                if tunnel || !self.earlier.is_empty() || self.facts.links.contains_key(&index) {
                    self.pending = Some("a link is gone");
                }
            }
            Event::Address(address) => self.address(&address, true),
            Event::AddressGone(address) => self.address(&address, false),
            Event::Route(route) => return self.route(route),
            Event::RouteGone(route) => self.route_gone(&route),
            Event::Neighbour(entry) => return self.neighbour(entry, true),
            Event::NeighbourGone(entry) => return self.neighbour(entry, false),
            Event::Fdb(entry) => return self.entry(entry, true),
            Event::FdbGone(entry) => return self.entry(entry, false),
        }
        None
    }

    fn link(&mut self, link: &Link) {
        let wanted = self.desired.tunnel.as_ref().is_some_and(|wanted| wanted.name() == link.name);
        let known = self.tunnel.as_ref().filter(|known| known.index == link.index);
        if (wanted || known.is_some()) && known != Some(link) {
            self.pending = Some("the tunnel's device changed");
        }
        let differs = |fact: &crate::facts::Link| {
            (&fact.name, fact.mtu, fact.up, fact.carrier, fact.point_to_point)
                != (&link.name, link.mtu, link.up, link.carrier, link.point_to_point)
        };
        if self.facts.links.get(&link.index).is_some_and(differs) {
            self.pending = Some("a link changed");
        }
    }

    fn address(&mut self, address: &address::Address, there: bool) {
        let held = address.address;
        // Those of pods' links come and go all the time.
        if !is_own(address) {
            return;
        }
        // The kernel tells also of what was there: of each router advertisement, for one.
        let ours = self.tunnel.as_ref().filter(|link| link.index == address.link);
        let known = match (&self.desired.tunnel, ours) {
            (Some(tunnel), Some(_)) => tunnel.addresses().contains(&held),
            _ => self.facts.links.get(&address.link).is_some_and(|l| l.addresses.contains(&held)),
        };
        if known != there {
            self.pending = Some("an address changed");
        }
    }

    fn route(&mut self, route: route::Route) -> Option<Object> {
        if route.table != route::MAIN {
            return None;
        }
        let wanted = self.wanted(route.dst).filter(|wanted| wanted.priority == route.priority);
        match wanted {
            Some(wanted) if diff::same(&wanted, &route) => {
                return Some(Object::Route(RouteKey::of(&wanted)));
            }
            Some(wanted) if is_ours(route.protocol) => {
                // It may be in the place of ours, or beside it (`ip route append`, IPv4 alone).
                // One that was heard may just be older than our last change of it, and IPv4 would
                // remove several hops by the first.
                let of_set = route.protocol == PROTOCOL && wanted.protocol == PROTOCOL;
                let beside = of_set && wanted.dst.is_ipv4() && wanted.hops != route.hops;
                self.dirty.push(Change::Replace(wanted));
                self.dirty.extend(beside.then_some(Change::Delete(route)));
            }
            // It may stand beside ours or in its place.
            Some(_) => self.pending = Some("another's route came at the place of one of ours"),
            None if self.gateways_of(&route).any(|(_, known)| !known) => {
                self.pending = Some("this node has another gateway");
            }
            None if is_ours(route.protocol) => self.dirty.push(Change::Delete(route)),
            None => {}
        }
        None
    }

    fn route_gone(&mut self, route: &route::Route) {
        if route.table != route::MAIN {
            return;
        }
        self.gone_from(route);
        let wanted = self.wanted(route.dst).filter(|wanted| wanted.priority == route.priority);
        self.dirty.extend(wanted.map(Change::Create));
        let refused = |gateway| self.refuses_imports || self.desired.reserved_by_gateway(gateway);
        if self.gateways_of(route).any(|(gateway, known)| known && refused(gateway)) {
            self.pending = Some("a gateway of this node is gone");
        }
    }

    /// The next hops of a route by which this node may reach the rest of the world, and whether
    /// they are known.
    fn gateways_of(&self, route: &route::Route) -> impl Iterator<Item = (IpAddr, bool)> {
        let counts = GATEWAY_PROTOCOLS.contains(&route.protocol);
        let hops = route.hops.iter().filter(move |_| counts).filter_map(|hop| hop.gateway);
        hops.map(|gateway| (gateway, self.facts.gateways.contains(&gateway)))
    }

    fn neighbour(&mut self, entry: neighbour::Neighbour, there: bool) -> Option<Object> {
        if self.tunnel.as_ref().is_none_or(|link| link.index != entry.link) {
            return None;
        }
        let wanted = self.desired.neighbours.get(&entry.address).copied();
        match wanted {
            Some(mac) if there && entry.permanent && entry.mac == mac => {
                return Some(Object::Neighbour(entry.address));
            }
            Some(mac) => {
                self.dirty.push(Change::Neighbour(neighbour::Neighbour { mac, ..entry }));
            }
            None if there && entry.permanent => self.dirty.push(Change::DeleteNeighbour(entry)),
            None => {}
        }
        None
    }

    fn entry(&mut self, entry: fdb::FdbEntry, there: bool) -> Option<Object> {
        if self.tunnel.as_ref().is_none_or(|link| link.index != entry.link) {
            return None;
        }
        let wanted = self.desired.fdb.get(&entry.mac).copied();
        match wanted {
            Some(dst) if there && entry.permanent && entry.dst == Some(dst) => {
                return Some(Object::Fdb(entry.mac));
            }
            Some(dst) => self.dirty.push(Change::Fdb(fdb::FdbEntry { dst: Some(dst), ..entry })),
            None if there => self.dirty.push(Change::DeleteFdb(entry)),
            None => {}
        }
        None
    }
}
