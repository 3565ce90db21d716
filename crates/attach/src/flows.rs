//! The UDP flows that the kernel remembers: those to host ports that came or went are forgotten, since
//! their packets would go on to where the first one went.

use crate::kernel::{Kernel, Result};
use crate::owned::{HostPort, Mapping, Transport};
use cni::log;
use ipnetwork::IpNetwork;
use net::{Conntrack, Family, Flow, Selection, route, sysctl};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The flows to a host port that are stale.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    /// The port has come: those that lead elsewhere.
    Elsewhere,
    /// The port has gone: those that lead to the pod.
    ToThePod,
}

impl Stale {
    fn is(self, flow: &Flow, mapping: &Mapping) -> bool {
        (flow.answers == mapping.to) == (self == Stale::ToThePod)
    }
}

/// From how many selections on a listing of all UDP flows is the faster way: with many flows it takes
/// as long as nine.
const MANY: usize = 10;

impl Kernel {
    /// Makes the kernel forget the UDP flows to these ports that are stale. A failure is no reason to
    /// have no host port.
    pub(crate) fn forget_flows(&mut self, mappings: &[Mapping], stale: Stale) {
        // Of this network namespace; the kernel counts a flow before its first packet goes on.
        let count = sysctl::get("net/netfilter/nf_conntrack_count").ok().flatten();
        if count.as_deref() == Some("0") {
            return;
        }
        for family in [Family::V4, Family::V6] {
            let udp = mappings.iter().filter(|mapping| {
                mapping.port.transport == Transport::Udp && Family::of(mapping.to.ip()) == family
            });
            let udp: BTreeMap<SocketAddr, Mapping> =
                udp.map(|mapping| (mapping.port.at, *mapping)).collect();
            if udp.is_empty() {
                continue;
            }
            let mut forgotten = self.forget_selected(&udp, stale);
            if matches!(forgotten, Ok(false)) {
                forgotten = self.forget_listed(family, &udp, stale).map(|()| true);
            }
            if let Err(error) = forgotten {
                log::warn(&format!(
                    "UDP flows that began before go on to where they went: {error}"
                ));
            }
        }
    }

    pub(crate) fn conntrack(&mut self) -> Result<Conntrack> {
        Ok(match self.conntrack.take() {
            Some(conntrack) => conntrack,
            None => Conntrack::open()?,
        })
    }

    /// By selections, which the kernel deletes itself; false where a listing is faster, or a selection
    /// cannot tell them from others.
    fn forget_selected(
        &mut self,
        udp: &BTreeMap<SocketAddr, Mapping>,
        stale: Stale,
    ) -> Result<bool> {
        let Some(selections) = self.selections(udp, stale)? else { return Ok(false) };
        let mut conntrack = self.conntrack()?;
        let mut all = Ok(true);
        for selection in selections {
            all = conntrack.forget_selected(&selection);
            if !matches!(all, Ok(true)) {
                break;
            }
        }
        self.conntrack = Some(conntrack);
        Ok(all?)
    }

    /// The stale flows as selections, fewer than [`MANY`].
    fn selections(
        &mut self,
        udp: &BTreeMap<SocketAddr, Mapping>,
        stale: Stale,
    ) -> Result<Option<Vec<Selection>>> {
        let mut selections = Vec::new();
        for mapping in udp.values() {
            let (SocketAddr::V4(at), SocketAddr::V4(pod)) = (mapping.port.at, mapping.to) else {
                return Ok(None);
            };
            let to = Some(*at.ip()).filter(|_| !mapping.port.is_on_all());
            let of_port = Selection { port: at.port(), to, from: None, answers: None };
            if stale == Stale::ToThePod {
                selections.push(Selection { answers: Some(pod), ..of_port });
            } else if to.is_some() {
                selections.push(of_port);
            } else {
                let Some(of_all) = self.node_selections(mapping, of_port)? else { return Ok(None) };
                selections.extend(of_all);
            }
            if selections.len() >= MANY {
                return Ok(None);
            }
        }
        Ok(Some(selections))
    }

    /// What is sent to any address of the node that has no mapping of its own for the port; `None`
    /// where they are many, or whole networks beside 127.0.0.0/8 are the node's.
    fn node_selections(
        &mut self,
        mapping: &Mapping,
        of_port: Selection,
    ) -> Result<Option<Vec<Selection>>> {
        let local = self.host.list(&route::local(false))?;
        let local: BTreeSet<IpNetwork> = local.into_iter().map(|route| route.dst).collect();
        if local.len() >= MANY {
            return Ok(None);
        }
        let mut selections = Vec::new();
        for network in local {
            let IpNetwork::V4(network) = network else { continue };
            // What the node sends to 127.0.0.0/8 is from 127.0.0.1 (`fib_prefsrc`).
            let loopback = (network.ip().is_loopback() && network.prefix() < 32)
                .then_some(Ipv4Addr::LOCALHOST);
            let is_one = network.prefix() == 32;
            let Some(address) = loopback.or(is_one.then_some(network.ip())) else {
                return Ok(None);
            };
            let at = SocketAddr::from((address, of_port.port));
            let is_anothers = self.nft()?.has_host_port(&HostPort { at, ..mapping.port })?;
            match (is_anothers, is_one) {
                (true, true) => {}
                (true, false) => return Ok(None),
                (false, true) => selections.push(Selection { to: Some(network.ip()), ..of_port }),
                (false, false) => selections.push(Selection { from: loopback, ..of_port }),
            }
        }
        Ok(Some(selections))
    }

    /// By a listing of all UDP flows.
    fn forget_listed(
        &mut self,
        family: Family,
        udp: &BTreeMap<SocketAddr, Mapping>,
        stale: Stale,
    ) -> Result<()> {
        let any = match family {
            Family::V4 => IpAddr::from([0; 4]),
            Family::V6 => IpAddr::from([0; 16]),
        };
        let ports: BTreeSet<u16> = udp.keys().map(SocketAddr::port).collect();
        let mut conntrack = self.conntrack()?;
        let mut to_us = BTreeMap::new();
        let forgotten = conntrack.forget_udp(family, &ports, |flow| {
            let on_all = || udp.get(&SocketAddr::new(any, flow.to.port()));
            match udp.get(&flow.to).or_else(on_all) {
                Some(mapping) if stale.is(flow, mapping) => *to_us
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
