//! The maps from addresses to profiles: which elements change, and which stay because their pod is not
//! decided on yet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::frame::{FAMILIES, POLICY, names};
use super::keys;
use super::{Family, Pod, ProfileId};
use crate::Nft;
use crate::kernel::answer::ElementState;
use crate::kernel::batch::Batch;
use crate::kernel::error::Result;
use crate::kernel::set::{Data, Element, Set, Verdict};

/// The comment of an element whose attachment is not known.
const UNKNOWN: &str = "ferrule-policy";

/// The key of the attachment that a comment names, as [`crate::fit`] keeps it: the second word.
pub(crate) fn attachment_of(comment: &str) -> Option<&str> {
    let mut words = comment.split(' ');
    words.next().filter(|first| *first == "ferrule")?;
    words.next().filter(|key| key.len() == 32)
}

/// What the maps of a family hold.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    ingress: BTreeMap<IpAddr, ElementState>,
    egress: BTreeMap<IpAddr, ElementState>,
}

/// What has to be changed in the maps.
#[derive(Debug, Default)]
pub(crate) struct MapChanges {
    pub(crate) gone: Vec<(Set<'static>, Vec<u8>)>,
    pub(crate) made: Vec<Element>,
    /// Elements of addresses that stay held.
    pub(crate) held: Vec<Element>,
}

impl MapChanges {
    pub(crate) fn len(&self) -> usize {
        self.gone.len().max(self.made.len())
    }

    pub(crate) fn add_to(&self, batch: &mut Batch) {
        self.gone.iter().for_each(|(set, key)| batch.del_element(set, key));
        self.made.iter().for_each(|element| batch.add_element(element));
    }

    /// How many addresses stay held.
    pub(crate) fn held_addresses(&self) -> usize {
        self.held.iter().map(|element| &element.key).collect::<BTreeSet<_>>().len()
    }

    /// The same for maps that are empty.
    pub(crate) fn anew(self, pods: &BTreeMap<IpAddr, Pod>) -> MapChanges {
        let held: BTreeSet<_> = self.held.iter().map(|element| element.key.clone()).collect();
        let mut changes = MapChanges::default();
        for family in FAMILIES {
            let made = decide(family, &Maps::default(), pods).made.into_iter();
            changes.made.extend(made.filter(|element| !held.contains(&element.key)));
        }
        changes.made.extend(self.held.iter().cloned());
        changes.held = self.held;
        changes
    }
}

/// One element of an address.
pub(crate) fn element(set: Set<'static>, address: IpAddr, chain: &str, comment: &str) -> Element {
    Element {
        set,
        key: keys::address(address),
        title: address.to_string(),
        data: Some(Data::Verdict(Verdict::Jump(chain.to_owned()))),
        comment: crate::fit(comment),
    }
}

/// What differs between the maps and what is decided on pods.
pub(crate) fn decide(family: Family, found: &Maps, pods: &BTreeMap<IpAddr, Pod>) -> MapChanges {
    let mut changes = MapChanges::default();
    let names = names(family);
    let decided = pods.keys().filter(|address| Family::of(**address) == family);
    let addresses: BTreeSet<_> =
        found.ingress.keys().chain(found.egress.keys()).chain(decided).copied().collect();
    for address in addresses {
        let pod = pods.get(&address);
        let at = [(names.ingress, &found.ingress), (names.egress, &found.egress)];
        let at = at.map(|(set, map)| (set, map.get(&address)));
        let waits = |found: &&ElementState| {
            found.chain() == Some(names.held)
                && pod.is_none_or(|pod| key(found) != pod.attachment.as_deref())
        };
        if at.iter().filter_map(|(_, found)| *found).any(|found| waits(&found)) {
            let kept = at.iter().filter_map(|(set, found)| Some((*set, (*found)?)));
            changes.held.extend(kept.filter_map(|(set, found)| again(set, address, found)));
            continue;
        }
        let profiles = [pod.and_then(|pod| pod.ingress), pod.and_then(|pod| pod.egress)];
        for ((set, found), profile) in at.into_iter().zip(profiles) {
            let attachment = pod.and_then(|pod| pod.attachment.as_deref());
            one(&mut changes, set, address, found, profile, attachment);
        }
    }
    changes
}

fn key(element: &ElementState) -> Option<&str> {
    element.comment.as_deref().and_then(attachment_of)
}

fn again(set: Set<'static>, address: IpAddr, found: &ElementState) -> Option<Element> {
    let comment = found.comment.as_deref().unwrap_or_default();
    Some(element(set, address, found.chain()?, comment))
}

/// Of an element that names the attachment the comment is kept: it says more.
fn one(
    changes: &mut MapChanges,
    set: Set<'static>,
    address: IpAddr,
    found: Option<&ElementState>,
    profile: Option<ProfileId>,
    attachment: Option<&str>,
) {
    let same_pod = found.filter(|found| key(found) == attachment);
    let chain = profile.map(ProfileId::chain);
    if same_pod.is_some_and(|found| found.chain() == chain.as_deref()) {
        return;
    }
    if found.is_some() {
        changes.gone.push((set, keys::address(address)));
    }
    if let Some(chain) = chain {
        let kept = same_pod.and_then(|found| found.comment.clone());
        let named = || attachment.map_or(UNKNOWN.to_owned(), |key| format!("ferrule {key}"));
        changes.made.push(element(set, address, &chain, &kept.unwrap_or_else(named)));
    }
}

impl Nft {
    /// What has to be changed in the maps. Dumps: they count only if the generation is the same
    /// afterwards.
    pub(crate) fn map_changes(&mut self, pods: &BTreeMap<IpAddr, Pod>) -> Result<MapChanges> {
        let mut all = MapChanges::default();
        for family in FAMILIES {
            let names = names(family);
            let found = Maps {
                ingress: self.addresses_in(&names.ingress)?,
                egress: self.addresses_in(&names.egress)?,
            };
            let changes = decide(family, &found, pods);
            all.gone.extend(changes.gone);
            all.made.extend(changes.made);
            all.held.extend(changes.held);
        }
        Ok(all)
    }

