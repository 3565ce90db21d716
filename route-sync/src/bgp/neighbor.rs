//! One peer: its session, and what was sent to it.

use super::config::{Bgp, Peer};
use super::identity::Identity;
use crate::clock::now;
use crate::facts::Facts;
use bgp_speaker::codec::{Family, Update};
use bgp_speaker::fsm::{Config, Negotiated, Session};
use bgp_speaker::rib::{AdjRibOut, LocalAddresses, Unannounced, exports};
use daemon::logs::Allowance;
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;
use tokio::task::AbortHandle;

/// Lines in a minute about what a peer does wrong.
const LINES: u32 = 20;
/// Complaints about a peer that are remembered, so that each is logged once.
const LOGGED: usize = 32;

/// A peer.
#[derive(Debug)]
pub(super) struct Neighbor {
    pub config: Peer,
    pub session: Session,
    /// What was sent to it.
    pub sent: AdjRibOut,
    /// What cannot be sent to it, and why.
    pub unannounced: BTreeMap<IpNetwork, Unannounced>,
    /// Families of which it has sent all its routes in this session.
    pub ended: BTreeSet<Family>,
    /// Families close to `max-prefixes` for which the warning was logged.
    pub warned: BTreeSet<Family>,
    /// The number of the current dial.
    pub dialling: Option<(u64, AbortHandle)>,
    /// Since when there is a session, or none, seconds since 1970.
    pub since: u64,
    /// What was logged since there was a session, so that it is not logged again.
    pub logged: BTreeSet<String>,
    /// Limits log lines about its errors.
    pub lines: Allowance,
    /// The fault of its last malformed UPDATE.
    pub fault: Option<String>,
    /// Since when it has routes in this session.
    pub routes_since: Option<Instant>,
    /// When a family was last disabled, seconds since 1970.
    pub disabled_since: u64,
}

impl Neighbor {
    pub fn new(peer: &Peer, bgp: &Bgp, identity: &Identity) -> Neighbor {
        let config = Config {
            hold_time: bgp.hold_time,
            connect_retry: bgp.connect_retry,
            passive: peer.passive,
            extended_next_hop: peer.extended_next_hop,
            enforce_first_as: peer.enforce_first_as,
            ..Config::new(bgp.asn, identity.router_id, peer.asn)
        };
        Neighbor {
            config: peer.clone(),
            session: Session::new(config, Instant::now()),
            sent: AdjRibOut::new(),
            unannounced: BTreeMap::new(),
            ended: BTreeSet::new(),
            warned: BTreeSet::new(),
            dialling: None,
            since: now(),
            logged: BTreeSet::new(),
            lines: Allowance::new(LINES),
            fault: None,
            routes_since: None,
            disabled_since: 0,
        }
    }

    /// It has sent all its routes, of every family of the session that is not disabled.
    pub fn complete(&self) -> bool {
        let ended =
            |family| self.ended.contains(family) || self.session.disabled().contains_key(family);
        self.session.established().is_some_and(|up| up.context.families.iter().all(ended))
    }

    /// The UPDATEs that it lacks; none while the session is down.
    /// `local` are our addresses in the session.
    pub fn announce(
        &mut self,
        bgp: &Bgp,
        identity: &Identity,
        local: LocalAddresses,
    ) -> Vec<Update> {
        let Some(up) = self.session.established() else { return vec![] };
        let announced = bgp.announce.as_ref().unwrap_or(&identity.own);
        let own = announced.iter().map(|cidr| (*cidr, bgp.communities.clone())).collect();
        let (exports, unannounced) = exports(&own, bgp.asn, &local, &up.context);
        self.unannounced = unannounced;
        self.sent.sync(exports)
    }

    /// The session came up: all from the beginning, and the marks of its end.
    pub fn begin(
        &mut self,
        bgp: &Bgp,
        identity: &Identity,
        local: LocalAddresses,
        up: &Negotiated,
    ) -> Vec<Update> {
        self.sent = AdjRibOut::new();
        self.ended.clear();
        let mut updates = self.announce(bgp, identity, local);
        updates.extend(AdjRibOut::end_of_rib(&up.context.families));
        updates
    }

    /// Whether a complaint must be logged: it was not since the session began.
    pub fn is_news(&mut self, text: &str) -> bool {
        if self.logged.len() >= LOGGED {
            self.logged.clear();
        }
        self.logged.insert(text.to_owned())
    }

    /// Nothing of an earlier session counts any more.
    pub fn forget(&mut self) {
        self.sent = AdjRibOut::new();
        self.unannounced.clear();
        self.routes_since = None;
        self.ended.clear();
        self.warned.clear();
    }
}

/// Our addresses as a peer should use them: of the session's link, where it has such, since a peer
/// on that link may take no other, and of those the node set's first; else the node set's.
pub(super) fn local(session: IpAddr, identity: &Identity, facts: &Facts) -> LocalAddresses {
    let link = facts.holder(session).map(|(_, link)| link);
    let own = &identity.addresses;
    let of_link = |v4| link.and_then(|link| facts.known_as(link, own, v4));
    let of_node = |v4| own.iter().copied().find(|address| address.is_ipv4() == v4);
    let of = |v4| of_link(v4).or_else(|| of_node(v4));
    LocalAddresses {
        session,
        ipv4: of(true).and_then(four),
        ipv6: of(false).and_then(six),
        link_local: None,
    }
}

pub(super) fn four(address: IpAddr) -> Option<Ipv4Addr> {
    if let IpAddr::V4(v4) = address { Some(v4) } else { None }
}

pub(super) fn six(address: IpAddr) -> Option<Ipv6Addr> {
    if let IpAddr::V6(v6) = address { Some(v6) } else { None }
}
