//! Connections that a change forbids: they are cut, by the addresses of the pods that the change is
//! about.

use super::error::Error;
use crate::evaluate::{Flow, verdict};
use net::{Conntrack, Family, Socket, sysctl};
use nft::Nft;
use nft::policy::{Connection, Desired, Matches, ProfileId, SetId, Tiers};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The addresses that decide otherwise than before. One that was not decided on before was held, and has
/// no connections; but of IPv6 those of an earlier pod with the address may be left, which ADD ends of
/// IPv4.
pub(super) fn affected(before: Option<&Desired>, now: &Desired) -> BTreeSet<IpAddr> {
    let Some(before) = before else { return now.pods.keys().copied().collect() };
    let sets = changed(&before.sets, &now.sets);
    let own = changed(&before.profiles, &now.profiles);
    let refers = |id: &ProfileId| {
        now.profiles.get(id).is_some_and(|profile| {
            let tiers = std::iter::once(&profile.tiers);
            tiers.flat_map(references).any(|set| sets.contains(&set))
        })
    };
    let profiles: BTreeSet<ProfileId> =
        now.profiles.keys().filter(|id| own.contains(id) || refers(id)).copied().collect();
    let pods = now.pods.iter().filter(|(address, pod)| {
        let Some(earlier) = before.pods.get(*address) else { return address.is_ipv6() };
        let uses = |profile: &Option<ProfileId>| profile.is_some_and(|id| profiles.contains(&id));
        earlier.ingress != pod.ingress
            || earlier.egress != pod.egress
            || uses(&pod.ingress)
            || uses(&pod.egress)
    });
    pods.map(|(address, _)| *address).collect()
}

/// What is new, or another than before.
fn changed<K: Ord + Copy, V>(
    before: &BTreeMap<K, Arc<V>>,
    now: &BTreeMap<K, Arc<V>>,
) -> BTreeSet<K> {
    let differs = |(id, value): &(&K, &Arc<V>)| {
        before.get(*id).is_none_or(|before| !Arc::ptr_eq(before, value))
    };
    now.iter().filter(differs).map(|(id, _)| *id).collect()
}

fn references(tiers: &Tiers) -> impl Iterator<Item = SetId> {
    let steps = tiers.before.iter().chain(&tiers.after).map(|step| &step.matches);
    let all = steps.chain(&tiers.isolated);
    all.flat_map(|matches| match matches {
        Matches::All => Vec::new(),
        Matches::Sets(sets) => sets.clone(),
    })
}

/// How long a connection stays cut, as nf_tables keeps it.
const CUT: Duration = Duration::from_secs(20 * 60);

/// Connections that were cut, and when.
#[derive(Default)]
pub(super) struct Cuts(BTreeMap<Connection, Instant>);

impl Cuts {
    /// Cuts what is forbidden now of the connections of these addresses, and lets those begin again that
    /// are admitted now; how many were cut.
    pub(super) fn follow(
        &mut self,
        nft: &mut Nft,
        host: &mut Socket,
        affected: &BTreeSet<IpAddr>,
        now: &Desired,
    ) -> Result<usize, Error> {
        self.0.retain(|_, since| since.elapsed() < CUT);
        let cut = self
            .0
            .keys()
            .filter(|one| affected.contains(&one.source) || affected.contains(&one.destination));
        let admitted: Vec<_> = cut.filter(|one| verdict(now, &flow_of(one))).copied().collect();
        nft.uncut(&admitted)?;
        self.0.retain(|one, _| !admitted.contains(one));
        let forbidden = forbidden(host, affected, now)?;
        let ended: Vec<_> = forbidden.iter().filter(|(one, _)| one.source_port > 0).collect();
        nft.cut(&ended.iter().map(|(one, _)| *one).collect::<Vec<_>>())?;
        self.0.extend(ended.iter().map(|(one, _)| (*one, Instant::now())));
        let mut conntrack = Conntrack::open()?;
        for (_, tracked) in &forbidden {
            conntrack.forget(tracked)?;
        }
        Ok(forbidden.len())
    }
}

