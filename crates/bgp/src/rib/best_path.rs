//! The decision process.

use super::Via;
use crate::codec::{Attributes, GRACEFUL_SHUTDOWN};
use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};

/// LOCAL_PREF of a path that has none.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// Who a path came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The peer's address, and its name here.
    pub address: IpAddr,
    /// Its BGP Identifier.
    pub router_id: Ipv4Addr,
    /// It is of our AS (iBGP).
    pub internal: bool,
    /// How often our AS may be in its paths ("allowas-in"); 0 is what RFC 4271 has.
    pub own_as: u8,
}

/// A path to a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Who announced it.
    pub source: Source,
    /// Where to.
    pub via: Via,
    /// What it is judged by.
    pub attributes: Attributes,
}

impl Path {
    /// Section 9.1.1: LOCAL_PREF as received from inside of the AS; from outside all are equal. A
    /// path that is about to go counts least (RFC 8326 section 3).
    fn local_pref(&self) -> u32 {
        if self.attributes.communities.contains(&GRACEFUL_SHUTDOWN) {
            return 0;
        }
        self.attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF)
    }

    fn med(&self) -> u32 {
        self.attributes.med.unwrap_or(0)
    }

    /// The AS that the path was learned from; `None` is our own.
    fn neighbor(&self) -> Option<u32> {
        self.attributes.as_path.first().copied()
    }

    /// Steps f and g, with RFC 4456 section 9 between.
    fn tie_breaker(&self) -> (u32, usize, IpAddr) {
        let originator = self.attributes.originator_id.unwrap_or(self.source.router_id);
        (originator.into(), self.attributes.cluster_list.len(), self.source.address)
    }
}

/// The outcome of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection<'a> {
    /// The best path.
    pub best: &'a Path,
    /// All that are as good up to step e, the best among them, in the order of the tie-breakers.
    pub multipath: Vec<&'a Path>,
}

impl Selection<'_> {
    /// Where packets go, ascending, each once.
    pub(super) fn vias(&self) -> Vec<Via> {
        let mut vias: Vec<Via> = self.multipath.iter().map(|path| path.via).collect();
        vias.sort_unstable();
        vias.dedup();
        vias
    }
}

/// The best path of those to one prefix, and all that share the load with it (ECMP). `paths` are
/// usable ones (section 9.1.2: the next hop resolves, the AS path has no loop; see
/// [`Policy`](super::Policy) and [`Rib::changes`](super::Rib::changes)), each with the cost to its
/// next hop, and at most one for each peer. `None` when there are none.
///
/// RFC 4271 section 9.1: each step drops paths, until one is left.
///
/// 1. Phase 1 and 2 (9.1.1, 9.1.2): the highest LOCAL_PREF stays; 100 where there is none, 0 with
///    GRACEFUL_SHUTDOWN.
/// 2. 9.1.2.2 a: the shortest AS_PATH. There are no sets in it (RFC 9774).
/// 3. b: the lowest ORIGIN.
/// 4. c: the lowest MULTI_EXIT_DISC, among paths of the same neighbouring AS; a missing one is 0.
/// 5. d: external paths, if there are any.
/// 6. e: the lowest cost to the next hop.
/// 7. f: the lowest BGP Identifier; that of ORIGINATOR_ID if a reflector set it (RFC 4456), and
///    of equal ones the shortest CLUSTER_LIST.
/// 8. g: the lowest peer address.
///
/// What is left before step 7 is equal and shares the load; the AS paths need only be of one
/// length, since two ToR switches mostly have two AS numbers.
///
/// Each step looks at the set, not at pairs, so the outcome does not depend on the order of
/// arrival. A comparison of pairs would: with MULTI_EXIT_DISC, "better" is not transitive.
pub fn select<'a>(paths: &[(&'a Path, u32)]) -> Option<Selection<'a>> {
    let mut left = paths.to_vec();
    keep_least(&mut left, |(path, _)| Reverse(path.local_pref()));
    keep_least(&mut left, |(path, _)| path.attributes.as_path.len());
    keep_least(&mut left, |(path, _)| path.attributes.origin);
    let rivals = left.clone();
    left.retain(|(path, _)| {
        let mut same = rivals.iter().filter(|(other, _)| other.neighbor() == path.neighbor());
        same.all(|(other, _)| path.med() <= other.med())
    });
    keep_least(&mut left, |(path, _)| path.source.internal);
    keep_least(&mut left, |(_, cost)| *cost);
    let mut multipath: Vec<&Path> = left.into_iter().map(|(path, _)| path).collect();
    multipath.sort_by_key(|path| path.tie_breaker());
    Some(Selection { best: multipath.first().copied()?, multipath })
}

fn keep_least<T, K: Ord>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    let least = items.iter().map(&key).min();
    items.retain(|item| Some(key(item)) == least);
}
