//! What nf_tables does with a flow that holds a [`Desired`].

use crate::model::{Direction, Verdict, ranges};
use nft::policy::{Desired, Kind, Matches, Members, ProfileId, SetId, Tiers};
use std::net::IpAddr;

/// The first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// The protocol's number.
    pub protocol: u8,
    /// The destination port; 0 for a protocol without ports.
    pub port: u16,
}

impl Flow {
    /// The end that is not the pod whose policies of this direction are asked.
    pub fn peer(&self, direction: Direction) -> IpAddr {
        match direction {
            Direction::Ingress => self.source,
            Direction::Egress => self.destination,
        }
    }
}

/// Whether the flow passes.
pub fn verdict(desired: &Desired, flow: &Flow) -> bool {
    flow.source == flow.destination
        || [Direction::Egress, Direction::Ingress].iter().all(|it| passes(desired, flow, *it))
}

/// Whether the pod that is selected in this direction, if there is one, admits the flow.
pub fn passes(desired: &Desired, flow: &Flow, direction: Direction) -> bool {
    let profile = profile(desired, flow, direction).and_then(|id| desired.profiles.get(&id));
    profile.is_none_or(|profile| decide(desired, flow, direction, &profile.tiers))
}

/// Whether policies in dry run would drop the flow, which passes.
pub fn would_drop(desired: &Desired, flow: &Flow, direction: Direction) -> bool {
    let profile = profile(desired, flow, direction).and_then(|id| desired.profiles.get(&id));
    let trial = profile.and_then(|profile| profile.trial.as_ref());
    flow.source != flow.destination
        && trial.is_some_and(|trial| !decide(desired, flow, direction, trial))
}

fn profile(desired: &Desired, flow: &Flow, direction: Direction) -> Option<ProfileId> {
    match direction {
        Direction::Ingress => desired.pods.get(&flow.destination)?.ingress,
        Direction::Egress => desired.pods.get(&flow.source)?.egress,
    }
}

fn decide(desired: &Desired, flow: &Flow, direction: Direction, tiers: &Tiers) -> bool {
    let peer = flow.peer(direction);
    let matches = |it: &Matches| match it {
        Matches::All => true,
        Matches::Sets(sets) => sets.iter().any(|set| has(desired, set, peer, flow)),
    };
    let admin = tiers.before.iter().find(|step| matches(&step.matches)).map(|step| step.verdict);
    match (admin, &tiers.isolated) {
        (Some(Verdict::Accept), _) => true,
        (Some(Verdict::Deny), _) => false,
        (Some(Verdict::Pass) | None, Some(admitted)) => matches(admitted),
        (Some(Verdict::Pass) | None, None) => {
            let baseline = tiers.after.iter().find(|step| matches(&step.matches));
            baseline.is_none_or(|step| step.verdict != Verdict::Deny)
        }
    }
}

fn has(desired: &Desired, set: &SetId, peer: IpAddr, flow: &Flow) -> bool {
    let (protocol, port) = (flow.protocol, flow.port);
    let Some(members) = desired.sets.get(set) else { return false };
    debug_assert_eq!(kind(members), set.kind);
    match &**members {
        Members::Peers(peers) => peers.binary_search(&peer).is_ok(),
        Members::PeerPorts(all) => all.binary_search(&(peer, protocol, port)).is_ok(),
        Members::Ports(ports) => ports.binary_search(&(protocol, port)).is_ok(),
        Members::Networks(all) => all.iter().any(|range| ranges::has(range, peer)),
        Members::NetworkPorts(all) => all.iter().any(|(range, of, ports)| {
            let at_port = (ports.first..=ports.last).contains(&port);
            *of == protocol && at_port && ranges::has(range, peer)
        }),
    }
}

fn kind(members: &Members) -> Kind {
    match members {
        Members::Peers(_) => Kind::Peers,
        Members::PeerPorts(_) => Kind::PeerPorts,
        Members::Ports(_) => Kind::Ports,
        Members::Networks(_) => Kind::Networks,
        Members::NetworkPorts(_) => Kind::NetworkPorts,
    }
}
