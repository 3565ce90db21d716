//! Reads from the kernel what this node is: its links, addresses and gateways.

use crate::facts::{Facts, GATEWAY_PROTOCOLS, is_tunnel};
use ipnetwork::IpNetwork;
use net::{Link, Socket, address, route};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// The next hops by which this node reaches the rest of the world.
///
/// # Errors
/// The routes cannot be listed.
pub fn gateways(socket: &mut Socket) -> net::Result<BTreeSet<IpAddr>> {
    let mut gateways = BTreeSet::new();
    for (protocol, v6) in GATEWAY_PROTOCOLS.into_iter().flat_map(|of| [(of, false), (of, true)]) {
        let add = |_: &mut (), route: route::Route| {
            gateways.extend(route.hops.iter().filter_map(|hop| hop.gateway));
        };
        socket.fold(&route::list_of(v6, protocol), add)?;
    }
    Ok(gateways)
}

/// Whether an address shows where this node is. The gateway's on each pod's link does not: of IPv6
/// it is link-local, of IPv4 alone and not global.
pub fn is_own(address: &address::Address) -> bool {
    let held = address.address.ip();
    let of_link = match address.address {
        IpNetwork::V4(four) => four.prefix() == 32 && !address.global,
        IpNetwork::V6(six) => six.ip().is_unicast_link_local(),
    };
    !of_link && !held.is_loopback()
}

/// The links with addresses; if `lo` or a dummy has one, also links without addresses that may lead
/// to other nodes; but never our own tunnels.
pub fn facts(links: &[Link], addresses: &[address::Address]) -> Facts {
    let mut held: HashMap<u32, Vec<IpNetwork>> = HashMap::new();
    for address in addresses {
        if is_own(address) {
            held.entry(address.link).or_default().push(address.address);
        }
    }
    // Links without an address matter only then; they come and go with pods.
    let routed = links.iter().any(|link| link.leads_nowhere() && held.contains_key(&link.index));
    let passing = addresses.iter().filter(|address| address.passing && is_own(address));
    let passing = passing.map(|address| address.address.ip()).collect();
    let mut facts = Facts { passing, ..Facts::default() };
    for link in links.iter().filter(|link| !is_tunnel(link)) {
        let card = matches!(link.kind.as_str(), "" | "bond" | "team" | "vlan") && link.master == 0;
        let bare = routed && card && !link.leads_nowhere();
        if let Some(mut addresses) = held.remove(&link.index).or_else(|| bare.then(Vec::new)) {
            addresses.sort_unstable();
            let (leads_nowhere, name) = (link.leads_nowhere(), link.name.clone());
            let Link { mtu, up, carrier, point_to_point, .. } = *link;
            let link_facts = crate::facts::Link {
                name,
                leads_nowhere,
                point_to_point,
                mtu,
                up,
                carrier,
                addresses,
            };
            facts.links.insert(link.index, link_facts);
        }
    }
    facts
}