    fn addresses_in(&mut self, map: &Set<'static>) -> Result<BTreeMap<IpAddr, ElementState>> {
        let found = self.all_elements(POLICY, map)?.into_iter();
        let read = |element: ElementState| {
            let address = element.key.as_deref().and_then(keys::read_address)?;
            Some((address, element))
        };
        Ok(found.filter_map(read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::policy::Direction;
    use crate::rules::policy::frame::V4;

    const ONE: &str = "3f9a01c2d4e53f9a01c2d4e53f9a01c2";
    const OTHER: &str = "77aa01c2d4e577aa01c2d4e577aa01c2";

    fn found(chain: &str, comment: &str) -> ElementState {
        ElementState {
            data: Some(Data::Verdict(Verdict::Jump(chain.to_owned()))),
            comment: Some(comment.to_owned()),
            ..ElementState::default()
        }
    }

    fn address() -> IpAddr {
        "10.1.0.5".parse().unwrap()
    }

    fn both(chain: &str, comment: &str) -> Maps {
        let map = || BTreeMap::from([(address(), found(chain, comment))]);
        Maps { ingress: map(), egress: map() }
    }

    fn pods(selected: bool, attachment: Option<&str>) -> BTreeMap<IpAddr, Pod> {
        let id = ProfileId { direction: Direction::Ingress, family: Family::V4, id: 7 };
        let ingress = selected.then_some(id);
        let attachment = attachment.map(str::to_owned);
        BTreeMap::from([(address(), Pod { ingress, egress: None, attachment })])
    }

    fn counts(found: &Maps, pods: &BTreeMap<IpAddr, Pod>) -> [usize; 3] {
        let changes = decide(Family::V4, found, pods);
        [changes.gone.len(), changes.made.len(), changes.held.len()]
    }

    #[test]
    fn a_hold_ends_with_the_decision_on_its_own_pod_alone() {
        let held = both(V4.held, &format!("ferrule {ONE} pods c0ffee eth0"));
        assert_eq!(counts(&held, &BTreeMap::new()), [0, 0, 2], "nothing is known of it");
        assert_eq!(counts(&held, &pods(true, Some(OTHER))), [0, 0, 2], "an earlier pod's");
        assert_eq!(counts(&held, &pods(true, None)), [0, 0, 2]);
        assert_eq!(counts(&held, &pods(true, Some(ONE))), [2, 1, 0]);
        assert_eq!(counts(&held, &pods(false, Some(ONE))), [2, 0, 0], "nothing selects it");
        let made = decide(Family::V4, &held, &pods(true, Some(ONE))).made;
        assert_eq!(made[0].comment, format!("ferrule {ONE} pods c0ffee eth0"));
    }

    #[test]
    fn what_is_decided_already_stays() {
        let chain = "in4-0000000000000007";
        let decided = |comment: &str| Maps {
            ingress: BTreeMap::from([(address(), found(chain, comment))]),
            ..Maps::default()
        };
        let named = format!("ferrule {ONE}");
        assert_eq!(counts(&decided(&named), &pods(true, Some(ONE))), [0, 0, 0]);
        assert_eq!(counts(&decided(UNKNOWN), &pods(true, None)), [0, 0, 0]);
        assert_eq!(counts(&decided(UNKNOWN), &pods(true, Some(ONE))), [1, 1, 0], "now it is known");
        assert_eq!(counts(&decided(&named), &BTreeMap::new()), [1, 0, 0], "the pod went");
    }
}
