//! Forwarding of what pods send and get: a reload of sysctls may switch it off.

use super::Sync;
use crate::facts::Facts;
use crate::source::nodes::Node;
use ipnetwork::IpNetwork;
use net::{link, route, sysctl};
use std::fmt;
use tracing::info;

/// What fails, as `status` names it.
const FORWARDING: &str = "forwarding";
const IPV6: &str = "net/ipv6/conf/all/forwarding";

/// Why pods' packets are not passed on.
struct NotForwarded(String, net::Error);

impl fmt::Display for NotForwarded {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let NotForwarded(key, error) = self;
        write!(
            f,
            "packets of pods are not passed on, and route-sync cannot change that: {error}; run \
             `sysctl -w {}=1`, or let it write /proc/sys",
            dotted(key)
        )
    }
}

/// A key as sysctl(8) names it; of `eth0.5` the dot is a slash.
fn dotted(key: &str) -> String {
    key.replace('.', "\0").replace('/', ".").replace('\0', "/")
}

/// The sysctls that must be 1: of the node and of the tunnel, for each family of its pods, and for
/// IPv4, which asks the link that a packet comes in by, of the links with the node's addresses. The
/// kernel does not ask the tunnel's of IPv6, yet advertises a router by it.
fn keys(own: &Node, facts: &Facts, tunnel: Option<&str>) -> Vec<String> {
    let mut keys = Vec::new();
    if own.pod_cidrs.iter().any(IpNetwork::is_ipv4) {
        keys.push("net/ipv4/ip_forward".to_owned());
        let links = of_node(own, facts).map(|(_, name)| name).chain(tunnel);
        keys.extend(links.map(|name| format!("net/ipv4/conf/{name}/forwarding")));
    }
    if own.pod_cidrs.iter().any(IpNetwork::is_ipv6) {
        keys.push(IPV6.to_owned());
        keys.extend(tunnel.map(|name| format!("net/ipv6/conf/{name}/forwarding")));
    }
    keys
}

/// The links that hold the node's addresses, by index and name.
fn of_node<'a>(own: &'a Node, facts: &'a Facts) -> impl Iterator<Item = (u32, &'a str)> {
    let holds = |address: &IpNetwork| own.addresses.contains(&address.ip());
    let links = facts.links.iter().filter(move |(_, link)| link.addresses.iter().any(holds));
    links.map(|(index, link)| (*index, link.name.as_str()))
}

impl Sync {
    /// Switches on what is off.
    pub(super) fn forwarding(&mut self, why: &'static str) {
        let Some(own) = &self.nodes.own else { return };
        let tunnel = self.tunnel.as_ref().map(|link| link.name.as_str());
        for key in keys(own, &self.facts, tunnel) {
            match self.forward(&key) {
                Ok(false) => {}
                Ok(true) => {
                    info!(why, "switched on {key}");
                    // Until then a node may never have forwarded.
                    if self.convergence.is_synced() {
                        self.repaired("forwarding", 1);
                    }
                }
                Err(error) => {
                    self.forwarding_off = Some(dotted(&key));
                    return self.trouble(FORWARDING, &NotForwarded(key, error));
                }
            }
        }
        self.forwarding_off = None;
        self.well(FORWARDING);
    }

    /// Whether a key had to be set.
    fn forward(&mut self, key: &str) -> net::Result<bool> {
        // A link that is gone meanwhile has none; 2 of IPv6 forwards too.
        if sysctl::get(key)?.is_none_or(|value| value != "0") {
            return Ok(false);
        }
        if key.starts_with("net/ipv6/") {
            self.keep_advertised_routes()?;
        }
        sysctl::write(key, "1").map(|()| true)
    }

    /// A node that forwards forgets default routes learned from router advertisements, unless
    /// accept_ra is 2 (net/ipv6/ndisc.c, rt6_purge_dflt_routers).
    fn keep_advertised_routes(&mut self) -> net::Result<()> {
        for route in self.socket.list(&route::list_of(true, route::PROTOCOL_RA))? {
            for hop in route.hops.iter().filter(|_| route.dst.prefix() == 0) {
                if let Some(uplink) = self.socket.get(&link::by_index(hop.link))? {
                    sysctl::set(&format!("net/ipv6/conf/{}/accept_ra", uplink.name), "2")?;
                }
            }
        }
        Ok(())
    }

    /// Forwarding of a link was switched off, or of all (below zero).
    pub(super) fn forwarding_off(&mut self, link: i32) {
        let ours = |index: u32| {
            let tunnel = self.tunnel.as_ref().is_some_and(|tunnel| tunnel.index == index);
            let own = self.nodes.own.as_ref();
            tunnel || own.is_some_and(|own| of_node(own, &self.facts).any(|(of, _)| of == index))
        };
        if u32::try_from(link).map_or(link == -1, ours) {
            self.pending = Some("forwarding was switched off");
        }
    }
}
