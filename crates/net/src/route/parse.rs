//! What the kernel reports of routes.

use super::types::{
    AF_INET, AF_INET6, Hop, Kind, MAIN, RTA_DST, RTA_GATEWAY, RTA_METRICS, RTA_MULTIPATH, RTA_OIF,
    RTA_PREFSRC, RTA_PRIORITY, RTA_TABLE, RTA_VIA, RTAX_ADVMSS, RTAX_MTU, RTM_NEWROUTE,
    RTNH_F_ONLINK, Route,
};
use ipnetwork::IpNetwork;
use netlink::{attributes, find, ip_of, u32_of};
use std::net::IpAddr;

/// A route, of the body of RTM_NEWROUTE.
pub(crate) fn route(kind: u16, body: &[u8]) -> Option<Route> {
    let [family, length, _, _, table, protocol, scope, number, flags, ..] = *body else {
        return None;
    };
    let any = match family {
        AF_INET => IpAddr::from([0; 4]),
        AF_INET6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    if kind != RTM_NEWROUTE {
        return None;
    }
    let rest = body.get(12..)?;
    let mut route = Route::blackhole(IpNetwork::new(any, length).ok()?);
    route.kind = Kind::of(number);
    route.table = u32::from(table);
    route.scope = Some(scope);
    route.protocol = protocol;
    for (kind, value) in attributes(rest) {
        match kind {
            RTA_DST => route.dst = IpNetwork::new(ip_of(value)?, length).ok()?,
            RTA_PRIORITY => route.priority = u32_of(value)?,
            RTA_TABLE => route.table = u32_of(value)?,
            RTA_PREFSRC => route.source = Some(ip_of(value)?),
            RTA_METRICS => {
                route.mtu = find(value, RTAX_MTU).and_then(u32_of);
                route.advmss = find(value, RTAX_ADVMSS).and_then(u32_of);
            }
            RTA_MULTIPATH => route.hops = hops(value)?,
            _ => {}
        }
    }
    // Blackhole, unreachable, prohibit, throw: IPv6 says that they are through the loopback device.
    let leads_nowhere = (libc::RTN_BLACKHOLE..=libc::RTN_THROW).contains(&number);
    if route.hops.is_empty() && !leads_nowhere {
        let link = find(rest, RTA_OIF).and_then(u32_of).unwrap_or(0);
        route.hops.push(hop(rest, link, flags)?);
    }
    Some(route)
}

/// As [`route`], those of the main table.
pub(crate) fn route_of_main(kind: u16, body: &[u8]) -> Option<Route> {
    route(kind, body).filter(|route| route.table == MAIN)
}

/// As [`route`], those to the node itself.
pub(crate) fn route_of_node(kind: u16, body: &[u8]) -> Option<Route> {
    route(kind, body).filter(|route| route.kind == Kind::LOCAL)
}

/// The hops of RTA_MULTIPATH, each a struct rtnexthop and its attributes.
fn hops(mut rest: &[u8]) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    while let [l0, l1, flags, _, i0, i1, i2, i3, ..] = *rest {
        let length = u16::from_ne_bytes([l0, l1]) as usize;
        let link = u32::from_ne_bytes([i0, i1, i2, i3]);
        hops.push(hop(rest.get(8..length)?, link, flags)?);
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    Some(hops)
}

fn hop(bytes: &[u8], link: u32, flags: u8) -> Option<Hop> {
    let gateway = match (find(bytes, RTA_GATEWAY), find(bytes, RTA_VIA)) {
        (Some(gateway), _) => Some(ip_of(gateway)?),
        // struct rtvia: the family, then the address.
        (None, Some(via)) => Some(ip_of(via.get(2..)?)?),
        (None, None) => None,
    };
    Some(Hop { gateway, link, onlink: flags & RTNH_F_ONLINK != 0 })
}
