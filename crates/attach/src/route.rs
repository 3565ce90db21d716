//! Routes in the pod, where an earlier network may have one of the same destination.

use crate::item::{Place, Route};
use crate::kernel::{Kernel, Result};
use net::route;

/// How many metrics above the usual one a route may take where others have those below.
const BEHIND: u32 = 16;

/// The metric of a route that asks for none: of IPv6 the kernel's IP6_RT_PRIO_USER.
fn usual(v6: bool) -> u32 {
    if v6 { 1024 } else { 0 }
}

/// Whether a route's metric is one that ADD gave it.
pub(crate) fn is_metric_of(found: u32, wanted: &route::Route) -> bool {
    let usual = usual(wanted.dst.is_ipv6());
    match wanted.priority {
        0 => (usual..=usual + BEHIND).contains(&found),
        metric => found == metric,
    }
}

impl Kernel {
    /// Adds a route. One without a metric goes behind that of an earlier network of the pod: the
    /// kernel would put it in front (IPv4: net/ipv4/fib_trie.c, fib_table_insert), or make one
    /// route of both that spreads over the two networks (IPv6: net/ipv6/ip6_fib.c,
    /// fib6_add_rt2node).
    pub(crate) fn add_route(&mut self, wanted: &Route) -> Result<()> {
        let link = self.index(Place::Pod, &wanted.link)?;
        let route = wanted.route.clone().through(link);
        let socket = &mut self.pod()?.socket;
        if route.priority > 0 {
            return Ok(socket.set(&route::add(&route))?);
        }
        match socket.set(&route::create(&route)) {
            Err(error) if error.is_exists() => self.add_behind(route, link),
            done => Ok(done?),
        }
    }

    fn add_behind(&mut self, mut route: route::Route, link: u32) -> Result<()> {
        let v6 = route.dst.is_ipv6();
        let socket = &mut self.pod()?.socket;
        let mut present = socket.list(&route::list(v6))?;
        present.retain(|other| (other.dst, other.table) == (route.dst, route.table));
        let at = |metric| present.iter().filter(move |other| other.priority == metric);
        // Two of one network are as it wants them.
        let own = at(usual(v6)).any(|other| other.hops.iter().any(|hop| hop.link == link));
        let free = (1..=BEHIND).map(|behind| usual(v6) + behind);
        let free = free.into_iter().find(|metric| at(*metric).next().is_none());
        route.priority = free.filter(|_| !own).unwrap_or(0);
        Ok(socket.set(&route::add(&route))?)
    }
}
