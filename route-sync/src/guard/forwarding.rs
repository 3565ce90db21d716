//! Forwarding of what pods send and get: a reload of sysctls may switch it off.

use crate::facts::Facts;
use crate::source::nodes::Node;
use ipnetwork::IpNetwork;
use net::{Link, Socket, link, route, sysctl};
use std::fmt;
use tracing::info;

const IPV6: &str = "net/ipv6/conf/all/forwarding";

/// Why pods' packets are not passed on.
pub struct NotForwarded {
    key: String,
    error: net::Error,
}

impl fmt::Display for NotForwarded {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let NotForwarded { key, error } = self;
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

/// The sysctls of forwarding.
#[derive(Debug, Default)]
pub struct Forwarding {
    /// One that is off and cannot be set.
    off: Option<String>,
}

impl Forwarding {
    /// The sysctl that is off and cannot be set, as sysctl(8) names it.
    pub fn off(&self) -> Option<&str> {
        self.off.as_deref()
    }

    /// Switches on what is off, logs it with `why`, and returns how many sysctls that were.
    ///
    /// # Errors
    /// One cannot be set; those after it are not tried.
    pub fn switch_on(
        &mut self,
        socket: &mut Socket,
        own: &Node,
        facts: &Facts,
        tunnel: Option<&Link>,
        why: &'static str,
    ) -> (u64, Result<(), NotForwarded>) {
        let mut switched = 0;
        for key in keys(own, facts, tunnel.map(|link| link.name.as_str())) {
            match set(socket, &key) {
                Ok(false) => {}
                Ok(true) => {
                    info!(why, "switched on {key}");
                    switched += 1;
                }
                Err(error) => {
                    self.off = Some(dotted(&key));
                    return (switched, Err(NotForwarded { key, error }));
                }
            }
        }
        self.off = None;
        (switched, Ok(()))
    }
}

/// Whether forwarding of a link that was switched off, or of all below zero, concerns pods.
pub fn concerns(link: i32, own: Option<&Node>, facts: &Facts, tunnel: Option<&Link>) -> bool {
    let ours = |index: u32| {
        tunnel.is_some_and(|tunnel| tunnel.index == index)
            || own.is_some_and(|own| of_node(own, facts).any(|(of, _)| of == index))
    };
    u32::try_from(link).map_or(link == -1, ours)
}

/// Sets a key to 1 where it is 0; whether it was.
fn set(socket: &mut Socket, key: &str) -> net::Result<bool> {
    // A link that is gone meanwhile has none; 2 of IPv6 forwards too.
    if sysctl::get(key)?.is_none_or(|value| value != "0") {
        return Ok(false);
    }
    if key.starts_with("net/ipv6/") {
        keep_advertised_routes(socket)?;
    }
    sysctl::write(key, "1").map(|()| true)
}

/// A node that forwards forgets default routes learned from router advertisements, unless
/// accept_ra is 2 (net/ipv6/ndisc.c, rt6_purge_dflt_routers).
fn keep_advertised_routes(socket: &mut Socket) -> net::Result<()> {
    for route in socket.list(&route::list_of(true, route::PROTOCOL_RA))? {
        for hop in route.hops.iter().filter(|_| route.dst.prefix() == 0) {
            if let Some(uplink) = socket.get(&link::by_index(hop.link))? {
                sysctl::set(&format!("net/ipv6/conf/{}/accept_ra", uplink.name), "2")?;
            }
        }
    }
    Ok(())
}
