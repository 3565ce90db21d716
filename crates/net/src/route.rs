//! Routes: RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE.

use crate::address::family;
use crate::attributes::{attributes, find};
use crate::socket::Verb;
use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};
use std::fmt;
use std::net::IpAddr;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

/// The main routing table.
pub const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// A unicast route through a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination, without host bits.
    pub dst: IpNetwork,
    /// Next hop; without one the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Index of the link; 0 in a report when there is none.
    pub link: u32,
    /// Metric. IPv6 reports 1024 where 0 was asked for.
    pub priority: u32,
    /// Routing table.
    pub table: u32,
    /// Scope as rtnetlink numbers it (rt_scope_t: 0 universe, 253 link); IPv6 reports always 0.
    pub scope: Option<u8>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// TCP segment size to advertise, in bytes.
    pub advmss: Option<u32>,
    /// Who made it (RTPROT_*).
    pub protocol: u8,
}

/// What `ip route add` and the reference plugins use: RTPROT_BOOT.
pub const PROTOCOL_BOOT: u8 = 3;
/// Learned from router advertisements: RTPROT_RA.
pub const PROTOCOL_RA: u8 = 9;

impl Route {
    /// A route of the main table with nothing special.
    pub fn new(dst: IpNetwork, gateway: Option<IpAddr>, link: u32) -> Route {
        Route {
            dst,
            gateway,
            link,
            priority: 0,
            table: MAIN,
            scope: None,
            mtu: None,
            advmss: None,
            protocol: PROTOCOL_BOOT,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dst)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if self.table != MAIN {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}

fn message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.dst.ip());
    message.header.destination_prefix_length = route.dst.prefix();
    message.header.protocol = RouteProtocol::from(route.protocol);
    message.header.kind = RouteType::Unicast;
    message.header.scope = match (route.scope, route.gateway) {
        (Some(scope), _) => RouteScope::from(scope),
        (None, None) if route.dst.is_ipv4() => RouteScope::Link,
        (None, _) => RouteScope::Universe,
    };
    // A table above 255 only fits the attribute.
    message.header.table = u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    if route.dst.prefix() > 0 {
        attributes.push(RouteAttribute::Destination(RouteAddress::from(route.dst.network())));
    }
    if let Some(gateway) = route.gateway {
        attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
    }
    attributes.push(RouteAttribute::Oif(route.link));
    if route.priority > 0 {
        attributes.push(RouteAttribute::Priority(route.priority));
    }
    let metrics: Vec<_> = [route.mtu.map(RouteMetric::Mtu), route.advmss.map(RouteMetric::Advmss)]
        .into_iter()
        .flatten()
        .collect();
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

/// Adds a route. Without NLM_F_EXCL, as the reference does, so that a pod's second network may
/// bring a default route as well; an equal route is EEXIST all the same.
pub fn add(route: &Route) -> Verb<()> {
    let what = format!("add route {route}");
    Verb::change(RTM_NEWROUTE, &message(route), NLM_F_CREATE, what)
}

/// Removes a route.
pub fn del(route: &Route) -> Verb<()> {
    let what = format!("remove route {route}");
    Verb::change(RTM_DELROUTE, &message(route), 0, what)
}

/// The unicast routes of one family in every table.
pub fn list(v6: bool) -> Verb<Route> {
    let mut message = RouteMessage::default();
    message.header.address_family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    Verb::new(RTM_GETROUTE, &message, NLM_F_DUMP, parse, "list routes".to_owned())
}

// Bytes of struct rtmsg, and numbers of include/uapi/linux/rtnetlink.h.
const HEADER: usize = 12;
const RTN_UNICAST: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_METRICS: u16 = 8;
const RTA_TABLE: u16 = 15;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

/// A report by hand, as those of links are parsed, and for the same reason: it took 40 KB.
pub(crate) fn parse(report: u16, body: &[u8]) -> Option<Route> {
    let [family, prefix, _, _, table, protocol, scope, kind, ..] = *body else { return None };
    if report != RTM_NEWROUTE || kind != RTN_UNICAST {
        return None;
    }
    let any = match AddressFamily::from(family) {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut route = Route::new(IpNetwork::new(any, prefix).ok()?, None, 0);
    route.table = u32::from(table);
    route.scope = Some(scope);
    route.protocol = protocol;
    for (kind, value) in attributes(body.get(HEADER..)?) {
        match kind {
            RTA_DST => route.dst = IpNetwork::new(address(value)?, prefix).ok()?,
            RTA_GATEWAY => route.gateway = Some(address(value)?),
            RTA_OIF => route.link = number(value)?,
            RTA_PRIORITY => route.priority = number(value)?,
            RTA_TABLE => route.table = number(value)?,
            RTA_METRICS => {
                route.mtu = find(value, RTAX_MTU).and_then(number);
                route.advmss = find(value, RTAX_ADVMSS).and_then(number);
            }
            _ => {}
        }
    }
    Some(route)
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
