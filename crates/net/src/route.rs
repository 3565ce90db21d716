//! Routes: RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE (struct rtmsg of
//! include/uapi/linux/rtnetlink.h; net/ipv4/fib_frontend.c, net/ipv6/route.c).

use netlink::Message;
use netlink::Verb;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};
use std::net::IpAddr;

pub(crate) mod parse;
mod types;

pub(crate) use types::RTM_NEWROUTE;
pub use types::{Hop, Kind, MAIN, PROTOCOL_BOOT, PROTOCOL_RA, Route};

use types::{
    AF_INET, AF_INET6, RT_SCOPE_LINK, RT_SCOPE_NOWHERE, RT_SCOPE_UNIVERSE, RTA_DST, RTA_GATEWAY,
    RTA_IIF, RTA_METRICS, RTA_MULTIPATH, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY, RTA_SRC, RTA_TABLE,
    RTA_VIA, RTAX_ADVMSS, RTAX_MTU, RTM_F_FIB_MATCH, RTNH_F_ONLINK,
};

pub(crate) const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

fn family(v6: bool) -> u8 {
    if v6 { AF_INET6 } else { AF_INET }
}

/// What names a route to the kernel: family, destination, table, protocol, type and priority.
fn key(route: &Route, scope: u8) -> Message {
    // A table above 255 only fits the attribute.
    let table = u8::try_from(route.table).unwrap_or(0);
    // Of the flags only onlink is ever set, for the one hop that has no flags of its own.
    let onlink = matches!(route.hops[..], [Hop { onlink: true, .. }]);
    let flags = if onlink { RTNH_F_ONLINK } else { 0 };
    let (v6, length) = (route.dst.is_ipv6(), route.dst.prefix());
    let kind = route.kind.number();
    let mut message = Message::new(&[family(v6), length, 0, 0, table, route.protocol, scope, kind]);
    message.raw(&u32::from(flags).to_ne_bytes());
    message.put_u32(RTA_TABLE, route.table);
    if length > 0 {
        message.put_ip(RTA_DST, route.dst.network());
    }
    if route.priority > 0 {
        message.put_u32(RTA_PRIORITY, route.priority);
    }
    message
}

fn put_gateway(message: &mut Message, hop: &Hop, v6: bool) {
    match hop.gateway {
        // struct rtvia: IPv4 by a next hop of IPv6 (RFC 8950).
        Some(IpAddr::V6(gateway)) if !v6 => {
            let family = u16::from(AF_INET6).to_ne_bytes();
            message.put(RTA_VIA, &[&family[..], &gateway.octets()].concat());
        }
        Some(gateway) => message.put_ip(RTA_GATEWAY, gateway),
        None => {}
    }
}

fn put_hops(message: &mut Message, route: &Route) {
    let v6 = route.dst.is_ipv6();
    match &route.hops[..] {
        [] => {}
        [hop] => {
            put_gateway(message, hop, v6);
            message.put_u32(RTA_OIF, hop.link);
        }
        hops => message.nest(RTA_MULTIPATH, |list| {
            for hop in hops {
                // struct rtnexthop: length, flags, weight - 1, link.
                list.measured(|list| {
                    list.raw(&[0, 0, if hop.onlink { RTNH_F_ONLINK } else { 0 }, 0]);
                    list.raw(&hop.link.to_ne_bytes());
                    put_gateway(list, hop, v6);
                });
            }
        }),
    }
}

