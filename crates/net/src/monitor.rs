//! What changes, as the kernel tells it.

mod filter;

pub use filter::NeighbourFilter;
pub(crate) use filter::attach;

use crate::address::{self, Address, RTM_DELADDR, RTM_NEWADDR};
use crate::fdb::{self, FdbEntry};
use crate::link::{self, Link, RTM_DELLINK, RTM_NEWLINK};
use crate::neighbour::{self, Neighbour, RTM_DELNEIGH, RTM_NEWNEIGH};
use crate::route::{self, RTM_DELROUTE, RTM_NEWROUTE, Route};
use crate::socket::{RTNLGRP_IPV6_IFADDR, RTNLGRP_LINK};
use netlink::{Error, Protocol, Result};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// Multicast groups of include/uapi/linux/rtnetlink.h, beside those of [`crate::socket`].
const RTNLGRP_NEIGH: u32 = 3;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_ROUTE: u32 = 11;
const RTNLGRP_IPV4_NETCONF: u32 = 24;
const RTNLGRP_IPV6_NETCONF: u32 = 25;
/// RTM_NEWNETCONF, and the attributes of linux/netconf.h.
const RTM_NEWNETCONF: u16 = 80;
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;

/// Receive buffer in bytes, of which the kernel makes twice as many: some 17,000 notifications.
const SPACE: usize = 8 << 20;
/// Events after which [`Monitor::read`] returns, although there may be more.
const EVENTS: usize = 1024;

const GROUPS: [u32; 8] = [
    RTNLGRP_LINK,
    RTNLGRP_NEIGH,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_ROUTE,
    RTNLGRP_IPV4_NETCONF,
    RTNLGRP_IPV6_NETCONF,
];

/// A change in the network namespace. Additions and alterations are reported alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is there, or something of it changed.
    Link(Link),
    /// A link, by index and name, is gone or went to another namespace.
    LinkGone(u32, String),
    /// An address is there.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A route is there. Of IPv6 it has all hops, of which only one may be new.
    Route(Route),
    /// A route is gone. When a link goes down or away, IPv4 does not tell of its routes
    /// (net/ipv4/fib_frontend.c, fib_disable_ip).
    RouteGone(Route),
    /// A neighbour changed its state.
    Neighbour(Neighbour),
    /// A neighbour is gone.
    NeighbourGone(Neighbour),
    /// An FDB entry of a VXLAN device is there.
    Fdb(FdbEntry),
    /// An FDB entry of a VXLAN device is gone.
    FdbGone(FdbEntry),
    /// Forwarding was switched off: of a link, by its index, or of all links (-1) or later ones
    /// (-2).
    ForwardingOff(i32),
    /// More happened than there was space for: what is known is out of date.
    Overrun,
}

/// A nonblocking socket that receives changes of links, addresses, routes, neighbours and FDB
/// entries of one network namespace: that of the thread that opened it. Its descriptor is readable
/// when something came.
pub struct Monitor(netlink::Monitor);

impl Monitor {
    /// Opens it. Every later change is received: a dump after this misses none.
    ///
    /// # Errors
    /// No netlink, or no descriptors left.
    pub fn open() -> Result<Monitor> {
        netlink::Monitor::open(Protocol::Route, &GROUPS, SPACE, "listen to netlink").map(Monitor)
    }

    /// Limits which neighbours are received; at first those of every link are.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn neighbour_filter(&self) -> Result<NeighbourFilter> {
        let socket = self.as_fd().try_clone_to_owned();
        let socket = socket.map_err(|error| Error::io("filter neighbours", &error))?;
        Ok(NeighbourFilter { socket })
    }

    /// What happened since, in its order; some 1,000 events at once. It is empty only when there
    /// is nothing more: then the descriptor becomes readable with the next change.
    /// [`Event::Overrun`] comes alone: a dump after it misses nothing.
    ///
    /// # Errors
    /// The socket's.
    pub fn read(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let overrun = self.0.read(|message| {
            events.extend(event(message.kind, message.body));
            if events.len() < EVENTS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(if overrun { vec![Event::Overrun] } else { events })
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What a notification says; `None` when it is about something else.
fn event(kind: u16, body: &[u8]) -> Option<Event> {
    // The parsers know reports of what is there; those of what is gone look the same.
    let link = || {
        // A port that leaves its bridge is reported as a link of AF_BRIDGE that is gone
        // (net/bridge/br_netlink.c, br_ifinfo_notify), and wireless devices tell of theirs
        // without a name.
        let whole = body.first() == Some(&(libc::AF_UNSPEC as u8));
        link::parse::link(RTM_NEWLINK, body).filter(|link| whole && !link.name.is_empty())
    };
    let address = || address::parse(RTM_NEWADDR, body);
    let route = || route::parse::route(RTM_NEWROUTE, body);
    let neighbour = || neighbour::parse(RTM_NEWNEIGH, body);
    let fdb = || fdb::parse_notification(RTM_NEWNEIGH, body);
    match kind {
        RTM_NEWLINK => link().map(Event::Link),
        RTM_DELLINK => link().map(|link| Event::LinkGone(link.index, link.name)),
        RTM_NEWADDR => address().map(Event::Address),
        RTM_DELADDR => address().map(Event::AddressGone),
        RTM_NEWROUTE => route().map(Event::Route),
        RTM_DELROUTE => route().map(Event::RouteGone),
        RTM_NEWNEIGH => neighbour().map(Event::Neighbour).or_else(|| fdb().map(Event::Fdb)),
        RTM_DELNEIGH => neighbour().map(Event::NeighbourGone).or_else(|| fdb().map(Event::FdbGone)),
        RTM_NEWNETCONF => forwarding_off(body).map(Event::ForwardingOff),
        _ => None,
    }
}

/// The link that does not forward, as a netconfmsg says: a family in four bytes, attributes.
fn forwarding_off(body: &[u8]) -> Option<i32> {
    let attributes = body.get(4..)?;
    let number = |kind| netlink::find(attributes, kind).and_then(netlink::u32_of);
    let off = number(NETCONFA_FORWARDING)? == 0;
    number(NETCONFA_IFINDEX).map(u32::cast_signed).filter(|_| off)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Attributes, some of whose values are attributes.
    fn attributes() -> impl Strategy<Value = Vec<u8>> {
        let value = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::sample::select(vec![b"vxlan\0".to_vec(), b"bridge\0".to_vec(), b"vlan".to_vec()]),
        ];
        value.prop_recursive(3, 32, 6, |inner| {
            prop::collection::vec((0..64_u16, inner, -2..3_i16), 0..6).prop_map(|all| {
                let mut bytes = Vec::new();
                for (kind, value, off) in all {
                    let length = u16::try_from(4 + value.len()).unwrap();
                    bytes.extend(length.saturating_add_signed(off).to_ne_bytes());
                    bytes.extend(kind.to_ne_bytes());
                    bytes.extend(value);
                    bytes.resize(bytes.len().next_multiple_of(4), 0);
                }
                bytes
            })
        })
    }

    proptest! {
        #[test]
        fn no_notification_makes_it_panic(
            kind in 0..64_u16,
            family in prop::sample::select(vec![0_u8, 2, 7, 10]),
            header in prop::sample::select(vec![7_usize, 11, 15]),
            filling in any::<u8>(),
            attributes in attributes(),
        ) {
            let mut body = vec![filling; header];
            body.insert(0, family);
            body.extend(attributes);
            let _ = event(kind, &body);
            let _ = link::parse::vlans(RTM_NEWLINK, &body);
            let _ = route::parse::route_of_main(RTM_NEWROUTE, &body);
        }
    }
}
