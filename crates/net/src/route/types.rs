//! A route, and the numbers by which the kernel writes it.

use ipnetwork::IpNetwork;
use std::fmt;
use std::net::IpAddr;

pub(crate) const RTM_NEWROUTE: u16 = 24;
// include/uapi/linux/rtnetlink.h
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_SRC: u16 = 2;
pub(super) const RTA_IIF: u16 = 3;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_PRIORITY: u16 = 6;
pub(super) const RTA_PREFSRC: u16 = 7;
pub(super) const RTA_METRICS: u16 = 8;
pub(super) const RTA_MULTIPATH: u16 = 9;
pub(super) const RTA_TABLE: u16 = 15;
pub(super) const RTA_VIA: u16 = 18;
pub(super) const RTAX_MTU: u16 = 2;
pub(super) const RTAX_ADVMSS: u16 = 8;
pub(super) const RTNH_F_ONLINK: u8 = 4;
/// The answer is the table's entry, not what becomes of it for one destination.
pub(super) const RTM_F_FIB_MATCH: u32 = 0x2000;
pub(super) const RT_SCOPE_UNIVERSE: u8 = 0;
pub(super) const RT_SCOPE_LINK: u8 = 253;
pub(super) const RT_SCOPE_NOWHERE: u8 = 255;
pub(super) const AF_INET: u8 = libc::AF_INET as u8;
pub(super) const AF_INET6: u8 = libc::AF_INET6 as u8;

/// The main routing table.
pub const MAIN: u32 = libc::RT_TABLE_MAIN as u32;
/// What `ip route add` and the reference plugins use: RTPROT_BOOT.
pub const PROTOCOL_BOOT: u8 = 3;
/// Learned from router advertisements: RTPROT_RA.
pub const PROTOCOL_RA: u8 = 9;

/// A route, as it is asked for and as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination, without host bits.
    pub dst: IpNetwork,
    /// What becomes of the packets.
    pub kind: Kind,
    /// Where the packets go; none when they are dropped. Several share the traffic, and of IPv6 the
    /// kernel makes one such route of those with an equal destination and priority
    /// (net/ipv6/ip6_fib.c, fib6_add_rt2node), also of two networks' default routes.
    pub hops: Vec<Hop>,
    /// Metric. IPv6 reports 1024 where 0 was asked for.
    pub priority: u32,
    /// Routing table.
    pub table: u32,
    /// Scope as rtnetlink numbers it (rt_scope_t: 0 universe, 253 link); IPv6 reports always 0.
    pub scope: Option<u8>,
    /// Source address of what this node itself sends by this route.
    pub source: Option<IpAddr>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// TCP segment size to advertise, in bytes.
    pub advmss: Option<u32>,
    /// Who made it (RTPROT_*).
    pub protocol: u8,
}

/// One way that a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// Next hop, of either family; without one the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Index of the link; 0 in a report when there is none.
    pub link: u32,
    /// The gateway is taken to be on the link although no route says so (RTNH_F_ONLINK).
    pub onlink: bool,
}

/// A route's type (RTN_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Packets go to the hops.
    Unicast,
    /// Packets are dropped without a word.
    Blackhole,
    /// Another, by its number: 2 local, 3 broadcast, 7 unreachable, …
    Other(u8),
}

impl Kind {
    pub(super) fn number(self) -> u8 {
        match self {
            Kind::Unicast => libc::RTN_UNICAST,
            Kind::Blackhole => libc::RTN_BLACKHOLE,
            Kind::Other(number) => number,
        }
    }

    /// Of an address of the node's own.
    pub const LOCAL: Kind = Kind::Other(libc::RTN_LOCAL);

    pub(super) fn of(number: u8) -> Kind {
        match number {
            libc::RTN_UNICAST => Kind::Unicast,
            libc::RTN_BLACKHOLE => Kind::Blackhole,
            number => Kind::Other(number),
        }
    }
}

impl Route {
    /// A unicast route of the main table, by one hop, with nothing special.
    pub fn new(dst: IpNetwork, gateway: Option<IpAddr>, link: u32) -> Route {
        let hops = vec![Hop { gateway, link, onlink: false }];
        Route { kind: Kind::Unicast, hops, ..Route::blackhole(dst) }
    }

    /// A blackhole of the main table, with nothing special.
    pub fn blackhole(dst: IpNetwork) -> Route {
        Route {
            dst,
            kind: Kind::Blackhole,
            hops: Vec::new(),
            priority: 0,
            table: MAIN,
            scope: None,
            source: None,
            mtu: None,
            advmss: None,
            protocol: PROTOCOL_BOOT,
        }
    }

    /// The same with every hop on another link.
    pub fn through(mut self, link: u32) -> Route {
        for hop in &mut self.hops {
            hop.link = link;
        }
        self
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Unicast => {}
            Kind::Blackhole => f.write_str("blackhole ")?,
            Kind::Other(number) => write!(f, "of type {number} ")?,
        }
        write!(f, "{}", self.dst)?;
        for gateway in self.hops.iter().filter_map(|hop| hop.gateway) {
            write!(f, " via {gateway}")?;
        }
        if self.table != MAIN {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}
