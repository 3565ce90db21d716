//! The nouns of routing by source: what a pod sends from an address takes a routing table of its own, and the routes
//! of its interface move there from the main table.

use ipnetwork::IpNetwork;
use net::route::{Hop, Kind, Route};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The routing of a pod's interface by source. All is in the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceRouting {
    /// The interface.
    pub link: String,
    /// Which table the packets of each address take.
    pub rules: Vec<(IpAddr, u32)>,
    /// The routes of these tables, and those of the main table with source hints.
    pub added: Vec<LinkRoute>,
    /// The interface's routes in the main table that go.
    pub removed: Vec<LinkRoute>,
    /// The interface's routes in the main table that a source hint replaces.
    pub replaced: Vec<LinkRoute>,
}

/// A unicast route by one hop over the interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRoute {
    /// Destination.
    #[serde(with = "crate::text")]
    pub dst: IpNetwork,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// The next hop counts as being on the link.
    pub onlink: bool,
    /// Metric.
    pub priority: u32,
    /// Routing table.
    pub table: u32,
    /// Scope, as rtnetlink numbers it.
    pub scope: Option<u8>,
    /// Source address of what the pod sends by it.
    pub source: Option<IpAddr>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// TCP segment size to advertise, in bytes.
    pub advmss: Option<u32>,
    /// Who made it (RTPROT_*).
    pub protocol: u8,
}

impl LinkRoute {
    /// A route of the interface; `None` for one of another, or by several hops.
    pub fn of(route: &Route, link: u32) -> Option<LinkRoute> {
        let [hop] = route.hops[..] else { return None };
        (hop.link == link && route.kind == Kind::Unicast).then_some(LinkRoute {
            dst: route.dst,
            gateway: hop.gateway,
            onlink: hop.onlink,
            priority: route.priority,
            table: route.table,
            scope: route.scope,
            source: route.source,
            mtu: route.mtu,
            advmss: route.advmss,
            protocol: route.protocol,
        })
    }

    pub(crate) fn route(&self, link: u32) -> Route {
        Route {
            hops: vec![Hop { gateway: self.gateway, link, onlink: self.onlink }],
            kind: Kind::Unicast,
            priority: self.priority,
            table: self.table,
            // Of IPv6 the kernel reports always 0, and takes no other.
            scope: self.scope.filter(|_| self.dst.is_ipv4()),
            source: self.source,
            mtu: self.mtu,
            advmss: self.advmss,
            protocol: self.protocol,
            ..Route::blackhole(self.dst)
        }
    }
}

/// What a pod's routing was before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// Tables that rules name or that hold routes.
    pub tables: Vec<u32>,
    /// The interface's routes in the main table.
    pub routes: Vec<LinkRoute>,
    /// Its routes in other tables.
    pub others: Vec<LinkRoute>,
    /// Which tables the packets of single addresses take.
    pub rules: Vec<(IpAddr, u32)>,
}
