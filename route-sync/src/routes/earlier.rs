//! Pod CIDRs that were this node's before its entry changed: a gateway's address that no pod uses any
//! more is removed, and pods that are left are reported.

use super::protocols::{POD, PROTOCOL};
use crate::config::Config;
use crate::view::View;
use ipnetwork::IpNetwork;
use net::address::{self, Address};
use net::{Link, Socket, route};
use node::{Earlier, Node};
use std::collections::{BTreeMap, BTreeSet};
use tracing::info;

/// At most so many pods are named; of more, only the number is shown.
const NAMED: usize = 3;

/// CIDR → the names of pods that are left in it; none if only an address is left.
type Left = BTreeMap<IpNetwork, BTreeSet<String>>;

/// Removes gateway addresses of earlier pod CIDRs once no pod is left on their bridge, from `held`
/// too; returns what is left, and how many were removed. Only addresses with our mark are removed,
/// and only once a node set of this run contains this node.
///
/// # Errors
/// The kernel refuses.
pub fn clear(
    socket: &mut Socket,
    view: &View,
    links: &[Link],
    held: &mut Vec<Address>,
) -> net::Result<(Vec<Earlier>, u64)> {
    let Some(own) = view.nodes.own.as_ref().map(|own| own.pod_cidrs.as_slice()) else {
        return Ok((view.earlier.clone(), 0));
    };
    let earlier = earlier_cidrs(&view.config, own);
    let deletes = view.convergence.deletes_addresses();
    let mut left = Left::new();
    let mut removed = Vec::new();
    for gateway in held.iter().filter(|held| is_stale(held, links, own, &earlier)) {
        let ports = ports(gateway, links);
        if ports.is_empty() && gateway.protocol == PROTOCOL && deletes {
            remove_gateway(socket, gateway, links)?;
            removed.push(gateway.clone());
        } else {
            left.entry(network(gateway)).or_default().extend(ports);
        }
    }
    held.retain(|held| !removed.contains(held));
    routed_pods(socket, links, [own, &earlier], &mut left)?;
    let left = left.into_iter().map(|(cidr, pods)| describe(cidr, &pods)).collect();
    Ok((left, removed.len() as u64))
}

/// Those that node.json names: it lives as long as the pods.
fn earlier_cidrs(config: &Config, own: &[IpNetwork]) -> Vec<IpNetwork> {
    let Ok(Some(node)) = Node::read(&config.run_dir) else { return Vec::new() };
    let mut cidrs = node.pod_cidrs;
    cidrs.extend(node.earlier.iter().map(|earlier| earlier.cidr));
    cidrs.retain(|cidr| !own.contains(cidr));
    cidrs
}

fn remove_gateway(socket: &mut Socket, gateway: &Address, links: &[Link]) -> net::Result<()> {
    let address = gateway.address;
    let link = links.iter().find(|link| link.index == gateway.link);
    match socket.set(&address::del(gateway.link, address)) {
        Err(error) if !error.is_gone() => Err(error),
        _ => {
            let link = link.map(|link| link.name.as_str());
            info!(link, "removed {address}, the gateway of an earlier pod CIDR without pods");
            Ok(())
        }
    }
}

/// Pods of the plugin bgp, which have a route each.
fn routed_pods(
    socket: &mut Socket,
    links: &[Link],
    [own, earlier]: [&[IpNetwork]; 2],
    left: &mut Left,
) -> net::Result<()> {
    for v6 in [false, true] {
        if !earlier.iter().any(|cidr| cidr.is_ipv6() == v6) {
            continue;
        }
        for route in socket.list(&route::list_of(v6, POD))? {
            let within = |cidrs: &[IpNetwork]| {
                cidrs.iter().find(|cidr| cidr.contains(route.dst.ip())).copied()
            };
            if let (Some(cidr), None) = (within(earlier), within(own)) {
                let on = |link: &&Link| route.hops.iter().any(|hop| hop.link == link.index);
                let pod = links.iter().find(on).map_or_else(|| route.dst.to_string(), name);
                left.entry(cidr).or_default().insert(pod);
            }
        }
    }
    Ok(())
}

fn network(held: &Address) -> IpNetwork {
    IpNetwork::new(held.address.network(), held.address.prefix()).unwrap_or(held.address)
}

/// Whether an address is the gateway of pods that would not be this node's now.
fn is_stale(held: &Address, links: &[Link], own: &[IpNetwork], earlier: &[IpNetwork]) -> bool {
    let of = network(held);
    let of_pods = |link: &Link| link.kind == "bridge" || link.kind == "vlan";
    let ours = held.protocol == PROTOCOL || earlier.contains(&of);
    let on_bridge = || links.iter().any(|link| link.index == held.link && of_pods(link));
    ours && !own.contains(&of) && on_bridge()
}

/// Who is on the bridge of a gateway's address.
fn ports(gateway: &Address, links: &[Link]) -> BTreeSet<String> {
    let holder = links.iter().find(|link| link.index == gateway.link);
    // A VLAN device is over the bridge, and a port of none.
    let bridge = holder.map(|link| if link.kind == "vlan" { link.peer } else { link.index });
    links.iter().filter(|link| link.master > 0 && Some(link.master) == bridge).map(name).collect()
}

/// A pod as its link's alias has it (`ferrule`, the key, network, container and interface), or the
/// name of a link that is not ours.
fn name(link: &Link) -> String {
    let mut words = link.alias.split(' ');
    match (words.next(), words.next()) {
        (Some("ferrule"), Some(_)) => words.collect::<Vec<_>>().join("/"),
        _ => link.name.clone(),
    }
}

fn describe(cidr: IpNetwork, pods: &BTreeSet<String>) -> Earlier {
    let named: Vec<&str> = pods.iter().take(NAMED).map(String::as_str).collect();
    let more = if pods.len() > NAMED { ", …" } else { "" };
    let left = match pods.len() {
        0 => "the gateway's address is left".to_owned(),
        1 => format!("1 pod is left ({})", named.join(", ")),
        count => format!("{count} pods are left ({}{more})", named.join(", ")),
    };
    Earlier { cidr, left }
}
