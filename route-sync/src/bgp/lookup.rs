//! The kernel's routes to next hops that are on no link of this node.

use crate::facts::Facts;
use crate::routes::protocols::LEARNED;
use net::route::{MAIN, Route};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Entry};
use std::net::IpAddr;
use tracing::debug;

/// Next hops that may be known beside twice those of the last whole look: beyond it a whole
/// look forgets those that no peer names any more.
const SPARE: usize = 1024;

/// Looks routes up, and remembers the answers.
pub struct Lookup {
    socket: net::Socket,
    known: HashMap<IpAddr, Option<Route>>,
    /// How many were known after the last whole look.
    whole: usize,
    /// Whether the links that they are reached over carry packets, of those that [`Facts`] lack: a
    /// route may lead over a link without an address.
    links: HashMap<u32, bool>,
}

impl Lookup {
    /// # Errors
    /// No netlink.
    pub fn open() -> net::Result<Lookup> {
        let socket = net::Socket::open()?;
        Ok(Lookup { socket, known: HashMap::new(), whole: 0, links: HashMap::new() })
    }

    /// Whether a link that next hops are reached over carries packets no more, or again.
    pub fn concerns(&self, event: &net::Event) -> bool {
        let (index, now) = match event {
            net::Event::Link(link) => (link.index, is_live(link)),
            net::Event::LinkGone(index, _) => (*index, false),
            _ => return false,
        };
        self.links.get(&index).is_some_and(|live| *live != now)
    }

    /// One round; `all`: a whole one, for every next hop.
    pub fn look(&mut self, all: bool) -> Look<'_> {
        let before = if all { std::mem::take(&mut self.known) } else { HashMap::new() };
        if all {
            self.links.clear();
        }
        Look { lookup: self, all, before, others: BTreeMap::new(), failed: false }
    }
}

/// Whether a link carries packets.
fn is_live(link: &net::Link) -> bool {
    link.up && link.carrier
}

/// One round.
pub struct Look<'a> {
    lookup: &'a mut Lookup,
    all: bool,
    /// The answers from before a whole round.
    before: HashMap<IpAddr, Option<Route>>,
    /// The main table without learned routes; key: whether IPv6. Dumped once at most.
    others: BTreeMap<bool, Vec<Route>>,
    failed: bool,
}

impl Look<'_> {
    /// The route that leads to a next hop, with those of its hops whose links carry packets, as far
    /// as [`Facts`] lack the links. One that was learned does not count: it may follow from
    /// this very next hop, and would come and go with each look. Where the kernel does not answer,
    /// it is the last one.
    pub fn toward(&mut self, address: IpAddr, facts: &Facts) -> Option<Route> {
        let found = self.ask(address);
        let mut route = self.remember(address, found)?;
        route.hops.retain(|hop| facts.links.contains_key(&hop.link) || self.carries(hop.link));
        Some(route)
    }

    /// Whether a link carries packets.
    fn carries(&mut self, link: u32) -> bool {
        if let Some(live) = self.lookup.links.get(&link) {
            return *live;
        }
        let found = self.lookup.socket.get(&net::link::by_index(link));
        let live = found.map(|found| found.is_some_and(|link| is_live(&link)));
        let live = live.unwrap_or_else(|error| {
            debug!("{error}");
            self.failed = true;
            true
        });
        self.lookup.links.insert(link, live);
        live
    }

    fn ask(&mut self, address: IpAddr) -> net::Result<Option<Route>> {
        let found = self.lookup.socket.get(&net::route::toward(address))?;
        if found.as_ref().is_none_or(|found| found.protocol != LEARNED) {
            return Ok(found);
        }
        let others = match self.others.entry(address.is_ipv6()) {
            Entry::Occupied(dumped) => dumped.into_mut(),
            Entry::Vacant(place) => {
                let all = net::route::list(address.is_ipv6());
                place.insert(self.lookup.socket.fold(&all, keep)?)
            }
        };
        Ok(best(address, others).cloned())
    }

    fn remember(&mut self, address: IpAddr, found: net::Result<Option<Route>>) -> Option<Route> {
        let found = match found {
            Ok(found) => found,
            // No route, or one that forbids it, is an error and not an empty answer.
            Err(error) if error.is_unreachable() => None,
            Err(error) => {
                debug!("{error}");
                self.failed = true;
                let known = self.before.remove(&address);
                known.or_else(|| self.lookup.known.remove(&address)).flatten()
            }
        };
        self.lookup.known.insert(address, found.clone());
        found
    }

    /// Ends it: whether the next one has to be a whole one.
    pub fn end(self) -> bool {
        let known = self.lookup.known.len();
        if self.all {
            self.lookup.whole = known;
        }
        self.failed || known > 2 * self.lookup.whole + SPARE
    }
}

