//! Which rules and routes there must be: pure functions of configuration, result and what the pod's
//! routing is.

use crate::config::Config;
use attach::chain::Chained;
use attach::{Item, LinkRoute, Routing, SourceRouting};
use cni::{CniResult, Error, Ip, Request, Result};
use ipnetwork::IpNetwork;
use std::net::IpAddr;
use std::path::Path;

/// The first routing table that is taken where it is free.
const FIRST_TABLE: u32 = 100;
/// The main routing table: RT_TABLE_MAIN.
const MAIN: u32 = 254;
/// RT_SCOPE_LINK: the destination is on the link.
const SCOPE_LINK: u8 = 253;
/// RTPROT_BOOT, as the reference's routes have it.
const PROTOCOL_BOOT: u8 = 3;

/// A configuration with the routing that follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced {
    /// `runDir`.
    pub config: Config,
    /// What there must be.
    pub routing: SourceRouting,
}

impl Chained for Sourced {
    const NAME: &'static str = "sbr";

    fn run_dir(&self) -> &Path {
        &self.config.run_dir
    }

    fn plan(&self, _: &Request, _: &CniResult, _: &str) -> Result<Vec<Item>> {
        Ok(vec![Item::SourceRouting(self.routing.clone())])
    }
}

/// The addresses of the interface: those of which the result says no other name.
///
/// # Errors
/// Code 7 where the result has no addresses at all.
pub fn addresses<'a>(ifname: &str, result: &'a CniResult) -> Result<Vec<&'a Ip>> {
    if result.ips.is_empty() {
        return Err(Error::config(format!("No IP addresses supplied on interface: {ifname}"))
            .details("packets are routed by these: put sbr behind a plugin with IPAM"));
    }
    let is_other = |ip: &&Ip| {
        let interface = ip.interface.and_then(|index| result.interfaces.get(index));
        interface.is_some_and(|interface| interface.name != ifname)
    };
    Ok(result.ips.iter().filter(|ip| !is_other(ip)).collect())
}

/// The rules and routes for the addresses of an interface.
pub fn routing(config: &Config, link: &str, ips: &[&Ip], found: &Routing) -> SourceRouting {
    let mut routing = SourceRouting { link: link.to_owned(), ..SourceRouting::default() };
    if let Some(table) = config.table {
        routing.rules = ips.iter().map(|ip| (ip.address.ip(), table)).collect();
        return routing;
    }
    // Without a rule to their table, routes are of no use there.
    if ips.is_empty() {
        return routing;
    }
    let routes: Vec<&LinkRoute> = found.routes.iter().filter(|route| moves(route)).collect();
    let mut table = free_table(FIRST_TABLE, found);
    for ip in ips {
        routing.rules.push((ip.address.ip(), table));
        let gateway = gateway(config, ip);
        routing.added.extend(gateway.and_then(|gateway| default_route(gateway, table)));
        for route in routes.iter().filter(|route| is_of(route, ip)) {
            let copy = LinkRoute { table, ..(*route).clone() };
            // One in the place of another replaces it.
            let is_same = |one: &LinkRoute| (one.dst, one.table, one.priority) == place(&copy);
            routing.added.retain(|one| !is_same(one));
            routing.added.push(copy);
        }
        table = free_table(table + 1, found);
    }
    if config.source_hints {
        keep_subnets(&mut routing, ips, &routes);
    } else {
        routing.removed = routes.into_iter().cloned().collect();
    }
    routing
}

/// What an earlier ADD made whose record is lost: rules for these addresses, and the routes of the
/// interface in their tables. They were moved there.
pub fn unrecorded(
    config: &Config,
    link: &str,
    ips: &[&Ip],
    found: &Routing,
) -> Option<SourceRouting> {
    let of_ours = |source: &IpAddr| ips.iter().any(|ip| ip.address.ip() == *source);
    let mut rules = found.rules.clone();
    rules.retain(|(source, table)| config.table != Some(*table) && of_ours(source));
    if config.table.is_some() || rules.is_empty() {
        return None;
    }
    let mut added = found.others.clone();
    added.retain(|route| rules.iter().any(|(_, table)| *table == route.table));
    let removed = added.iter().map(|route| LinkRoute { table: MAIN, ..route.clone() }).collect();
    Some(SourceRouting { link: link.to_owned(), rules, added, removed, replaced: Vec::new() })
}

fn place(route: &LinkRoute) -> (IpNetwork, u32, u32) {
    (route.dst, route.table, route.priority)
}

/// What neighbours on the link need stays in the main table.
fn moves(route: &LinkRoute) -> bool {
    match route.dst {
        IpNetwork::V4(_) => true,
        IpNetwork::V6(dst) => !dst.ip().is_unicast_link_local() && !dst.ip().is_multicast(),
    }
}

/// The first table from a number on that no rule names and that has no routes.
fn free_table(from: u32, found: &Routing) -> u32 {
    (from..u32::MAX).find(|table| !found.tables.contains(table)).unwrap_or(u32::MAX)
}

fn gateway(config: &Config, ip: &Ip) -> Option<IpAddr> {
    let own = config.gateways.iter().find(|gateway| gateway.is_ipv4() == ip.address.is_ipv4());
    own.copied().or(ip.gateway)
}

fn default_route(gateway: IpAddr, table: u32) -> Option<LinkRoute> {
    let any = if gateway.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let dst = IpNetwork::new(any, 0).ok()?;
    Some(LinkRoute { gateway: Some(gateway), ..plain(dst, table) })
}

fn plain(dst: IpNetwork, table: u32) -> LinkRoute {
    // IPv6 reports 1024 where no priority was asked for.
    let priority = if dst.is_ipv6() { 1024 } else { 0 };
    LinkRoute {
        dst,
        gateway: None,
        onlink: false,
        priority,
        table,
        scope: None,
        source: None,
        mtu: None,
        advmss: None,
        protocol: PROTOCOL_BOOT,
    }
}

/// Whether a route is for an address: its source or next hop is in the address's subnet, or it has
/// neither.
fn is_of(route: &LinkRoute, ip: &Ip) -> bool {
    let near = |address: Option<IpAddr>| address.is_some_and(|it| ip.address.contains(it));
    let alone = route.source.is_none() && route.gateway.is_none();
    let family = route.dst.is_ipv4() == ip.address.is_ipv4();
    family && (near(route.source) || near(route.gateway) || alone)
}

/// Routes to the subnets stay in the main table, with the address as source; others go.
fn keep_subnets(routing: &mut SourceRouting, ips: &[&Ip], routes: &[&LinkRoute]) {
    let subnet = |ip: &Ip| IpNetwork::new(ip.address.network(), ip.address.prefix()).ok();
    let subnets: Vec<_> = ips.iter().filter_map(|ip| Some((subnet(ip)?, ip))).collect();
    for (subnet, ip) in &subnets {
        let source = Some(ip.address.ip());
        let scope = Some(SCOPE_LINK);
        routing.added.push(LinkRoute { source, scope, ..plain(*subnet, MAIN) });
    }
    for route in routes {
        let hinted = |subnet: &IpNetwork| *subnet == route.dst && route.gateway.is_none();
        if subnets.iter().any(|(subnet, _)| hinted(subnet)) {
            // Of IPv6 the kernel's route has another priority, and is not replaced.
            let list = if route.priority == plain(route.dst, MAIN).priority {
                &mut routing.replaced
            } else {
                &mut routing.removed
            };
            list.push((*route).clone());
        } else if route.scope != Some(SCOPE_LINK) {
            routing.removed.push((*route).clone());
        }
    }
}

#[cfg(test)]
mod tests;