fn message(route: &Route) -> Message {
    let v6 = route.dst.is_ipv6();
    let on_link = route.kind == Kind::Unicast && route.hops.iter().all(|hop| hop.gateway.is_none());
    let usual = if on_link && !v6 { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
    let mut message = key(route, route.scope.unwrap_or(usual));
    put_hops(&mut message, route);
    if let Some(source) = route.source {
        message.put_ip(RTA_PREFSRC, source);
    }
    if route.mtu.is_some() || route.advmss.is_some() {
        message.nest(RTA_METRICS, |metrics| {
            for (kind, value) in [(RTAX_MTU, route.mtu), (RTAX_ADVMSS, route.advmss)] {
                value.into_iter().for_each(|value| metrics.put_u32(kind, value));
            }
        });
    }
    message
}

/// Adds a route. Without NLM_F_EXCL, as the reference does, so that a pod's second network may
/// bring a default route as well; an equal route is EEXIST all the same.
pub fn add(route: &Route) -> Verb<()> {
    let what = format!("add route {route}");
    Verb::change(RTM_NEWROUTE, &message(route), NLM_F_CREATE, what)
}

/// Adds a route unless there is one of an equal destination, priority and table, whosever it is
/// and wherever it leads: that is EEXIST.
pub fn create(route: &Route) -> Verb<()> {
    let what = format!("create route {route}");
    Verb::change(RTM_NEWROUTE, &message(route), NLM_F_CREATE | NLM_F_EXCL, what)
}

/// Puts a route in the place of the one of an equal destination, priority and table, or adds it.
/// The kernel does not compare protocols: another's route is overwritten too.
pub fn replace(route: &Route) -> Verb<()> {
    let what = format!("replace route {route}");
    Verb::change(RTM_NEWROUTE, &message(route), NLM_F_CREATE | NLM_F_REPLACE, what)
}

/// Removes the route of this destination, priority, table and protocol, wherever it leads; of
/// another protocol is ESRCH. IPv4 compares the type as well, IPv6 does not. Priority 0 means
/// any: only IPv4 has routes of priority 0, and of these it takes the lowest first.
pub fn del(route: &Route) -> Verb<()> {
    let what = format!("remove route {route}");
    Verb::change(RTM_DELROUTE, &key(route, RT_SCOPE_NOWHERE), 0, what)
}

/// As [`del`], but of several IPv4 routes that share destination, priority and protocol, as
/// `ip route append` makes them, the one with these hops. Of IPv6 the kernel makes one of them.
pub fn del_one(route: &Route) -> Verb<()> {
    if route.dst.is_ipv6() {
        return del(route);
    }
    let mut message = key(route, RT_SCOPE_NOWHERE);
    put_hops(&mut message, route);
    let what = format!("remove route {route}");
    Verb::change(RTM_DELROUTE, &message, 0, what)
}

/// The kernel skips routes of another protocol or type; 0 is any (strict checking, since 4.20).
fn dump(v6: bool, protocol: u8, kind: u8) -> Message {
    Message::new(&[family(v6), 0, 0, 0, 0, protocol, 0, kind, 0, 0, 0, 0])
}

/// The route that packets to an address take, found as packets find it (RTM_F_FIB_MATCH, since
/// 4.13): its cost does not grow with the table. Of several hops, those that it has.
///
/// Where none leads there the kernel says ENETUNREACH.
pub fn toward(address: IpAddr) -> Verb<Route> {
    lookup(address, RTM_F_FIB_MATCH)
}

/// As [`toward`], with what a packet of the node's own would have there: one hop, and its source.
pub fn taken_to(address: IpAddr) -> Verb<Route> {
    lookup(address, 0)
}

/// The route that a packet takes which came in by a link, from an address: what the kernel would
/// forward. EXDEV: the reverse path filter drops it, which newer kernels report as EINVAL, as a blackhole is.
pub fn forwarded(from: IpAddr, link: u32, to: IpAddr) -> Verb<Route> {
    let mut message = question(to, bits(from), 0);
    message.put_ip(RTA_SRC, from);
    message.put_u32(RTA_IIF, link);
    let what = format!("look up the route from {from} to {to}");
    Verb::new(RTM_GETROUTE, &message, 0, parse::route, what)
}

fn lookup(address: IpAddr, flags: u32) -> Verb<Route> {
    let what = format!("look up the route to {address}");
    Verb::new(RTM_GETROUTE, &question(address, 0, flags), 0, parse::route, what)
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn question(address: IpAddr, source_bits: u8, flags: u32) -> Message {
    let family = family(address.is_ipv6());
    let mut message = Message::new(&[family, bits(address), source_bits, 0, 0, 0, 0, 0]);
    message.raw(&flags.to_ne_bytes());
    message.put_ip(RTA_DST, address);
    message
}

/// The unicast routes of one family in every table.
pub fn list(v6: bool) -> Verb<Route> {
    let message = dump(v6, 0, libc::RTN_UNICAST);
    Verb::new(RTM_GETROUTE, &message, NLM_F_DUMP, parse::route, "list routes".to_owned())
}

/// What is the node's own: the routes of one family and of type local, in every table.
pub fn local(v6: bool) -> Verb<Route> {
    let message = dump(v6, 0, libc::RTN_LOCAL);
    let what = "list the node's own addresses".to_owned();
    Verb::new(RTM_GETROUTE, &message, NLM_F_DUMP, parse::route_of_node, what)
}

/// The routes of one family in the main table that a protocol made, of every type. What others
/// have does not pass through the socket.
pub fn list_of(v6: bool, protocol: u8) -> Verb<Route> {
    let message = dump(v6, protocol, 0);
    let what = format!("list routes of protocol {protocol}");
    // Asked for a table that has never had a route, IPv4 answers ENOENT: the parser chooses it.
    Verb::new(RTM_GETROUTE, &message, NLM_F_DUMP, parse::route_of_main, what)
}