fn keep(others: &mut Vec<Route>, route: Route) {
    if route.table == MAIN && route.protocol != LEARNED {
        others.push(route);
    }
}

/// The route that packets to an address would take: of the longest prefix that with the least
/// metric.
fn best(address: IpAddr, routes: &[Route]) -> Option<&Route> {
    let leading = routes.iter().filter(|route| route.dst.contains(address));
    leading.min_by_key(|route| (Reverse(route.dst.prefix()), route.priority))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::netns;
    use nix::errno::Errno;

    /// Whatever the order of the kernel's dump.
    #[test]
    fn learned_routes_do_not_resolve_next_hops() {
        let address = "10.244.9.1".parse().unwrap();
        let route = |dst: &str, protocol, priority, table| {
            let route = Route::new(dst.parse().unwrap(), None, 2);
            Route { protocol, priority, table, ..route }
        };
        let mut routes = [
            route("10.244.9.0/24", LEARNED, 0, MAIN),
            route("10.244.9.0/28", 4, 0, 100),
            route("10.244.8.0/24", 4, 0, MAIN),
            route("10.244.0.0/16", 4, 9, MAIN),
            route("10.244.0.0/16", 12, 5, MAIN),
            route("0.0.0.0/0", 4, 0, MAIN),
        ];
        for _ in 0..2 {
            let mut others = Vec::new();
            routes.iter().for_each(|route| keep(&mut others, route.clone()));
            assert_eq!(best(address, &others), Some(&route("10.244.0.0/16", 12, 5, MAIN)));
            routes.reverse();
        }
    }

    /// An error of netlink says nothing of the next hop; that no route leads there does.
    #[test]
    fn a_failed_lookup_keeps_the_last_route_and_is_retried() {
        netns::enter();
        let mut lookup = Lookup::open().unwrap();
        let address: IpAddr = "203.0.113.7".parse().unwrap();
        let route = Route::new("203.0.113.0/24".parse().unwrap(), None, 2);
        let failed = |errno| Err(net::Error::of("look up the route", errno as i32, ""));
        let mut look = lookup.look(false);
        assert_eq!(look.remember(address, failed(Errno::ENOBUFS)), None);
        assert!(look.end());
        for unreachable in [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EACCES, Errno::EINVAL] {
            let mut look = lookup.look(true);
            assert_eq!(look.remember(address, Ok(Some(route.clone()))), Some(route.clone()));
            assert!(!look.end());
            for all in [false, true] {
                let mut look = lookup.look(all);
                assert_eq!(look.remember(address, failed(Errno::ENOBUFS)), Some(route.clone()));
                assert!(look.end());
            }
            let mut look = lookup.look(true);
            assert_eq!(look.remember(address, failed(unreachable)), None);
            assert!(!look.end());
        }
    }

    /// Next hops that come and go do not pile up.
    #[test]
    fn next_hops_that_no_peer_names_are_forgotten() {
        netns::enter();
        let mut lookup = Lookup::open().unwrap();
        let mut look = lookup.look(false);
        for n in 0..=SPARE as u32 {
            look.remember(std::net::Ipv4Addr::from(n).into(), Ok(None));
        }
        assert!(look.end());
        assert!(!lookup.look(true).end());
        assert!(lookup.known.is_empty());
    }
}