/// The connections of these addresses that are forbidden.
fn forbidden(
    host: &mut Socket,
    affected: &BTreeSet<IpAddr>,
    now: &Desired,
) -> Result<Vec<(Connection, net::Connection)>, Error> {
    // Of this network namespace; the kernel counts a flow before its first packet goes on.
    let count = sysctl::get("net/netfilter/nf_conntrack_count").ok().flatten();
    if affected.is_empty() || count.as_deref() == Some("0") {
        return Ok(Vec::new());
    }
    let own = host.list(&net::address::list())?;
    let own: BTreeSet<IpAddr> = own.into_iter().map(|address| address.address.ip()).collect();
    let mut conntrack = Conntrack::open()?;
    let mut forbidden = Vec::new();
    for family in [Family::V4, Family::V6] {
        if !affected.iter().any(|address| Family::of(*address) == family) {
            continue;
        }
        let concerned = |source, destination| {
            let ends = [source, destination];
            // A node and its own pods always reach each other.
            ends.iter().any(|end| affected.contains(end))
                && !ends.iter().any(|end| own.contains(end))
        };
        let found = conntrack.connections(family, concerned)?.into_iter();
        let found = found.map(|tracked| (ends(&tracked), tracked));
        forbidden.extend(found.filter(|(one, _)| !verdict(now, &flow_of(one))));
    }
    Ok(forbidden)
}

fn flow_of(of: &Connection) -> Flow {
    Flow {
        source: of.source,
        destination: of.destination,
        protocol: of.protocol,
        port: of.destination_port,
    }
}

fn ends(of: &net::Connection) -> Connection {
    Connection {
        source: of.source,
        destination: of.destination,
        protocol: of.protocol,
        source_port: of.source_port,
        destination_port: of.destination_port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nft::policy::{Direction, Kind, Members, Pod, Profile};

    fn one() -> Desired {
        let family = nft::policy::Family::V4;
        let set = SetId { kind: Kind::Ports, family, id: 1 };
        let id = ProfileId { direction: Direction::Ingress, family, id: 2 };
        let isolated = Some(Matches::Sets(vec![set]));
        let tiers = Tiers { isolated, ..Tiers::default() };
        let pod = |ingress| Pod { ingress, egress: None, attachment: None };
        Desired {
            sets: [(set, Arc::new(Members::Ports(vec![(6, 80)])))].into(),
            profiles: [(id, Arc::new(Profile { tiers, trial: None }))].into(),
            pods: [("10.1.0.5", Some(id)), ("10.1.0.6", None)]
                .map(|(address, id)| (address.parse().unwrap(), pod(id)))
                .into(),
        }
    }

    fn texts(affected: &BTreeSet<IpAddr>) -> Vec<String> {
        affected.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn a_change_of_a_set_is_about_the_pods_that_use_it() {
        let before = one();
        assert!(affected(Some(&before), &before.clone()).is_empty());
        let mut now = before.clone();
        for members in now.sets.values_mut() {
            *members = Arc::new(Members::Ports(vec![(6, 81)]));
        }
        assert_eq!(texts(&affected(Some(&before), &now)), ["10.1.0.5"]);
    }

    #[test]
    fn a_pod_that_is_selected_now_is_affected_and_a_new_one_is_not() {
        let mut before = one();
        let now = one();
        before.pods.clone_from(&now.pods);
        before.sets.clone_from(&now.sets);
        before.profiles.clone_from(&now.profiles);
        before.pods.values_mut().for_each(|pod| pod.ingress = None);
        assert_eq!(texts(&affected(Some(&before), &now)), ["10.1.0.5"]);
        before.pods.clear();
        assert!(affected(Some(&before), &now).is_empty());
        assert_eq!(affected(None, &now).len(), 2, "after a start all are");
    }
}
