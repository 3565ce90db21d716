//! The routes of a pod: pure functions of what IPAM said and of the network's metric.

use crate::{Item, NetRoute};
use cni::{CniResult, Error, Result, Route};
use ipnetwork::IpNetwork;
use std::net::IpAddr;

/// RT_SCOPE_LINK of include/uapi/linux/rtnetlink.h: the destination is on the link. Higher ones are
/// narrower.
const SCOPE_LINK: u8 = 253;

/// Adds a default route of each family that has a gateway, unless IPAM brought one, with or without
/// a next hop.
///
/// # Errors
/// Code 7 for a destination that is none.
pub fn add_defaults(result: &mut CniResult) -> Result<()> {
    for v6 in [false, true] {
        let mut gateways = result.ips.iter().filter_map(|ip| ip.gateway);
        let gateway = gateways.find(|gateway| gateway.is_ipv6() == v6);
        let default = |route: &Route| route.dst.prefix() == 0 && route.dst.is_ipv6() == v6;
        if let (Some(gateway), false) = (gateway, result.routes.iter().any(default)) {
            let any = if v6 { IpAddr::from([0; 16]) } else { IpAddr::from([0; 4]) };
            let default = IpNetwork::new(any, 0).map_err(|e| Error::config(e.to_string()))?;
            result.routes.push(Route::new(default, Some(gateway)));
        }
    }
    Ok(())
}

/// Gives routes without a priority the network's metric.
///
/// # Errors
/// Code 7 with a route that contradicts itself.
pub fn complete(result: &mut CniResult, metric: Option<u32>) -> Result<()> {
    for route in &mut result.routes {
        // The kernel has no scopes of IPv6 routes.
        if let (Some(scope), Some(gw)) = (route.scope.filter(|_| route.dst.is_ipv4()), route.gw)
            && scope >= SCOPE_LINK
        {
            let msg =
                format!("the route to {} has the scope {scope} and the gateway {gw}", route.dst);
            return Err(Error::config(msg).details(
                "a destination of scope 253 (link) or narrower is on the link, behind no gateway; \
                 leave one of scope and gw out",
            ));
        }
        route.priority = route.priority.or(metric);
    }
    Ok(())
}

/// The items of a completed result's routes.
pub fn items(pod: &str, result: &CniResult, metric: Option<u32>) -> impl Iterator<Item = Item> {
    let route = move |route| Item::Route(pod_route(pod, route, result, metric));
    result.routes.iter().map(route)
}

/// A route of the result in the pod. Without a next hop it takes the first gateway of its family,
/// unless its destination is on the link. Results before 1.1.0 have lost the priority.
fn pod_route(pod: &str, route: &Route, result: &CniResult, metric: Option<u32>) -> crate::Route {
    let dst = IpNetwork::new(route.dst.network(), route.dst.prefix()).unwrap_or(route.dst);
    let gateway = next_hop(route, result);
    let mut wanted = NetRoute::new(dst, gateway, 0);
    for hop in &mut wanted.hops {
        hop.onlink = gateway.is_some_and(|gateway| !is_known(gateway, result));
    }
    wanted.priority = route.priority.or(metric).unwrap_or(0);
    wanted.table = route.table.unwrap_or(wanted.table);
    wanted.scope = route.scope;
    wanted.mtu = route.mtu;
    wanted.advmss = route.advmss;
    crate::Route { link: pod.to_owned(), route: wanted }
}

fn is_on_link(route: &Route) -> bool {
    route.gw.is_none() && route.scope.is_some_and(|scope| scope >= SCOPE_LINK)
}

fn next_hop(route: &Route, result: &CniResult) -> Option<IpAddr> {
    if route.gw.is_some() || is_on_link(route) {
        return route.gw;
    }
    let mut gateways = result.ips.iter().filter_map(|ip| ip.gateway);
    gateways.find(|address| address.is_ipv6() == route.dst.is_ipv6())
}

/// Whether the kernel knows by itself that a gateway is on the link: it takes no other unless the
/// route says `onlink`.
fn is_known(gateway: IpAddr, result: &CniResult) -> bool {
    let link_local = matches!(gateway, IpAddr::V6(six) if six.is_unicast_link_local());
    let on_link = result.routes.iter().filter(|route| is_on_link(route)).map(|route| route.dst);
    let mut known = result.ips.iter().map(|ip| ip.address).chain(on_link);
    link_local || known.any(|net| net.contains(gateway))
}

#[cfg(test)]
mod tests;
