//! What a notification of the kernel asks for: single objects are repaired, more is left to a full
//! pass.

use crate::facts::GATEWAY_PROTOCOLS;
use crate::facts::read::is_own;
use crate::guard::forwarding;
use crate::routes::diff::{self, Change, Object, RouteKey};
use crate::routes::protocols::{PROTOCOL, is_ours};
use crate::view::View;
use crate::work::Effect;
use net::{Event, Link, address, fdb, neighbour, route};
use std::net::IpAddr;

/// What a notification asks for.
pub(super) fn effect(view: &View, event: Event) -> Effect {
    match event {
        Event::Overrun => Effect::Full("notifications were lost"),
        Event::ForwardingOff(link) => {
            let (own, device) = (view.nodes.own.as_ref(), view.device.as_ref());
            full_if(
                forwarding::concerns(link, own, &view.facts, device),
                "forwarding was switched off",
            )
        }
        Event::Link(link) => view.link(&link),
        Event::LinkGone(index, _) => full_if(view.loses(index), "a link is gone"),
        Event::Address(address) => view.address(&address, true),
        Event::AddressGone(address) => view.address(&address, false),
        Event::Route(route) if route.table != route::MAIN => Effect::None,
        Event::RouteGone(route) if route.table != route::MAIN => Effect::None,
        Event::Route(route) => view.route(route),
        Event::RouteGone(route) => view.route_gone(&route),
        Event::Neighbour(entry) => view.neighbour(entry, true),
        Event::NeighbourGone(entry) => view.neighbour(entry, false),
        Event::Fdb(entry) => view.entry(entry, true),
        Event::FdbGone(entry) => view.entry(entry, false),
    }
}

fn full_if(needed: bool, why: &'static str) -> Effect {
    if needed { Effect::Full(why) } else { Effect::None }
}

impl View {
    /// Whether a link that is gone matters.
    fn loses(&self, index: u32) -> bool {
        let tunnel = match &self.device {
            Some(link) => link.index == index,
            // It may be what held VNI and port.
            None => self.desired.tunnel.is_some(),
        };
        // It may be the last pod's.
        tunnel || !self.earlier.is_empty() || self.facts.links.contains_key(&index)
    }

    fn link(&self, link: &Link) -> Effect {
        let wanted = self.desired.tunnel.as_ref().is_some_and(|wanted| wanted.name() == link.name);
        let known = self.device.as_ref().filter(|known| known.index == link.index);
        let differs = |fact: &crate::facts::Link| {
            (&fact.name, fact.mtu, fact.up, fact.carrier, fact.point_to_point)
                != (&link.name, link.mtu, link.up, link.carrier, link.point_to_point)
        };
        if self.facts.links.get(&link.index).is_some_and(differs) {
            return Effect::Full("a link changed");
        }
        full_if((wanted || known.is_some()) && known != Some(link), "the tunnel's device changed")
    }

    fn address(&self, address: &address::Address, there: bool) -> Effect {
        let held = address.address;
        // Those of pods' links come and go all the time.
        if !is_own(address) {
            return Effect::None;
        }
        // The kernel also reports addresses that existed: at each router advertisement, for one.
        let ours = self.device.as_ref().filter(|link| link.index == address.link);
        let known = match (&self.desired.tunnel, ours) {
            (Some(tunnel), Some(_)) => tunnel.addresses().contains(&held),
            _ => self.facts.links.get(&address.link).is_some_and(|l| l.addresses.contains(&held)),
        };
        full_if(known != there, "an address changed")
    }

    fn route(&self, route: route::Route) -> Effect {
        let wanted = self.wanted(route.dst).filter(|wanted| wanted.priority == route.priority);
        match wanted {
            Some(wanted) if diff::same(&wanted, &route) => {
                Effect::Right(Object::Route(RouteKey::of(&wanted)))
            }
            Some(wanted) if is_ours(route.protocol) => {
                // It may have replaced ours, or be beside it (`ip route append`, only IPv4).
                // A route of BGP may just be older than our last change of it, and IPv4 would remove
                // several hops by the first.
                let of_set = route.protocol == PROTOCOL && wanted.protocol == PROTOCOL;
                let beside = of_set && wanted.dst.is_ipv4() && wanted.hops != route.hops;
                let mut repairs = vec![Change::Replace(wanted)];
                repairs.extend(beside.then_some(Change::Delete(route)));
                Effect::Repair(repairs)
            }
            // It may be beside ours or have replaced it.
            Some(_) => Effect::Full("another program's route appeared in the place of ours"),
            None if self.gateways_of(&route).any(|(_, known)| !known) => {
                Effect::Full("this node has another gateway")
            }
            None if is_ours(route.protocol) => Effect::Repair(vec![Change::Delete(route)]),
            None => Effect::None,
        }
    }

    fn route_gone(&self, route: &route::Route) -> Effect {
        let refused = |gateway| self.refuses_imports || self.desired.reserved_by_gateway(gateway);
        if self.gateways_of(route).any(|(gateway, known)| known && refused(gateway)) {
            return Effect::Full("a gateway of this node is gone");
        }
        let wanted = self.wanted(route.dst).filter(|wanted| wanted.priority == route.priority);
        Effect::Repair(wanted.map(Change::Create).into_iter().collect())
    }

    /// The next hops of a route by which this node may reach the rest of the world, and whether
    /// they are known.
    fn gateways_of(&self, route: &route::Route) -> impl Iterator<Item = (IpAddr, bool)> {
        let counts = GATEWAY_PROTOCOLS.contains(&route.protocol);
        let hops = route.hops.iter().filter(move |_| counts).filter_map(|hop| hop.gateway);
        hops.map(|gateway| (gateway, self.facts.gateways.contains(&gateway)))
    }

    fn neighbour(&self, entry: neighbour::Neighbour, there: bool) -> Effect {
        if self.device_index() != Some(entry.link) {
            return Effect::None;
        }
        match self.desired.neighbours.get(&entry.address).copied() {
            Some(mac) if there && entry.permanent && entry.mac == mac => {
                Effect::Right(Object::Neighbour(entry.address))
            }
            Some(mac) => {
                Effect::Repair(vec![Change::Neighbour(neighbour::Neighbour { mac, ..entry })])
            }
            None if there && entry.permanent => {
                Effect::Repair(vec![Change::DeleteNeighbour(entry)])
            }
            None => Effect::None,
        }
    }

    fn entry(&self, entry: fdb::FdbEntry, there: bool) -> Effect {
        if self.device_index() != Some(entry.link) {
            return Effect::None;
        }
        match self.desired.fdb.get(&entry.mac).copied() {
            Some(dst) if there && entry.permanent && entry.dst == Some(dst) => {
                Effect::Right(Object::Fdb(entry.mac))
            }
            Some(dst) => {
                Effect::Repair(vec![Change::Fdb(fdb::FdbEntry { dst: Some(dst), ..entry })])
            }
            None if there => Effect::Repair(vec![Change::DeleteFdb(entry)]),
            None => Effect::None,
        }
    }
}
